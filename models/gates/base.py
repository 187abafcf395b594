"""What a gate is to the rest: limits, and bounds of what was lost. The bounds are the one thing in which gates differ.

What is asked is defined in `questions.py`, and decided in `decision.py`. To add a gate, write its file beside this one
and list it in `models/catalogue.py`.
"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from models.gates.hypothesis import Hypothesis
from models.statistics import Floats
from records.record import Record


class Gate(Record):
    """Limits, and how sure to be about them. A choice: it learns nothing and keeps nothing."""

    counts_only: ClassVar[bool] = False
    """Whether it judges answers that are right or wrong and nothing in between, and no tallies."""
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
    unlabelled_lost: float = Field(default=0.70, gt=0, lt=1)
    """Limit for the share of a class that may be gone from tonight's images, where nobody looked for it and the
    champion is sure to see it. The champion errs, and a better model differs from it: a full retrain by some 10%. One
    that takes the background of new images at its word loses 70 to 97%."""
    class_images: int = Field(default=10, ge=1)
    """A class that had fewer test images right than this is named and not judged, as long as any of it is left."""

    def uppers(self, hypotheses: Sequence[Hypothesis], level: float) -> Floats:
        """Upper bounds [k] of k hypotheses of one question; each alone is too low with probability `level` at most."""
        raise NotImplementedError

    def lowers(self, hypotheses: Sequence[Hypothesis], level: float) -> Floats:
        """Lower bounds [k] of k hypotheses of one question; any is too high with probability `level` at most."""
        raise NotImplementedError
