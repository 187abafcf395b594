"""What a verdict asks of a candidate: is too much forgotten or taken, is enough learned? Each is defined here.

forgotten   right in the best version so far, wrong now even among the classes known then; what was gained is
            set off against it
taken       right as long as only the classes known then compete, wrong when all do
learned     of a new experience, right when all classes compete

All three are asked as losses that must stay below a limit; `learned` is asked as the share missed and turned round
again in its finding.

Of 30 test images none may be lost, and the loss may still be 10%. So where it is asked what each past experience lost,
small ones answer together: see `Gate.min_group_size` and `_together`. What is new answers alone, or a batch that nobody
can learn would hide behind one that everybody can.
"""

from collections.abc import Sequence

import numpy as np

from models.gates.base import Gate
from models.gates.hypothesis import Hypothesis, LossHistogram
from models.gates.outcomes import Outcomes
from records.verdict import Question


def questions(gate: Gate, outcomes: Sequence[Outcomes]) -> list[list[Hypothesis]]:
    """Hypotheses, those that share an allowance for error together: each question's mean, and its experiences."""
    forgotten, taken, missed = [], [], []
    for one in outcomes:
        if one.reference is None:
            missed.append(LossHistogram.of(one.experience, 0, 1 - one.overall))
        else:
            forgotten.append(LossHistogram.of(one.experience, -1, one.reference - one.among_known))
            taken.append(LossHistogram.of(one.experience, 0, np.maximum(one.among_known - one.overall, 0)))
    families = [
        _mean("forgotten", _parts(forgotten, gate.min_group_size), gate.forgotten_mean),
        _each("forgotten", _together(forgotten, gate.min_group_size), gate.forgotten_each),
        _mean("taken", _parts(taken, gate.min_group_size), gate.taken_mean),
        _each("taken", _together(taken, gate.min_group_size), gate.taken_each),
        _each("learned", missed, 1 - gate.learned_at_least),
    ]
    return [family for family in families if family]


def _mean(question: Question, losses: list[LossHistogram], limit: float) -> list[Hypothesis]:
    return [Hypothesis(question, "mean", tuple(losses), limit)] if losses else []


def _each(question: Question, losses: list[LossHistogram], limit: float) -> list[Hypothesis]:
    return [Hypothesis(question, one.experience, (one,), limit) for one in losses]


def _together(losses: Sequence[LossHistogram], least: int) -> list[LossHistogram]:
    """Experiences of `least` images as they are; smaller ones pooled, in their order, until they have as many together.

    What is left over joins the last group of small ones, or for want of one the last large experience. That one is
    still judged by itself as well: neither a large experience nor a full group is ever diluted by what comes later.
    """
    groups, joined = _groups(losses, least)
    return [_pooled(losses, group) for group in [*groups, *joined]]


def _parts(losses: Sequence[LossHistogram], least: int) -> list[LossHistogram]:
    """The same groups, each experience in one of them: what is left over is part of the group that it joins."""
    groups, joined = _groups(losses, least)
    apart = [group for group in groups if not any(set(group) <= set(last) for last in joined)]
    return [_pooled(losses, group) for group in [*apart, *joined]]


def _pooled(losses: Sequence[LossHistogram], group: Sequence[int]) -> LossHistogram:
    return LossHistogram.pooled([losses[i] for i in group])


def _groups(losses: Sequence[LossHistogram], least: int) -> tuple[list[list[int]], list[list[int]]]:
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
