"""The decision on a candidate: accepted, refused, or inconclusive, and by which findings.

Accepting needs every finding to pass. Such an intersection-union test (Berger 1982, Technometrics 24, 295-300) accepts
a candidate that is at or over any one limit with probability at most 1 - confidence without any correction. Refusing
needs one finding only, so there the error is divided: equally over the questions asked, and within a question by the
step-down procedure of Holm (1979), Scandinavian Journal of Statistics 6, 65-70.

What is asked is defined in `questions.py`, the guard of each class over all past experiences in `by_class.py`. For a
new batch of few images a failure to show that it is learned is none, see `_too_few`. A candidate that was not accepted
comes again, on the same test images, and must then be surer: `share_of_error`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.gates.base import Gate
from models.gates.by_class import ClassTally, class_findings, tallies
from models.gates.hypothesis import Hypothesis, LossHistogram
from models.gates.outcomes import Outcomes
from models.gates.questions import questions
from models.gates.reason import RIGHT_ANSWERS, reason
from models.gates.wording import Wording
from models.statistics import Floats, share_of_error
from records.verdict import ClassFinding, Decision, Finding, Verdict

MOST_IMAGES = 1_000_000
"""What would need more test images than this is reported as never settled."""


@dataclass(frozen=True)
class Errors:
    """How probable it may be that a verdict errs."""

    accepting: float
    """Of each finding, at this attempt."""
    next_time: float
    """The same at the attempt after this one, if it comes to that."""
    refusing: float
    """Of all findings on one question."""


def decide(gate: Gate, outcomes: Sequence[Outcomes], attempt: int = 1, words: Wording = RIGHT_ANSWERS) -> Verdict:
    """The verdict on a candidate from its outcomes on every experience. Raises ValueError if there are none.

    `attempt` is how many candidates were judged on these data and this parent, this one included; `words` says what
    the score is called. In a finding the bound on the side of acceptance holds by itself, the one on the side of
    refusal together with the others of the verdict. Of `forgotten` and `taken` the upper bound is for acceptance and
    the lower one, which is corrected, for refusal; of `learned` it is the other way round.
    """
    families = questions(gate, outcomes)
    if not families:
        raise ValueError("There is nothing to judge: no outcomes of any experience.")
    guards = [
        (found, limit)
        for found, limit in ((_classes(outcomes), gate.class_lost), (_unlabelled(outcomes), gate.unlabelled_lost))
        if found
    ]
    level = 1 - gate.confidence
    error = Errors(
        accepting=level * share_of_error(attempt),
        next_time=level * share_of_error(attempt + 1),
        refusing=level / (len(families) + len(guards)),
    )
    findings = tuple(f for family in families for f in _answer(gate, family, error))
    # The same at each attempt: a class that is lost is so far beyond this limit that chance does not bring it back.
    first = level * share_of_error(1)
    classes = [
        finding
        for found, limit in guards
        for finding in class_findings(found, limit, gate.class_images, first, error.refusing)
    ]
    decision = _overall(findings, classes)
    return Verdict(
        decision=decision,
        reason=reason(decision, findings, classes, attempt, words),
        gate=gate.name,
        confidence=gate.confidence,
        attempt=attempt,
        findings=findings,
        classes=tuple(c for c in classes if c.decision != "accept"),
    )


def _answer(gate: Gate, family: list[Hypothesis], error: "Errors") -> list[Finding]:
    """The findings on a family, with at most the `error` allowed of either kind."""
    uppers = gate.uppers(family, error.accepting)
    lowers, unrefused = _step_down(gate, family, error.refusing)
    findings = []
    for i, hypothesis in enumerate(family):
        decision: Decision = "refuse" if i not in unrefused else "inconclusive"
        if i in unrefused and uppers[i] < hypothesis.limit:
            decision = "accept"
        finding = _finding(hypothesis, float(lowers[i]), float(uppers[i]), decision)
        if decision == "inconclusive":
            peers = [family[j] for j in unrefused if j != i]
            more = {
                "images_to_settle": _images_to_settle(gate, hypothesis, peers, error),
                "too_few": _too_few(gate, hypothesis, error.accepting),
            }
            finding = finding.model_copy(update=more)
        findings.append(finding)
    return findings


def _too_few(gate: Gate, hypothesis: Hypothesis, accepting: float) -> bool:
    """Whether a new experience has so few test images that it need not be shown to be learned.

    So it is if even without a single miss it could not be shown, and if it has fewer than `min_group_size` but is
    not seen to fall short. No bound holds for it then; the verdict names it.
    """
    if hypothesis.question != "learned" or hypothesis.total >= gate.min_group_size:
        return False
    nothing = tuple(LossHistogram.of(one.experience, one.low, np.zeros(hypothesis.total)) for one in hypothesis.losses)
    perfect = Hypothesis(hypothesis.question, hypothesis.subject, nothing, hypothesis.limit)
    return hypothesis.estimate <= hypothesis.limit or bool(gate.uppers([perfect], accepting)[0] >= hypothesis.limit)


def _step_down(gate: Gate, family: list[Hypothesis], level: float) -> tuple[Floats, list[int]]:
    """Lower bounds [k], and the positions of the hypotheses that are not refused.

    Holm's procedure: what is refused leaves, and the rest is looked at again, sharing the error among fewer. A
    refused one keeps the bound of the round that refused it.
    """
    bounds, unrefused = np.empty(len(family)), list(range(len(family)))
    while unrefused:
        bounds[unrefused] = gate.lowers([family[i] for i in unrefused], level)
        remaining = [i for i in unrefused if bounds[i] <= family[i].limit]
        if len(remaining) == len(unrefused):
            break
        unrefused = remaining
    return bounds, unrefused


def _images_to_settle(gate: Gate, hypothesis: Hypothesis, peers: list[Hypothesis], error: "Errors") -> int | None:
    """The fewest test images of its subject that would have it accepted or refused at the same rates."""

    def settled(total: int) -> bool:
        more = hypothesis.scaled(total)
        if hypothesis.estimate < hypothesis.limit:
            return bool(gate.uppers([more], error.next_time)[0] < hypothesis.limit)
        return bool(gate.lowers([more, *peers], error.refusing)[0] > hypothesis.limit)

    return _first(settled, hypothesis.total, MOST_IMAGES)


def _finding(hypothesis: Hypothesis, lower: float, upper: float, decision: Decision) -> Finding:
    estimate, limit = hypothesis.estimate, hypothesis.limit
    if hypothesis.question == "learned":
        # From the share missed back to the score; rounded, or a limit of 0.6 would come out as 0.6000000000000001.
        estimate, lower, upper, limit = (round(1 - value, 12) for value in (estimate, upper, lower, limit))
    return Finding(
        question=hypothesis.question,
        subject=hypothesis.subject,
        estimate=estimate,
        lower=lower,
        upper=upper,
        limit=limit,
        images=hypothesis.total,
        decision=decision,
        worst=hypothesis.worst[0],
        worst_estimate=hypothesis.worst[1],
    )


def _overall(findings: Sequence[Finding], classes: Sequence[ClassFinding]) -> Decision:
    """Refused for one reason; accepted if nothing is left open but what is too small to say, and something is shown."""
    decisions = {f.decision for f in findings if not f.too_few} | {c.decision for c in classes} - {"too few"}
    if "refuse" in decisions:
        return "refuse"
    shown = any(f.decision == "accept" for f in findings)
    return "accept" if shown and decisions == {"accept"} else "inconclusive"


def _classes(outcomes: Sequence[Outcomes]) -> list[ClassTally]:
    """What each class had right in the past, and has right now."""
    return tallies(part for part in map(_parts, outcomes) if part is not None)


def _unlabelled(outcomes: Sequence[Outcomes]) -> list[ClassTally]:
    """The same of tonight's images, where nobody looked for it."""
    pairs = [one.unlabelled for one in outcomes if one.unlabelled is not None]
    return tallies(((one.labels, one.reference, one.overall) for one in pairs), unlabelled=True)


def _parts(one: Outcomes) -> tuple[NDArray[np.str_], Floats, Floats] | None:
    """The class of each image, or of each pair, how right it was and how right it is; None of a new experience."""
    if one.reference is None:
        return None
    if one.pairs is not None:
        return one.pairs.labels, one.pairs.reference, one.pairs.overall
    return None if one.labels is None else (one.labels, one.reference, one.overall)


def _first(holds: Callable[[int], bool], start: int, end: int) -> int | None:
    """The smallest number in start..end for which `holds`, which once true stays true; None if there is none."""
    if end <= start or not holds(end):
        return None
    while end - start > 1:
        middle = (start + end) // 2
        start, end = (start, middle) if holds(middle) else (middle, end)
    return end
