"""A loss that must stay below a limit, and the images that it is measured on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from models.gates.losses import Losses, name_of, worst_of
from models.statistics import Floats
from records.verdict import Question


@dataclass(frozen=True)
class LossHistogram:
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
        """LossHistogram [n] of n images."""
        values, images = np.unique(losses, return_counts=True)
        return cls(experience, low, values, images.astype(np.float64))

    @classmethod
    def pooled(cls, parts: Sequence[Self]) -> Self:
        """All images of several experiences as if they had come at once, named by the first and the last of them."""
        if len(parts) == 1:
            return parts[0]
        values, where = np.unique(np.concatenate([one.values for one in parts]), return_inverse=True)
        images = np.bincount(where, np.concatenate([one.images for one in parts])).astype(np.float64)
        return cls(name_of(parts), parts[0].low, values, images, worst_of(parts))

    @property
    def total(self) -> float:
        """Number of images."""
        return float(self.images.sum())

    @property
    def mean(self) -> float:
        """Loss of the average image."""
        return float(self.images @ self.values) / self.total

    def scaled(self, times: float) -> Self:
        """The same loss if there were so many times the images."""
        return replace(self, images=self.images * times)


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
        return self.losses[0].worst if len(self.losses) == 1 else worst_of(self.losses)

    def scaled(self, total: int) -> "Hypothesis":
        """The same hypothesis if there were `total` images, the rates being what they are."""
        more = total / self.total
        losses = tuple(one.scaled(more) for one in self.losses)
        return Hypothesis(self.question, self.subject, losses, self.limit)
