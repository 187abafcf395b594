"""What a gate is to the rest: outcomes in, verdict out. The questions and the decisions are here, the bounds are not.

All three questions are asked as losses that must stay below a limit; `learned` is asked as the share missed and turned
round again in its finding. What a loss is bounded by is the one thing in which gates differ.

Accepting needs every finding to pass. Such an intersection-union test (Berger 1982, Technometrics 24, 295-300) accepts
a candidate that is at or over any one limit with probability at most 1 - confidence without any correction. Refusing
needs one finding only, so there the error is divided: equally over the questions asked, and within a question by the
step-down procedure of Holm (1979), Scandinavian Journal of Statistics 6, 65-70.

Of 30 test images none may be lost, and the loss may still be 10%. So where it is asked what each past experience lost,
small ones answer together: see `Gate.min_group_size` and `_together`. What is new answers alone, or a batch that nobody
can learn would hide behind one that everybody can; and for a batch of few images a failure to show it is none, see
`_too_few`.

Each class has a guard over all past experiences, see `by_class`. A candidate that was not accepted comes again, on the
same test images, and must then be surer: `share_of_error`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.gates.by_class import Tally, class_findings, tallies
from models.gates.reason import reason
from models.statistics import Floats, share_of_error
from records.record import Record
from records.verdict import ClassFinding, Decision, Finding, Question, Verdict

MOST_IMAGES = 1_000_000
"""What would need more test images than this is reported as never settled."""


@dataclass(frozen=True)
class Outcomes:
    """How right the candidate is on the n test images of one experience, image by image, each 0..1."""

    experience: str
    new: bool
    """Learned by this candidate for the first time."""
    overall: Floats
    """[n] when all classes compete."""
    among_known: Floats
    """[n] when only the classes known when the experience was first learned compete; never below `overall`."""
    reference: Floats | None
    """[n] `among_known` of the best version so far on the same images; None if and only if new."""
    labels: NDArray[np.str_] | None = None
    """[n] class of each image, for the guard of each class; None where there are none."""

    def __post_init__(self) -> None:
        """Raises ValueError if the arrays are not scores of the same images."""
        arrays = [self.overall, self.among_known] + ([] if self.reference is None else [self.reference])
        if self.new != (self.reference is None):
            raise ValueError(f"{self.experience}: a past experience needs a reference, a new one must have none.")
        shapes = [a.shape for a in arrays] + ([] if self.labels is None else [self.labels.shape])
        if any(shape != (len(self.overall),) for shape in shapes) or not len(self.overall):
            raise ValueError(f"{self.experience}: outcomes must be of the same test images, at least one.")
        if not all(((a >= 0) & (a <= 1)).all() for a in arrays):
            raise ValueError(f"{self.experience}: outcomes must be scores from 0 to 1.")
        if (self.among_known < self.overall - 1e-9).any():
            raise ValueError(f"{self.experience}: with fewer classes competing an answer cannot become worse.")


@dataclass(frozen=True)
class Losses:
    """What one experience, or several together, lost image by image: distinct values, how many images have each."""

    experience: str
    low: float
    """The least loss possible: -1 where images can be gained as well, else 0."""
    values: Floats
    """[m] ascending, within `low`..1."""
    images: Floats
    """[m] number of images; a fraction where one asks what more images would say."""
    worst: tuple[str, float] = ("", 0.0)
    """Of several experiences together, the one that lost most, and what it lost."""

    @classmethod
    def of(cls, experience: str, low: float, losses: Floats) -> Self:
        """Losses [n] of n images."""
        values, images = np.unique(losses, return_counts=True)
        return cls(experience, low, values, images.astype(np.float64))

    @classmethod
    def pooled(cls, parts: Sequence["Losses"]) -> "Losses":
        """All images of several experiences as if they had come at once, named by the first and the last of them."""
        if len(parts) == 1:
            return parts[0]
        values, where = np.unique(np.concatenate([one.values for one in parts]), return_inverse=True)
        images = np.bincount(where, np.concatenate([one.images for one in parts])).astype(np.float64)
        name = f"{parts[0].experience} to {parts[-1].experience}"
        return cls(name, parts[0].low, values, images, _worst(parts))

    @property
    def total(self) -> float:
        """Number of images."""
        return float(self.images.sum())

    @property
    def mean(self) -> float:
        """Loss of the average image."""
        return float(self.images @ self.values) / self.total


@dataclass(frozen=True)
class Hypothesis:
    """The loss of `subject`, which must be below `limit`: of an experience, of a group of them, or the mean of all."""

    question: Question
    subject: str
    losses: tuple[Losses, ...]
    limit: float

    @property
    def estimate(self) -> float:
        """The mean loss, each of `losses` counted once."""
        return sum(one.mean for one in self.losses) / len(self.losses)

    @property
    def total(self) -> int:
        """Number of test images."""
        return round(sum(one.total for one in self.losses))

    @property
    def worst(self) -> tuple[str, float]:
        """Of several experiences the one that lost most, and what it lost; of one alone, nothing."""
        return self.losses[0].worst if len(self.losses) == 1 else _worst(self.losses)

    def scaled(self, total: int) -> "Hypothesis":
        """The same hypothesis if there were `total` images, the rates being what they are."""
        more = total / self.total
        losses = tuple(Losses(one.experience, one.low, one.values, one.images * more) for one in self.losses)
        return Hypothesis(self.question, self.subject, losses, self.limit)


@dataclass(frozen=True)
class Errors:
    """How probable it may be that a verdict errs."""

    accepting: float
    """Of each finding, at this attempt."""
    next_time: float
    """The same at the attempt after this one, if it comes to that."""
    refusing: float
    """Of all findings on one question."""


class Gate(Record):
    """Limits, and how sure to be about them. A choice: it learns nothing and keeps nothing."""

    name: str
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Least probability of not accepting a candidate at or over a limit, and of not refusing one within all limits. If
    the same data are tried again, ten times less error is allowed to each later attempt."""
    forgotten_mean: float = Field(default=0.05, gt=0, le=1)
    """Limit for the mean over past experiences, or groups of small ones, each counted once, of the share of test images
    lost even when only the classes known then are considered."""
    forgotten_each: float = Field(default=0.10, gt=0, le=1)
    """Limit for that share in each past experience, or group of small ones."""
    taken_mean: float = Field(default=0.20, gt=0, le=1)
    """Limit for that mean of the share of test images lost to classes that came later."""
    taken_each: float = Field(default=0.30, gt=0, le=1)
    """Limit for that share in each past experience, or group of small ones."""
    learned_at_least: float = Field(default=0.60, ge=0, lt=1)
    """The score that each new experience must exceed when all classes compete. One with fewer test images than
    `min_group_size` need not be certain to exceed it: it must not be seen to fall short."""
    min_group_size: int = Field(default=200, ge=1)
    """Where a limit holds for each past experience, those with fewer test images are judged together with their
    neighbours, in groups of at least so many images; 1 judges every one alone. What is given up: a loss in one small
    experience can hide among its neighbours as long as the group stays within the limit. Right nevertheless, because
    alone such a loss could be ruled out on no night, so none would ever be accepted; a class that is lost has its own
    guard, and the worst of each group is named. In the means a group counts once, as a large experience does."""
    class_lost: float = Field(default=0.80, gt=0, lt=1)
    """Limit for the share of a class's right answers that may be gone, over the test images of all past experiences,
    forgotten or taken. It guards against a class that is lost altogether; new classes may take much of an old one."""
    class_images: int = Field(default=10, ge=1)
    """A class that had fewer test images right than this is named and not judged, as long as any of it is left."""

    def uppers(self, hypotheses: Sequence[Hypothesis], level: float) -> Floats:
        """Upper bounds [k] of k hypotheses of one question; each alone is too low with probability `level` at most."""
        raise NotImplementedError

    def lowers(self, hypotheses: Sequence[Hypothesis], level: float) -> Floats:
        """Lower bounds [k] of k hypotheses of one question; any is too high with probability `level` at most."""
        raise NotImplementedError

    def judge(self, outcomes: Sequence[Outcomes], attempt: int = 1) -> Verdict:
        """The verdict on a candidate from its outcomes on every experience. Raises ValueError if there are none.

        `attempt` is how many candidates were judged on these data and this parent, this one included. In a finding the
        bound on the side of acceptance holds by itself, the one on the side of refusal together with the others of the
        verdict. Of `forgotten` and `taken` the upper bound is for acceptance and the lower one, which is corrected, for
        refusal; of `learned` it is the other way round.
        """
        families = self._families(outcomes)
        if not families:
            raise ValueError("There is nothing to judge: no outcomes of any experience.")
        by_class = _classes(outcomes)
        level = 1 - self.confidence
        error = Errors(
            accepting=level * share_of_error(attempt),
            next_time=level * share_of_error(attempt + 1),
            refusing=level / (len(families) + bool(by_class)),
        )
        findings = tuple(f for family in families for f in self._answer(family, error))
        # The same at each attempt: a class that is lost is so far beyond this limit that chance does not bring it back.
        first = level * share_of_error(1)
        classes = class_findings(by_class, self.class_lost, self.class_images, first, error.refusing)
        decision = _overall(findings, classes)
        return Verdict(
            decision=decision,
            reason=reason(decision, findings, classes, attempt),
            gate=self.name,
            confidence=self.confidence,
            attempt=attempt,
            findings=findings,
            classes=tuple(c for c in classes if c.decision != "accept"),
        )

    def _families(self, outcomes: Sequence[Outcomes]) -> list[list[Hypothesis]]:
        """Hypotheses, those that share an allowance for error together: each question's mean, and its experiences."""
        forgotten, taken, missed = [], [], []
        for one in outcomes:
            if one.reference is None:
                missed.append(Losses.of(one.experience, 0, 1 - one.overall))
            else:
                forgotten.append(Losses.of(one.experience, -1, one.reference - one.among_known))
                taken.append(Losses.of(one.experience, 0, np.maximum(one.among_known - one.overall, 0)))
        families = [
            _mean("forgotten", _parts(forgotten, self.min_group_size), self.forgotten_mean),
            _each("forgotten", _together(forgotten, self.min_group_size), self.forgotten_each),
            _mean("taken", _parts(taken, self.min_group_size), self.taken_mean),
            _each("taken", _together(taken, self.min_group_size), self.taken_each),
            _each("learned", missed, 1 - self.learned_at_least),
        ]
        return [family for family in families if family]

    def _answer(self, family: list[Hypothesis], error: "Errors") -> list[Finding]:
        """The findings on a family, with at most the `error` allowed of either kind."""
        uppers = self.uppers(family, error.accepting)
        lowers, unrefused = self._step_down(family, error.refusing)
        findings = []
        for i, hypothesis in enumerate(family):
            decision: Decision = "refuse" if i not in unrefused else "inconclusive"
            if i in unrefused and uppers[i] < hypothesis.limit:
                decision = "accept"
            finding = _finding(hypothesis, float(lowers[i]), float(uppers[i]), decision)
            if decision == "inconclusive":
                peers = [family[j] for j in unrefused if j != i]
                more = {
                    "images_to_settle": self._images_to_settle(hypothesis, peers, error),
                    "too_few": self._too_few(hypothesis, error.accepting),
                }
                finding = finding.model_copy(update=more)
            findings.append(finding)
        return findings

    def _too_few(self, hypothesis: Hypothesis, accepting: float) -> bool:
        """Whether a new experience has so few test images that it need not be shown to be learned.

        So it is if even without a single miss it could not be shown, and if it has fewer than `min_group_size` but is
        not seen to fall short. No bound holds for it then; the verdict names it.
        """
        if hypothesis.question != "learned" or hypothesis.total >= self.min_group_size:
            return False
        nothing = tuple(Losses.of(one.experience, one.low, np.zeros(hypothesis.total)) for one in hypothesis.losses)
        perfect = Hypothesis(hypothesis.question, hypothesis.subject, nothing, hypothesis.limit)
        return hypothesis.estimate <= hypothesis.limit or bool(self.uppers([perfect], accepting)[0] >= hypothesis.limit)

    def _step_down(self, family: list[Hypothesis], level: float) -> tuple[Floats, list[int]]:
        """Lower bounds [k], and the positions of the hypotheses that are not refused.

        Holm's procedure: what is refused leaves, and the rest is looked at again, sharing the error among fewer. A
        refused one keeps the bound of the round that refused it.
        """
        bounds, unrefused = np.empty(len(family)), list(range(len(family)))
        while unrefused:
            bounds[unrefused] = self.lowers([family[i] for i in unrefused], level)
            remaining = [i for i in unrefused if bounds[i] <= family[i].limit]
            if len(remaining) == len(unrefused):
                break
            unrefused = remaining
        return bounds, unrefused

    def _images_to_settle(self, hypothesis: Hypothesis, peers: list[Hypothesis], error: "Errors") -> int | None:
        """The fewest test images of its subject that would have it accepted or refused at the same rates."""

        def settled(total: int) -> bool:
            more = hypothesis.scaled(total)
            if hypothesis.estimate < hypothesis.limit:
                return bool(self.uppers([more], error.next_time)[0] < hypothesis.limit)
            return bool(self.lowers([more, *peers], error.refusing)[0] > hypothesis.limit)

        return _first(settled, hypothesis.total, MOST_IMAGES)


