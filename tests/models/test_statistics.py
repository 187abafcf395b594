"""Bounds against published tables and against the definition: how often, exactly, is the truth beyond the bound?"""

import numpy as np
import pytest
from scipy.stats import binom

from models.statistics import (
    certainly_better,
    mean_and_error,
    mover,
    padded,
    share_lower,
    share_upper,
    tango_lower,
    tango_upper,
)


@pytest.mark.parametrize(
    ("lost", "gained", "images", "level", "interval"),
    [
        (9, 3, 32, 0.025, (-0.027, 0.390)),  # Tango 1998
        (0, 1, 44, 0.05, (-0.096, 0.037)),  # Tango 1998, soft contact lenses, 90%
        (16, 8, 86, 0.025, (-0.020, 0.207)),  # Agresti and Min 2005
        (1, 7, 21, 0.025, (-0.517, -0.026)),  # Fagerland, Lydersen and Laake 2014, airway hyper-responsiveness
        (6, 16, 161, 0.025, (-0.124, -0.005)),  # Fagerland, Lydersen and Laake 2017, complete response
    ],
)
def test_the_score_interval_agrees_with_published_ones(lost, gained, images, level, interval):
    lower = tango_lower(lost, gained, images, level, continuity=0)
    upper = tango_upper(lost, gained, images, level, continuity=0)
    assert (round(float(lower), 3), round(float(upper), 3)) == interval


def test_images_that_all_stayed_the_same_give_an_interval_with_a_width():
    # Nothing lost, nothing gained: n d = z sqrt(n d (1 - d)), so d = z^2 / (n + z^2) = 2.706 / 74.706.
    assert tango_upper(0, 0, 72, 0.05, continuity=0) == pytest.approx(0.03622, abs=1e-5)
    assert tango_lower(0, 0, 72, 0.05, continuity=0) == pytest.approx(-0.03622, abs=1e-5)


def test_half_an_image_is_given_away():
    # With x = 100 d: (x - 1/2)^2 = 2.7055 x (1 - x / 100), so 1.02706 x^2 - 3.7055 x + 0.25 = 0 and x = 3.5391.
    assert tango_upper(0, 0, 100, 0.05) == pytest.approx(0.035391, abs=1e-6)


def test_everything_lost_is_bounded_by_everything():
    assert tango_upper(50, 0, 50, 0.05) == 1
    assert 0.8 < tango_lower(50, 0, 50, 0.05) < 1


def test_score_bounds_broadcast_and_mirror():
    lost, gained = np.array([[3.0], [8.0]]), np.array([0.0, 2.0, 5.0])
    bounds = tango_upper(lost, gained, 60, 0.05)
    assert bounds.shape == (2, 3)
    assert bounds[1, 2] == pytest.approx(float(tango_upper(8, 5, 60, 0.05)))
    assert tango_lower(gained, lost, 60, 0.05) == pytest.approx(-bounds)


def too_low(images, drop, churn, continuity):
    """Exact probability that the upper bound is below the true drop, summed over all counts lost and gained."""
    p, q = drop + churn, churn
    lost = np.arange(binom.ppf(1 - 1e-9, images, p) + 1)[:, None]
    gained = np.arange(binom.ppf(1 - 1e-9, images, q) + 1)[None, :]
    weights = binom.pmf(gained, images, q) * binom.pmf(lost, np.maximum(images - gained, 0), p / (1 - q))
    return float(weights[tango_upper(lost, gained, images, 0.05, continuity) < drop].sum())


def test_the_upper_bound_errs_in_at_most_5_of_100_cases_exactly():
    cases = [(n, d, c) for n in (50, 72, 100, 300, 500) for d in (0.02, 0.03, 0.1) for c in (0.0, 0.01, 0.04)]
    corrected = {case: too_low(*case, continuity=0.5) for case in cases}
    published = {case: too_low(*case, continuity=0.0) for case in cases}
    for name, errors in (("half an image given away", corrected), ("as published", published)):
        worst = max(errors, key=lambda case: errors[case])
        print(f"\nexact error of the score bound, {name}: at most {errors[worst]:.2%} at (n, drop, churn) {worst}")
    assert max(corrected.values()) <= 0.05
    assert max(published.values()) > 0.05


