"""How two versions' answers to the same images are scored: as a mean over images, or from sums of tallies.

A mask is hardly ever answered twice in quite the same way. So of a score of tallies an image is lost or gained if its
own score moved by more than `NOTICEABLE`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.problems.base import Problem
from models.problems.classification import Classification
from models.statistics import Floats
from records.score_names import ACCURACY
from tasks.evaluate.tables import stacked

NOTICEABLE = 0.05
"""Of the score of one image, 0..1."""
DIGITS = 6
WHICH = ("first", "second")
SIDES = (("left", "first"), ("right", "second"))
"""Of a join, what a version is called."""


@dataclass(frozen=True)
class Scoring:
    """Of rows as `join_answers` makes them, with columns tally_first and tally_second if `classes` are given."""

    problem: Problem
    classes: tuple[str, ...] = ()
    """Those that tallies are of; none if the score is the mean of how right each image is."""

    @property
    def names(self) -> tuple[str, str]:
        """What the score and the score of a class are called."""
        return (self.problem.score_name, self.problem.class_score_name) if self.classes else (ACCURACY, ACCURACY)

    @property
    def noticeable(self) -> float:
        """By how much an image's score must differ to be lost or gained."""
        return NOTICEABLE if self.classes else 0.0

    def score(self, rows: pd.DataFrame, which: str) -> float | None:
        """The score of a version on the rows that it was examined on; None if there are none."""
        known = rows[rows[f"overall_{which}"].notna()]
        if not len(known):
            return None
        if self.classes:
            return round(self.problem.score_of(stacked(known[f"tally_{which}"])), DIGITS)
        return round(float(known[f"overall_{which}"].mean()), DIGITS)

    def of_classes(self, rows: pd.DataFrame) -> Iterator["OfClass"]:
        """Each class that any image shows, with its scores on the images that both versions were examined on, or if
        there are none on those of the one that was."""
        both = rows[rows["_merge"] == "both"]
        shared = [self._of_version(both, which) for which in WHICH]
        alone = [self._of_version(rows[rows["_merge"] == f"{side}_only"], which) for side, which in SIDES]
        for number, name in enumerate(self.classes):
            first, second = (one.images(number) for one in shared)
            if (shown := ~np.isnan(first) & ~np.isnan(second)).any():
                drop = first[shown] - second[shown]
                lost, gained = int((drop > NOTICEABLE).sum()), int((drop < -NOTICEABLE).sum())
                yield OfClass(name, int(shown.sum()), shared[0].score(name), shared[1].score(name), lost, gained)
            elif images := [int((~np.isnan(one.images(number))).sum()) for one in alone if name in one.scores]:
                yield OfClass(name, sum(images), alone[0].score(name), alone[1].score(name), 0, 0)

    def _of_version(self, rows: pd.DataFrame, which: str) -> "Version":
        if not len(rows):
            return Version(np.zeros((0, len(self.classes))), {})
        tally = stacked(rows[f"tally_{which}"])
        return Version(self.problem.by_class(tally), self.problem.per_class(tally.sum(axis=0), self.classes))


RIGHT_OR_WRONG = Scoring(Classification())


@dataclass(frozen=True)
class OfClass:
    """How two versions differ on one class."""

    name: str
    images: int
    first: float | None
    second: float | None
    lost: int
    gained: int


@dataclass(frozen=True)
class Version:
    """How right a version is for each class on some images."""

    each: Floats
    """[n, classes], NaN where an image does not show the class."""
    scores: dict[str, float]
    """Class to its score over all of them."""

    def images(self, number: int) -> Floats:
        """[n] for the class of that number; NaN for one that the version did not know."""
        return self.each[:, number] if number < self.each.shape[1] else np.full(len(self.each), np.nan)

    def score(self, name: str) -> float | None:
        """Of one class; None if no image shows it."""
        return round(self.scores[name], DIGITS) if name in self.scores else None


def longer(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """The classes of both versions: one was made from the other, or both from a third, so those of one begin alike."""
    return tuple(first if len(first) > len(second) else second)
