"""Score and exact intervals on counts of images: the default gate.

An answer is right or wrong, so the same test images give counts: lost, gained, taken. What was forgotten in one
experience is bounded by the score interval for paired answers (Tango 1998), what was taken or missed by the exact
interval for a share (Clopper and Pearson 1934), and a mean over experiences by recovering each one's variance from its
own bounds (Zou and Donner 2008).
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np

from models.gates.base import Gate
from models.gates.hypothesis import Hypothesis, LossHistogram
from models.gates.losses import Losses
from models.statistics import Floats, mover, share_lower, share_upper, tango_lower, tango_upper


class PairedScore(Gate):
    """Needs outcomes of 0 or 1; judging raises ValueError for scores in between."""

    counts_only: ClassVar[bool] = True
    name: Literal["paired_score"] = "paired_score"

    def uppers(self, hypotheses: Sequence[Hypothesis], level: float) -> Floats:
        """Upper bounds [k], each with probability `level` of being too low."""
        return _bounds(hypotheses, level, tango_upper, share_upper)

    def lowers(self, hypotheses: Sequence[Hypothesis], level: float) -> Floats:
        """Lower bounds [k] that hold together: the error is shared equally (Bonferroni)."""
        return _bounds(hypotheses, level / len(hypotheses), tango_lower, share_lower)


def _bounds(
    hypotheses: Sequence[Hypothesis], level: float, paired: Callable[..., Floats], share: Callable[..., Floats]
) -> Floats:
    """Bounds [k], by `paired` where images can be gained too and by `share` where they cannot.

    Half an image is given away for counts being whole numbers. A mean over j experiences has finer steps, so each of
    its parts gives away 0.5 / sqrt(j), which makes half an image of their sum.
    """
    parts = [(_counted(one), len(hypothesis.losses)) for hypothesis in hypotheses for one in hypothesis.losses]
    lost, gained = (np.array([_count(one, value) for one, _ in parts]) for value in (1, -1))
    images = np.array([one.total for one, _ in parts])
    if any(one.low < 0 for one, _ in parts):
        bounds = paired(lost, gained, images, level, 0.5 / np.sqrt([j for _, j in parts]))
    else:
        bounds = share(lost, images, level)
    ends = np.cumsum([len(hypothesis.losses) for hypothesis in hypotheses])[:-1]
    estimates = (lost - gained) / images
    return np.array([mover(e, b) for e, b in zip(np.split(estimates, ends), np.split(bounds, ends), strict=True)])


def _counted(losses: Losses) -> LossHistogram:
    """The same losses. Raises ValueError if they are no counts of images, or any image lost a fraction."""
    if not isinstance(losses, LossHistogram) or not np.isin(losses.values, (-1, 0, 1)).all():
        raise ValueError(
            f"{losses.experience}: paired_score counts right and wrong answers, but some scores lie between 0 and 1. "
            "Use the gate paired_bootstrap for this problem."
        )
    return losses


def _count(losses: LossHistogram, value: int) -> float:
    """How many images lost exactly `value`."""
    return float(losses.images[losses.values == value].sum())