@pytest.mark.parametrize(
    ("hits", "images", "interval"),
    [(81, 263, (0.2527, 0.3676)), (15, 148, (0.0578, 0.1617)), (0, 20, (0.0, 0.1684)), (1, 29, (0.0009, 0.1776))],
)
def test_the_interval_of_a_share_agrees_with_published_ones(hits, images, interval):
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I, Clopper-Pearson.
    bounds = float(share_lower(hits, images, 0.025)), float(share_upper(hits, images, 0.025))
    assert tuple(round(b, 4) for b in bounds) == interval


def test_the_share_of_something_never_or_always_seen():
    # (1 - p)^n = 0.05
    assert share_upper(0, 100, 0.05) == pytest.approx(1 - 0.05**0.01)
    assert share_lower(100, 100, 0.05) == pytest.approx(0.05**0.01)
    assert share_upper(100, 100, 0.05) == 1


@pytest.mark.parametrize("level", [0.05, 0.01])
def test_the_bound_of_a_share_never_errs_more_often_than_its_level(level):
    for n in (20, 72, 333):
        for p in (0.05, 0.25, 0.4, 0.9):
            hits = np.arange(n + 1)
            wrong = share_upper(hits, n, level) < p
            assert binom.pmf(hits, n, p)[wrong].sum() <= level


def test_the_bound_of_a_mean_adds_distances_like_errors():
    # distances 0.03 and 0.04 give sqrt(0.0009 + 0.0016) / 2 = 0.025
    estimates = np.array([0.02, 0.04])
    assert mover(estimates, estimates + [0.03, 0.04]) == pytest.approx(0.055)
    assert mover(estimates, estimates - [0.03, 0.04]) == pytest.approx(0.005)
    assert mover(estimates[:1], np.array([0.07])) == pytest.approx(0.07)


def test_the_bound_of_a_mean_agrees_with_a_published_one():
    # Newcombe 1998, Statistics in Medicine 17, 873-890, table II: 56/70 - 48/80, method 10, is 0.0524 to 0.3339.
    def wilson(p, n):
        z, centre = 1.959963984540054, p + 1.959963984540054**2 / (2 * n)
        half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)

    (l1, u1), (l2, u2) = wilson(0.8, 70), wilson(0.6, 80)
    estimates = np.array([0.8, -0.6])  # their mean is half the difference
    assert 2 * mover(estimates, np.array([l1, -u2])) == pytest.approx(0.0524, abs=5e-5)
    assert 2 * mover(estimates, np.array([u1, -l2])) == pytest.approx(0.3339, abs=5e-5)


def test_padding_gives_a_spread_where_there_is_none():
    values, images = padded(np.array([0.0]), np.array([96.0]), low=-1.0)
    # four of a hundred images at a distance of 1: variance 0.04, standard error 0.2 / 10
    assert mean_and_error(values, images) == (0.0, pytest.approx(0.02))


def answers(better, worse, images):
    candidate, reference = np.zeros(images), np.zeros(images)
    candidate[:better], reference[better : better + worse] = 1, 1
    return candidate, reference


def test_a_version_is_better_only_by_evidence():
    # The first look may err in 2.5 of 100 cases: (b - c - 1/2) / sqrt(b + c) must exceed 1.96.
    assert not certainly_better(*answers(7, 1, 500), 0.95)  # 5.5 / sqrt(8) = 1.94
    assert certainly_better(*answers(8, 1, 500), 0.95)  # 6.5 / sqrt(9) = 2.17
    assert not certainly_better(*answers(8, 1, 500), 0.95, look=2)  # level 0.05 / 6, z = 2.39
    assert not certainly_better(*answers(0, 0, 500), 0.95)
    assert not certainly_better(*answers(1, 8, 500), 0.95)


def test_scores_between_0_and_1_are_compared_too():
    reference = np.linspace(0, 0.9, 200)
    assert certainly_better(reference + 0.1, reference, 0.95)
    assert not certainly_better(reference + 0.001, reference, 0.95)
    assert not certainly_better(reference, reference + 0.1, 0.95)


def test_answers_to_other_images_cannot_be_compared():
    with pytest.raises(ValueError, match="same images"):
        certainly_better(np.zeros(3), np.zeros(4), 0.95)
    with pytest.raises(ValueError, match="same images"):
        certainly_better(np.zeros(0), np.zeros(0), 0.95)
