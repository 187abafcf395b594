"""The default gate: counts in, exact or nearly exact bounds out."""

import numpy as np
import pytest

from models.gates.decision import decide
from models.gates.hypothesis import Hypothesis, LossHistogram
from models.gates.outcomes import Outcomes
from models.gates.paired_score import PairedScore
from models.statistics import share_upper, tango_lower, tango_upper

GATE = PairedScore()


def losses(experience, lost, gained, images):
    return LossHistogram(experience, -1.0, np.array([-1.0, 0.0, 1.0]), np.array([gained, images - lost - gained, lost]))


def test_one_experience_is_bounded_by_the_score_interval():
    hypotheses = [
        Hypothesis("forgotten", "a", (losses("a", 5, 2, 80),), 0.1),
        Hypothesis("forgotten", "b", (losses("b", 0, 0, 50),), 0.1),
    ]
    assert GATE.uppers(hypotheses, 0.05) == pytest.approx(tango_upper([5, 0], [2, 0], [80, 50], 0.05))
    assert GATE.lowers(hypotheses, 0.05) == pytest.approx(tango_lower([5, 0], [2, 0], [80, 50], 0.025))


def test_what_cannot_be_gained_is_a_share():
    taken = LossHistogram("a", 0.0, np.array([0.0, 1.0]), np.array([57.0, 3.0]))
    assert GATE.uppers([Hypothesis("taken", "a", (taken,), 0.4)], 0.05) == pytest.approx(share_upper([3], [60], 0.05))


def test_a_mean_of_four_gives_away_a_quarter_of_an_image_each():
    parts = tuple(losses(name, 4, 1, 100) for name in "abcd")
    one = float(tango_upper(4, 1, 100, 0.05, continuity=0.25))
    # Four equal distances d: sqrt(4 d^2) / 4 = d / 2.
    assert GATE.uppers([Hypothesis("forgotten", "mean", parts, 0.03)], 0.05) == pytest.approx(0.03 + (one - 0.03) / 2)


def test_a_mean_over_one_experience_is_that_experience():
    one, mean = (Hypothesis("forgotten", name, (losses("a", 5, 2, 80),), 0.1) for name in ("a", "mean"))
    assert GATE.uppers([one], 0.05) == GATE.uppers([mean], 0.05)


def test_scores_in_between_are_refused_with_advice():
    half = Outcomes("a", True, np.array([0.5, 1.0]), np.array([0.5, 1.0]), None)
    with pytest.raises(ValueError, match=r"a: paired_score .* paired_bootstrap"):
        decide(GATE, [half])
