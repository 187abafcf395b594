"""How often the default gate is wrong, by simulation of fewer nights than `python -m benchmarks.verdict` plays.

The figures in docs/decisions/0002-the-verdict.md are from there. 1,000 nights a figure: a rate of 5% has a standard
error of 0.7 points; what is promised to be at most 5% is far enough below it to be seen with so few.
"""

import numpy as np
import pytest

from benchmarks import verdict
from benchmarks.verdict_play import (
    SHIPPED,
    STRICT,
    Decisions,
    Stream,
    against_reference,
    by_evidence,
    decide,
    flips,
    guard,
    play,
)
from models.gates.outcomes import Outcomes
from models.statistics import certainly_better
from tasks.judge import judge

pytestmark = pytest.mark.unhurried

NIGHTS = 1000


def night(lost, gained, images):
    """Counts as outcomes, with a new experience that was learned completely."""
    outcomes = []
    for i, (minus, plus) in enumerate(zip(lost, gained, strict=True)):
        known, reference = np.ones(images), np.ones(images)
        known[:minus], reference[minus : minus + plus] = 0, 0
        outcomes.append(Outcomes(f"e{i}", False, known, known, reference))
    return [*outcomes, Outcomes("new", True, np.ones(images), np.ones(images), None)]


@pytest.mark.parametrize(
    ("drops", "churn", "images"),
    [
        ([0.0] * 10, 0.04, 500),
        ([0.1] + [0.0] * 9, 0.02, 100),
        ([0.03] * 3, 0.04, 500),
        ([0.2, 0.1], 0.02, 100),
        ([0.0] * 20, 0.02, 30),
        ([0.0] * 7 + [0.06] * 7 + [0.0] * 6, 0.02, 30),
        ([0.2] * 7 + [0.0] * 7, 0.02, 30),
        ([0.02] * 3, 0.0, 30),
    ],
)
@pytest.mark.parametrize("attempt", [1, 2])
def test_the_gate_decides_the_same(drops, churn, images, attempt):
    lost, gained = flips(np.random.default_rng(1), drops, churn, images, nights=4)
    expected = decide(lost, gained, images, STRICT, {1: 0.04, 2: 0.005}[attempt])
    verdicts = [judge(night(minus, plus, images), STRICT, attempt) for minus, plus in zip(lost, gained, strict=True)]
    assert [v.decision == "accept" for v in verdicts] == expected.accepted.tolist()
    assert [v.decision == "refuse" for v in verdicts] == expected.refused.tolist()


def test_the_guard_of_each_class_decides_the_same():
    rng = np.random.default_rng(0)
    right = rng.binomial(12, 0.9, (20, 6))
    kept = rng.binomial(right, rng.choice([0.0, 0.2, 1.0], (20, 6), p=[0.1, 0.2, 0.7]))
    expected = guard(right, kept, 12)
    for night_, (before, after) in enumerate(zip(right, kept, strict=True)):
        labels = np.repeat([f"c{i}" for i in range(6)], 12)
        reference, now = (
            np.concatenate([np.arange(12) < n for n in counts]).astype(float) for counts in (before, after)
        )
        gate = SHIPPED.model_copy(update=dict.fromkeys(("forgotten_mean", "forgotten_each"), 1.0))
        verdict = judge([Outcomes("a", False, now, now, reference, labels)], gate)
        assert (verdict.decision == "accept") == expected.accepted[night_]
    assert 0 < expected.accepted.sum() < 20


@pytest.mark.parametrize(("past", "images"), [(1, 100), (10, 500), (30, 100)])
def test_one_experience_at_its_limit_is_accepted_in_at_most_5_of_100_nights(past, images):
    assert max(verdict.one_at_its_limit(past, images, NIGHTS)) <= 0.05


@pytest.mark.parametrize("hit", [1, 2, 7])
def test_a_group_at_its_limit_is_accepted_in_at_most_5_of_100_nights(hit):
    """The loss is the same in all seven of the first group, or all of it is in two or in one of them."""
    assert max(verdict.group_at_its_limit(20, hit, NIGHTS)) <= 0.05


@pytest.mark.parametrize(("past", "images"), [(1, 100), (10, 30), (30, 500)])
def test_a_mean_at_its_limit_is_accepted_in_at_most_5_of_100_nights(past, images):
    assert max(verdict.mean_at_its_limit(past, images, NIGHTS)) <= 0.05


@pytest.mark.parametrize(("past", "images"), [(1, 100), (10, 30), (30, 500)])
def test_an_update_within_its_limits_is_refused_in_at_most_5_of_100_nights(past, images):
    assert max(verdict.within_limits(past, images, NIGHTS)) <= 0.05


def test_what_is_given_up_by_judging_small_experiences_together():
    """One of 20 experiences of 30 images loses much, the others nothing: without limits for means, is it accepted?"""
    alone = [verdict.hidden(drop, 1, NIGHTS) for drop in (0.0, 0.5)]
    together = [verdict.hidden(drop, 200, NIGHTS) for drop in (0.0, 0.4, 0.8)]
    assert alone == [0, 0]  # alone, the harmless update is not accepted either
    assert together[0] >= 0.99
    assert 0.4 < together[1] < 0.7
    assert together[2] <= 0.05
    # The limit for each does not hold for what is too small to be judged alone, and the page says so.
    assert verdict.small_one_at_its_limit(10, 100, NIGHTS) > 0.5


