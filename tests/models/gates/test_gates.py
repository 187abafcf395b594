"""Contract of every gate in the catalogue, whatever bounds it uses, for counts of images and for scores of tallies.

All answers here are right or wrong: as tallies they are (right, 1), and the score of a sum is the share of right ones.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from models.catalogue import GateChoice
from models.gates import tally_draws
from models.gates.base import Gate
from models.gates.decision import decide
from models.gates.outcomes import Outcomes, Tallies
from records.verdict import Verdict
from tests.models.catalogue import listed

GATES = listed(GateChoice)


def tallied(one: Outcomes) -> Outcomes:
    """The same outcomes as tallies."""
    made = [
        None if right is None else np.stack([right, np.ones(len(right))], axis=1)
        for right in (one.overall, one.among_known, one.reference)
    ]
    return replace(one, tallies=Tallies(lambda sums: sums[:, 0] / sums[:, 1], *made))


def decide_tallied(gate: Gate, outcomes: Sequence[Outcomes], attempt: int = 1) -> Verdict:
    return decide(gate, [tallied(one) for one in outcomes], attempt)


every_gate = pytest.mark.parametrize(
    ("gate", "decide"),
    [
        pytest.param(
            gate if by is decide else gate.model_copy(update={"resamples": 1000}), by, id=f"{gate.name}-{kind}"
        )
        for kind, by in (("counts", decide), ("tallies", decide_tallied))
        for gate in GATES
        if kind == "counts" or not gate.counts_only
    ],
)
Decide = Callable[..., Verdict]

IMAGES = 500
"""Enough that each experience is judged by itself."""
LENIENT = ("refuse", "inconclusive", "accept")


def past(experience: str, lost: int = 0, gained: int = 0, taken: int = 0, images: int = IMAGES) -> Outcomes:
    """A past experience of two classes: so many images lost, gained, and right but taken by a new class."""
    known, reference = np.ones(images), np.ones(images)
    known[:lost], reference[lost : lost + gained] = 0, 0
    overall = known.copy()
    overall[images - taken :] = 0
    labels = np.array([f"{experience}-{n % 2}" for n in range(images)])
    return Outcomes(experience, False, overall, known, reference, labels)


def new(experience: str, missed: int = 0, images: int = IMAGES) -> Outcomes:
    right = np.ones(images)
    right[:missed] = 0
    return Outcomes(experience, True, right, right, None)


MIXED = [past("a", lost=9, gained=4), past("b", taken=60), past("c", lost=30, taken=20), new("d", missed=40)]


@pytest.fixture(autouse=True)
def few_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tallies are drawn in bundles of five images, which is quicker, and wide enough of the promises here."""
    monkeypatch.setattr(tally_draws, "UNITS", 100)


@every_gate
def test_the_same_outcomes_give_the_same_verdict(gate: Gate, decide: Decide) -> None:
    again = type(gate).model_validate(gate.model_dump())
    assert decide(gate, MIXED) == decide(gate, MIXED) == decide(again, MIXED)


@every_gate
def test_it_is_read_from_what_it_is_written_as(gate: Gate, decide: Decide) -> None:
    choice: TypeAdapter[Gate] = TypeAdapter(GateChoice)
    assert choice.validate_json(gate.model_dump_json()) == gate
    verdict = decide(gate, MIXED)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
    assert (verdict.gate, verdict.confidence, verdict.attempt) == (gate.name, gate.confidence, 1)


@every_gate
def test_a_candidate_that_answers_as_before_is_accepted(gate: Gate, decide: Decide) -> None:
    assert decide(gate, [past("a"), past("b"), new("c")]).decision == "accept"
    assert decide(gate, [past("a"), past("b")]).decision == "accept"
    assert decide(gate, [new("a")]).decision == "accept"


@every_gate
@pytest.mark.parametrize(
    "outcomes",
    [
        [past("a", lost=IMAGES), past("b", lost=IMAGES), new("c")],
        [past("a", taken=IMAGES), past("b", taken=IMAGES), new("c")],
        [past("a"), past("b"), new("c", missed=IMAGES)],
        [past("a", lost=IMAGES), past("b"), new("c")],
    ],
    ids=["all forgotten", "all taken", "nothing learned", "one forgotten"],
)
def test_a_candidate_that_lost_all_is_refused(gate: Gate, decide: Decide, outcomes: list[Outcomes]) -> None:
    assert decide(gate, outcomes).decision == "refuse"


SIDES = {
    "forgotten_mean": ("forgotten", "mean", lambda n: [past("a", lost=n), past("b", lost=n)]),
    "forgotten_each": ("forgotten", "a", lambda n: [past("a", lost=n), past("b")]),
    "taken_mean": ("taken", "mean", lambda n: [past("a", taken=n), past("b", taken=n)]),
    "taken_each": ("taken", "a", lambda n: [past("a", taken=n), past("b")]),
    "learned_at_least": ("learned", "c", lambda n: [past("a"), new("c", missed=IMAGES - n)]),
}


