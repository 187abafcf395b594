"""The bootstrap gate: any scores, the same verdict every time, no interval without a width, fast."""

import time

import numpy as np
import pytest

from models.gates.decision import decide
from models.gates.hypothesis import Hypothesis, LossHistogram
from models.gates.outcomes import Outcomes
from models.gates.paired_bootstrap import PairedBootstrap
from models.gates.paired_score import PairedScore

GATE = PairedBootstrap(forgotten_mean=0.03, forgotten_each=0.10)


def hypothesis(experience, lost, gained, images, limit=0.1):
    counts = np.array([gained, images - lost - gained, lost], dtype=np.float64)
    return Hypothesis(
        "forgotten", experience, (LossHistogram(experience, -1.0, np.array([-1.0, 0.0, 1.0]), counts),), limit
    )


def scores(rng, experience, images, loss=0.0):
    reference = rng.beta(8, 2, images)
    known = np.clip(reference - loss + rng.normal(0, 0.05, images), 0, 1)
    return Outcomes(experience, False, known * 0.95, known, reference)


def test_the_same_outcomes_give_the_same_verdict():
    outcomes = [scores(np.random.default_rng(0), "a", 200, loss=0.02), scores(np.random.default_rng(1), "b", 200)]
    assert decide(GATE, outcomes) == decide(GATE, outcomes)


def test_scores_in_between_are_judged():
    rng = np.random.default_rng(0)
    assert decide(GATE, [scores(rng, "a", 400), scores(rng, "b", 400)]).decision == "accept"
    assert decide(GATE, [scores(rng, "a", 400, loss=0.2), scores(rng, "b", 400)]).decision == "refuse"


@pytest.mark.parametrize("images", [20, 72, 500])
def test_a_sample_without_loss_still_has_a_width(images):
    upper, lower = (
        GATE.uppers([hypothesis("a", 0, 0, images)], 0.05)[0],
        GATE.lowers([hypothesis("a", 0, 0, images)], 0.05)[0],
    )
    exact = 1 - 0.05 ** (1 / images)  # the loss at which no loss at all is seen in 5 of 100 samples
    assert 0.8 * exact < upper < 2 * exact
    assert lower == pytest.approx(-upper, abs=exact / 2)


def test_on_counts_it_agrees_with_the_score_interval():
    hypotheses = [hypothesis("a", 30, 20, 500), hypothesis("b", 60, 10, 1000), hypothesis("c", 8, 8, 300)]
    assert GATE.uppers(hypotheses, 0.05) == pytest.approx(PairedScore().uppers(hypotheses, 0.05), abs=0.004)
    assert GATE.lowers(hypotheses, 0.05) == pytest.approx(PairedScore().lowers(hypotheses, 0.05), abs=0.006)


def test_bounds_of_many_experiences_are_corrected_together():
    alone = GATE.lowers([hypothesis("a", 30, 20, 500)], 0.05)[0]
    together = GATE.lowers([hypothesis(name, 30, 20, 500) for name in "abcdefghij"], 0.05)
    assert together.max() < alone - 0.01
    assert (
        GATE.uppers([hypothesis(name, 30, 20, 500) for name in "ab"], 0.05)[0]
        == GATE.uppers([hypothesis("a", 30, 20, 500)], 0.05)[0]
    )


def test_experiences_with_equal_counts_are_drawn_independently():
    parts = tuple(hypothesis(name, 30, 20, 500).losses[0] for name in "abcdefghi")
    one = GATE.uppers([hypothesis("a", 30, 20, 500)], 0.05)[0] - 0.02
    mean = GATE.uppers([Hypothesis("forgotten", "mean", parts, 0.03)], 0.05)[0] - 0.02
    assert mean == pytest.approx(one / 3, rel=0.2)


def test_pooling_neighbours_keeps_the_mean():
    rng = np.random.default_rng(0)
    values = rng.uniform(-1, 1, 5000)
    many = Hypothesis("forgotten", "a", (LossHistogram.of("a", -1, values),), 0.1)
    margin = 1.645 * values.std() / np.sqrt(5000)
    assert GATE.uppers([many], 0.05)[0] == pytest.approx(values.mean() + margin, abs=0.15 * margin)


@pytest.mark.unhurried
@pytest.mark.parametrize(
    ("images", "drop", "churn"), [(50, 0.1, 0.01), (100, 0.1, 0.0), (500, 0.03, 0.0), (500, 0.1, 0.04)]
)
def test_a_candidate_at_the_limit_is_accepted_in_at_most_5_of_100_cases(images, drop, churn):
    rng = np.random.default_rng(images)
    lost = rng.binomial(images, drop + churn, 1000)
    gained = rng.binomial(images - lost, churn / (1 - drop - churn))
    gate = PairedBootstrap(resamples=1000)
    uppers = gate.uppers([hypothesis(str(i), lost[i], gained[i], images) for i in range(1000)], 0.05)
    accepted = float((uppers < drop).mean())
    print(f"\nbootstrap, n {images}, drop {drop}, churn {churn}: accepted at the limit {accepted:.1%} (slack 2.1%)")
    assert accepted <= 0.05 + 0.021  # three standard errors of 1,000 repetitions


def test_thirty_experiences_of_ten_thousand_images_take_seconds():
    rng = np.random.default_rng(0)
    outcomes = []
    for i in range(30):
        right = (rng.random((2, 10_000)) < 0.9).astype(np.float64)
        outcomes.append(Outcomes(f"e{i}", False, right[0], right[0], right[1]))
    start = time.perf_counter()
    decide(GATE, outcomes)
    assert time.perf_counter() - start < 5
