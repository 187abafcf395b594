"""What a verdict asks of a candidate: is too much forgotten or taken, is enough learned? Each is defined here.

forgotten   right in the best version so far, wrong now even among the classes known then; what was gained is
            set off against it
taken       right as long as only the classes known then compete, wrong when all do
learned     of a new experience, right when all classes compete

All three are asked as losses that must stay below a limit; `learned` is asked as the share missed and turned round
again in its finding. Where the score is no mean over images, a loss is how much lower the score of all of them is, and
experiences that answer together are scored as one.

Of 30 test images none may be lost, and the loss may still be 10%. So where it is asked what each past experience lost,
small ones answer together: see `Gate.min_group_size` and `_together`. What is new answers alone, or a batch that nobody
can learn would hide behind one that everybody can.
"""

from collections.abc import Sequence

import numpy as np

from models.gates.base import Gate
from models.gates.hypothesis import Hypothesis, LossHistogram
from models.gates.losses import Losses
from models.gates.outcomes import Outcomes
from models.gates.tally_losses import TallyLosses
from records.verdict import Question


def questions(gate: Gate, outcomes: Sequence[Outcomes]) -> list[list[Hypothesis]]:
    """Hypotheses, those that share an allowance for error together: each question's mean, and its experiences."""
    forgotten = [forgotten_of(one) for one in outcomes if not one.new]
    taken = [taken_of(one) for one in outcomes if not one.new]
    missed = [missed_of(one) for one in outcomes if one.new]
    families = [
        _mean("forgotten", _parts(forgotten, gate.min_group_size), gate.forgotten_mean),
        _each("forgotten", _together(forgotten, gate.min_group_size), gate.forgotten_each),
        _mean("taken", _parts(taken, gate.min_group_size), gate.taken_mean),
        _each("taken", _together(taken, gate.min_group_size), gate.taken_each),
        _each("learned", missed, 1 - gate.learned_at_least),
    ]
    return [family for family in families if family]


def forgotten_of(one: Outcomes) -> Losses:
    """What the candidate lost of a past experience among the classes known then."""
    if one.tallies is not None:
        return TallyLosses.of(one.experience, -1, one.tallies.score, one.tallies.reference, one.tallies.among_known)
    assert one.reference is not None  # of a past experience, see `Outcomes`
    return LossHistogram.of(one.experience, -1, one.reference - one.among_known)


def taken_of(one: Outcomes) -> Losses:
    """What later classes took of a past experience. Of a score of tallies they may also give something back."""
    if one.tallies is not None:
        return TallyLosses.of(one.experience, -1, one.tallies.score, one.tallies.among_known, one.tallies.overall)
    return LossHistogram.of(one.experience, 0, np.maximum(one.among_known - one.overall, 0))


def missed_of(one: Outcomes) -> Losses:
    """What was not learned of a new experience."""
    if one.tallies is not None:
        return TallyLosses.of(one.experience, 0, one.tallies.score, None, one.tallies.overall)
    return LossHistogram.of(one.experience, 0, 1 - one.overall)


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
    parts = [losses[i] for i in group]
    return type(parts[0]).pooled(parts)


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