def _mean(question: Question, losses: list[Losses], limit: float) -> list[Hypothesis]:
    return [Hypothesis(question, "mean", tuple(losses), limit)] if losses else []


def _each(question: Question, losses: list[Losses], limit: float) -> list[Hypothesis]:
    return [Hypothesis(question, one.experience, (one,), limit) for one in losses]


def _together(losses: Sequence[Losses], least: int) -> list[Losses]:
    """Experiences of `least` images as they are; smaller ones pooled, in their order, until they have as many together.

    What is left over joins the last group of small ones, or for want of one the last large experience. That one is
    still judged by itself as well: neither a large experience nor a full group is ever diluted by what comes later.
    """
    groups, joined = _groups(losses, least)
    return [_pooled(losses, group) for group in [*groups, *joined]]


def _parts(losses: Sequence[Losses], least: int) -> list[Losses]:
    """The same groups, each experience in one of them: what is left over is part of the group that it joins."""
    groups, joined = _groups(losses, least)
    apart = [group for group in groups if not any(set(group) <= set(last) for last in joined)]
    return [_pooled(losses, group) for group in [*apart, *joined]]


def _pooled(losses: Sequence[Losses], group: Sequence[int]) -> Losses:
    return Losses.pooled([losses[i] for i in group])


def _groups(losses: Sequence[Losses], least: int) -> tuple[list[list[int]], list[list[int]]]:
    """Places of experiences that are judged together, and of those left over with the group that they join, if any."""
    groups: list[list[int]] = []
    waiting: list[int] = []
    for i, one in enumerate(losses):
        if one.total >= least:
            groups.append([i])
            continue
        waiting.append(i)
        if sum(losses[j].total for j in waiting) >= least:
            groups.append(waiting)
            waiting = []
    if not waiting:
        return groups, []
    full = [group for group in groups if len(group) > 1] or groups
    return groups, [sorted(full[-1] + waiting) if full else waiting]


def _worst(losses: Sequence[Losses]) -> tuple[str, float]:
    named = [one.worst if one.worst[0] else (one.experience, one.mean) for one in losses]
    return max(named, key=lambda one: one[1])


def _classes(outcomes: Sequence[Outcomes]) -> list[Tally]:
    """What each class had right in the past, and has right now."""
    return tallies(
        (one.labels, one.reference, one.overall)
        for one in outcomes
        if one.reference is not None and one.labels is not None
    )


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


def _first(holds: Callable[[int], bool], start: int, end: int) -> int | None:
    """The smallest number in start..end for which `holds`, which once true stays true; None if there is none."""
    if end <= start or not holds(end):
        return None
    while end - start > 1:
        middle = (start + end) // 2
        start, end = (start, middle) if holds(middle) else (middle, end)
    return end
