"""The guard of each class: sums in, what was lost of it out."""

import numpy as np
import pytest

from models.gates.by_class import ClassTally, class_findings, tallies
from models.gates.decision import decide
from models.gates.outcomes import Outcomes
from models.gates.paired_bootstrap import PairedBootstrap
from models.gates.paired_score import PairedScore
from models.statistics import share_lower, share_upper

GATES = [PairedScore(), PairedBootstrap()]


def past(experience, rng, counts, lost="", taken=""):
    """A past experience of so many images of each class, nine of ten right before; of one class all may be lost."""
    labels = np.repeat(list(counts), list(counts.values()))
    reference = (rng.random(len(labels)) < 0.9).astype(np.float64)
    known = np.where(labels == lost, 0.0, reference)
    overall = np.where(labels == taken, 0.0, known)
    return Outcomes(experience, False, overall, known, reference, labels)


def judge_class(right, kept, images=None, classes=1, limit=0.8, least=10):
    """The decision on the first of some classes, the others of 50 images being well kept."""
    others = [ClassTally(f"other {i}", 50, 45, 44) for i in range(classes - 1)]
    found = class_findings([ClassTally("fox", images or right, right, kept), *others], limit, least, 0.04, 0.01)
    return next(f for f in found if f.label == "fox")


def test_images_of_all_experiences_are_added_up_by_class():
    first = np.array(["a", "b", "a"]), np.array([1.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0])
    second = np.array(["b", "c", "b"]), np.array([1.0, 0.0, 0.5]), np.array([1.0, 1.0, 0.25])
    # Nothing of c could be lost.
    assert tallies([first, second]) == [ClassTally("a", 2, 1, 2), ClassTally("b", 3, 2.5, 1.25)]
    assert tallies([]) == []


def test_bounds_are_exact_for_the_share_that_is_right_now():
    found = judge_class(right=40, kept=12, images=50, classes=4)
    assert found.estimate == pytest.approx(0.7)
    assert found.upper == pytest.approx(1 - float(share_lower(12, 50, 0.04)) * 50 / 40)
    assert found.lower == pytest.approx(1 - float(share_upper(12, 50, 0.01 / 4)) * 50 / 40)


@pytest.mark.parametrize(
    ("right", "kept", "decision"),
    [
        (100, 60, "accept"),  # new classes may take much of an old one
        (100, 20, "inconclusive"),
        (100, 0, "refuse"),
        (10, 9, "accept"),
        (10, 0, "inconclusive"),
        (9, 0, "inconclusive"),  # few, but not one of them is left
        (9, 1, "too few"),
        (4, 0, "too few"),
        (3, 3, "accept"),
    ],
)
def test_a_class_is_kept_lost_or_too_small_to_say(right, kept, decision):
    assert judge_class(right, kept).decision == decision


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("how", ["lost", "taken"])
@pytest.mark.parametrize("images", [12, 500, 2000])
def test_a_class_that_is_a_25th_of_every_batch_is_never_lost_altogether(gate, how, images):
    """Of ten experiences; within every other limit, so this was accepted."""
    rng = np.random.default_rng(0)
    counts = {"fox": max(images // 25, 1), "owl": images - images // 25}
    outcomes = [past(f"e{i}", rng, counts, **{how: "fox"}) for i in range(10)]
    # Batches of 12: a class that is a twelfth of them.
    gate = gate.model_copy(update={"forgotten_mean": 0.2, "forgotten_each": 0.2, "taken_mean": 0.3})
    verdict = decide(gate, outcomes)
    assert verdict.decision == ("inconclusive" if images == 12 else "refuse")
    assert "class `fox`" in verdict.reason
    assert [c.label for c in verdict.classes] == ["fox"]
    assert {f.decision for f in verdict.findings} == {"accept"}
    assert decide(gate, [past(f"e{i}", rng, counts) for i in range(10)]).decision == "accept"


@pytest.mark.parametrize("gate", GATES)
def test_a_class_too_small_to_judge_is_named_and_holds_nothing_up(gate):
    rng = np.random.default_rng(0)
    outcomes = [past("e0", rng, {"owl": 500, "lynx": 3}), past("e1", rng, {"owl": 500})]
    outcomes[0].overall[500:] = outcomes[0].among_known[500:] = [0, 0, 1]
    outcomes[0].reference[500:] = 1
    verdict = decide(gate, outcomes)
    assert verdict.decision == "accept"
    assert verdict.reason.endswith(
        "; too few test images to say whether class `lynx` (1 of 3 right) still will be right."
    )


@pytest.mark.parametrize("gate", GATES)
def test_the_guard_takes_its_part_of_the_error_of_refusing(gate):
    rng = np.random.default_rng(0)
    labelled = past("e0", rng, {"owl": 480, "fox": 20}, lost="fox")
    without = Outcomes("e0", False, labelled.overall, labelled.among_known, labelled.reference)
    first, second = (decide(gate, [one]).find("forgotten") for one in (labelled, without))
    assert first.upper == second.upper
    assert first.lower < second.lower