@every_gate
@pytest.mark.parametrize("limit", SIDES)
def test_a_limit_has_two_sides_and_at_it_nothing_is_certain(gate: Gate, decide: Decide, limit: str) -> None:
    """Loss by loss, from none to all: what is accepted is on the good side, what is refused on the bad one."""
    question, subject, make = SIDES[limit]
    make: Callable[[int], Sequence[Outcomes]]
    at = round(getattr(gate, limit) * IMAGES)
    found = {n: decide(gate, make(n)).find(question, subject) for n in (0, at - 1, at, at + 1, IMAGES)}
    good, bad = (IMAGES, 0) if question == "learned" else (0, IMAGES)
    assert (found[good].decision, found[bad].decision) == ("accept", "refuse")
    assert {found[n].decision for n in (at - 1, at, at + 1)} == {"inconclusive"}
    assert {finding.limit for finding in found.values()} == {getattr(gate, limit)}


@every_gate
def test_the_more_is_lost_the_less_lenient_is_the_verdict(gate: Gate, decide: Decide) -> None:
    decisions = [decide(gate, [past("a", lost=n), past("b"), new("c")]).decision for n in (0, 10, 25, 40, 60, 100, 500)]
    ranks = [LENIENT.index(decision) for decision in decisions]
    assert ranks == sorted(ranks, reverse=True)
    assert set(decisions) == set(LENIENT)


@every_gate
def test_a_further_attempt_is_never_more_lenient(gate: Gate, decide: Decide) -> None:
    for lost in (0, 16, 30, 36):
        verdicts = [decide(gate, [past("a", lost=lost), new("b", missed=150)], attempt) for attempt in (1, 2, 9)]
        ranks = [LENIENT.index(verdict.decision) for verdict in verdicts]
        assert ranks == sorted(ranks, reverse=True), lost
        uppers = [verdict.find("forgotten", "a").upper for verdict in verdicts]
        assert uppers == sorted(uppers), lost
        assert [verdict.attempt for verdict in verdicts] == [1, 2, 9]


@every_gate
def test_the_order_of_experiences_does_not_matter(gate: Gate, decide: Decide) -> None:
    """Of those that are large enough to be judged alone; small ones are judged together with their neighbours."""
    verdict, other = decide(gate, MIXED), decide(gate, MIXED[::-1])
    assert verdict.decision == other.decision
    assert len(verdict.findings) == len(other.findings)
    for finding in verdict.findings:
        turned = other.find(finding.question, finding.subject)
        assert turned.decision == finding.decision
        assert (turned.estimate, turned.lower, turned.upper) == pytest.approx(
            (finding.estimate, finding.lower, finding.upper), abs=0.002
        )
    assert {c.label: c.decision for c in verdict.classes} == {c.label: c.decision for c in other.classes}


@every_gate
@pytest.mark.parametrize("images", [3, 40, IMAGES])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_findings_have_bounds_in_range_around_the_estimate_and_the_verdict_has_words(
    gate: Gate, decide: Decide, images: int, share: float
) -> None:
    n = round(share * images)
    half = (images - n) // 2
    verdict = decide(
        gate, [past("a", lost=n, images=images), past("b", gained=half, taken=half, images=images), new("c", n, images)]
    )
    asked = {(finding.question, finding.subject) for finding in verdict.findings}
    assert {question for question, _ in asked} == {"forgotten", "taken", "learned"}
    assert len(asked) == len(verdict.findings)
    for finding in verdict.findings:
        gained = finding.question == "forgotten" or (finding.question == "taken" and decide is decide_tallied)
        low = -1 if gained else 0
        assert low <= finding.lower <= finding.estimate <= finding.upper <= 1, finding
        assert finding.images >= images
        assert finding.images_to_settle is None or finding.images_to_settle > finding.images
    assert all(math.isfinite(c.lower) and c.lower <= c.estimate <= c.upper <= 1 for c in verdict.classes)
    start = {"accept": "Accepted: ", "refuse": "Refused: ", "inconclusive": "Inconclusive: "}[verdict.decision]
    assert verdict.reason.startswith(start)
    assert verdict.reason.endswith(".")
    assert "\n" not in verdict.reason
    assert "nan" not in verdict.reason


@every_gate
def test_a_class_that_is_lost_altogether_is_refused_within_all_other_limits(gate: Gate, decide: Decide) -> None:
    right, labels = np.ones(4000), np.array(["common"] * 3900 + ["rare"] * 100)
    kept = np.where(labels == "rare", 0.0, 1.0)
    verdict = decide(gate, [Outcomes("a", False, kept, kept, right, labels)])
    assert {finding.decision for finding in verdict.findings} == {"accept"}
    assert (verdict.decision, [c.label for c in verdict.classes]) == ("refuse", ["rare"])


@every_gate
def test_there_must_be_something_to_judge(gate: Gate, decide: Decide) -> None:
    with pytest.raises(ValueError, match="nothing to judge"):
        decide(gate, [])