@pytest.mark.parametrize("past", [10, 30])
def test_a_harmless_update_is_accepted(past):
    accepted, refused = verdict.rates([0.0] * past, 500, STRICT, 0.04, NIGHTS)
    assert refused <= 0.05
    assert accepted >= 0.99
    assert verdict.harmless(past, 200, 0.03, nights=NIGHTS) > 0.99


@pytest.mark.parametrize(("past", "images"), [(1, 70), (1, 200), (5, 100), (10, 100)])
def test_a_harmful_candidate_is_not_accepted_by_being_tried_often_enough(past, images):
    """Truly 6% where 5% are allowed, another candidate each of 30 nights, on the same test images."""
    within = verdict.tried_again(past, images, 0.06, lineages=NIGHTS)[-1]
    assert within <= 0.05
    if images > 70:  # there, one night in four is enough for a harmless one, and never the later ones
        assert verdict.tried_again(past, images, 0.0, lineages=NIGHTS)[-1] > 0.98


def test_each_night_anew_one_in_three_harmful_candidates_would_get_in():
    assert verdict.tried_again(1, 70, 0.06, verdict.ANEW, lineages=NIGHTS)[-1] > 0.3


@pytest.mark.parametrize(
    ("experiences", "images", "share", "everywhere"), [(10, 500, 0.04, True), (10, 100, 0.1, False)]
)
def test_a_class_wholly_lost_is_not_accepted(experiences, images, share, everywhere):
    without, guarded = verdict.class_lost(experiences, images, share, everywhere, nights=NIGHTS)
    assert without > 0.8
    assert guarded == 0


def test_the_guard_lets_harmless_updates_through_with_many_classes():
    assert max(verdict.class_harmless(100, images, 0.1, nights=300) for images in (6, 10, 20, 200)) <= 0.02
    assert max(verdict.class_harmless(1000, images, 0.05, nights=100) for images in (6, 10, 20, 200)) <= 0.02


def test_a_class_wholly_lost_is_not_accepted_by_being_tried_often_enough():
    assert max(verdict.class_over_attempts(images, 1.0, lineages=NIGHTS) for images in (10, 20, 200)) <= 0.01
    assert max(verdict.class_over_attempts(images, 0.95, lineages=NIGHTS) for images in (15, 20, 200)) <= 0.01


def test_a_new_batch_is_judged_alone():
    shown, few, refused = verdict.learned_alone(40, 0.5, NIGHTS)
    assert (shown < 0.01, few < 0.2, refused < 0.2) == (
        True,
        True,
        True,
    )  # labels at random of two classes: mostly held up
    assert verdict.learned_alone(200, 0.6, NIGHTS)[0] <= 0.05
    assert verdict.learned_alone(500, 0.5, NIGHTS)[2] > 0.9
    shown, few, _ = verdict.learned_alone(20, 0.8, NIGHTS)
    assert shown + few > 0.97


def test_images_that_depend_on_each_other_make_the_bounds_too_narrow():
    """The weakness that remains: measured, so that the page can say how much."""
    rates = [verdict.in_clusters(10, 200, correlation, NIGHTS) for correlation in (0.0, 0.2, 1.0)]
    assert rates[0] <= 0.05 < rates[1] < rates[2]


def test_choosing_reference_versions_in_arrays_is_choosing_them_one_by_one():
    rng = np.random.default_rng(0)
    reference = rng.random((1, 30, 300)) < 0.8
    candidate = reference | (rng.random((1, 30, 300)) < 0.08)
    one_by_one = [
        certainly_better(c.astype(np.float64), r.astype(np.float64), 0.95, look=3)
        for c, r in zip(candidate[0], reference[0], strict=True)
    ]
    assert by_evidence(candidate, reference, np.array([[3]]))[0].tolist() == one_by_one
    assert 0 < sum(one_by_one) < 30


def test_slow_decay_is_stopped_before_the_limit_is_passed_by_much():
    """0.3% lost a night, from 90%, limit 3%: the parent alone looks harmless every night."""
    stream = Stream(drop=0.003, nights=30, lineages=12)
    ours = play(stream, against_reference(STRICT)).true.mean(-1)
    first = np.argmax(np.diff(ours, axis=0) == 0, axis=0) + 1
    assert np.quantile(first, 0.95) <= 12
    assert ours[-1].mean() >= 0.9 - STRICT.forgotten_mean - 0.003
    assert play(stream, verdict.against_parent).true[-1].mean() < 0.815
    assert play(stream, verdict.point_scores).true[-1].mean() < 0.815


def test_the_best_by_evidence_is_not_the_luckiest():
    """Harmless updates for 60 nights: how far above the truth the reference is, and what that does."""

    def last(choose) -> tuple[float, Decisions]:
        history = play(Stream(churn=0.04, nights=60, lineages=15), verdict.always, choose)
        return history.above, history.last

    (highest, anew, ours) = (last(choose) for choose in verdict.CHOICES.values())
    assert ours[0] < 0.005 < 0.015 < anew[0] < highest[0]
    assert ours[1].refused.mean() <= 0.1
    assert highest[1].refused.mean() >= 0.8
