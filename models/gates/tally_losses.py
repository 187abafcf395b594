"""Losses of a score that is no mean over images, such as the mean intersection over union.

Such a score is a function of sums: each image has a tally, a row of numbers, and the score is that of the sum of all
tallies. What an image counts for is the derivative of the score in its direction, its influence: the infinitesimal
jackknife (Jaeckel 1972; Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, chapter 6).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from models.columns import stacked
from models.gates.losses import name_of, worst_of
from models.statistics import Floats

Score = Callable[[Tensor], Tensor]
"""Sums of tallies [r, k], float64, to scores [r], 0..1: differentiable, and the same for sums that are all doubled."""


def score_of(score: Score, sums: Floats) -> Floats:
    """[r] the score of each row of sums [r, k]."""
    with torch.no_grad():
        return np.asarray(score(torch.from_numpy(sums)).numpy(), dtype=np.float64)


def slopes(score: Score, sums: Floats) -> tuple[Floats, Floats]:
    """The score [r] of each row of sums [r, k], and its derivative by each of them [r, k].

    Raises ValueError if there is none.
    """
    at = torch.from_numpy(sums).requires_grad_()
    scores = score(at)
    (by,) = torch.autograd.grad(scores.sum(), at)
    if not bool(by.isfinite().all()):
        raise ValueError("A score of tallies must have a derivative at all sums, also where a class has none.")
    return scores.detach().numpy(), by.numpy()


def _alike(held: Floats) -> Floats:
    """[k] as how many images that hold alike much those count that hold `held` [n, k]."""
    return np.asarray(held.sum(0) ** 2 / (held**2).sum(0))


def _influence(score: Score, tally: Floats) -> Floats:
    """[n] what each image of a tally [n, k] adds to the score of them all, to first order."""
    return np.asarray(tally @ slopes(score, tally.sum(0, keepdims=True))[1][0])


@dataclass(frozen=True, eq=False)
class Sample:
    """The tallies of n images, and what follows from them."""

    score: Score
    before: Floats | None
    """[n, k] as they were; None: what is missing from a score of 1 is lost."""
    after: Floats
    """[n, k] as they are."""
    drawn: dict[tuple[int, int], tuple[Floats, Floats]] = field(default_factory=dict, repr=False)
    """What was drawn already, by number of draws and seed: drawing is the costly part, and each bound asks again."""

    @cached_property
    def mean(self) -> float:
        """How much lower the score is."""
        full = 1.0 if self.before is None else float(score_of(self.score, self.before.sum(0, keepdims=True))[0])
        return full - float(score_of(self.score, self.after.sum(0, keepdims=True))[0])

    @cached_property
    def variance(self) -> float:
        """Variance of an image's influence on the loss, times n: what n images share makes the standard error."""
        influence = -_influence(self.score, self.after)
        if self.before is not None:
            influence = influence + _influence(self.score, self.before)
        return len(self.after) * float(influence @ influence)

    @cached_property
    def held(self) -> tuple[Floats, Floats]:
        """How much of the score [k] hangs on how many images [k]: its rarest part, the two rarest, ... all k.

        A part is what one number of the tally accounts for: how much lower the score would be, at most, were all wrong
        that is right in it. What raises the score would be gone. And what lowers it would grow, in the intersection
        over union by what was right, so its part is that of the score itself. All parts are score + score ** 2.
        Images that hold unlike much of a part count as (sum of h) ** 2 / sum of h ** 2 of them (Kish 1965, Survey
        Sampling): a share of it that is lost by chance varies as if so many alike held it.
        """
        tally = self.after if self.before is None else self.before
        (score,), (by,) = slopes(self.score, tally.sum(0, keepdims=True))
        part = tally * np.where(by > 0, by, -score * by)
        part = part[:, part.any(axis=0)]
        together = part[:, np.argsort(_alike(part), kind="stable")].cumsum(1)
        return np.asarray(together.sum(0)), _alike(together)


@dataclass(frozen=True, eq=False)
class TallyLosses:
    """How much lower a score became: of one experience, or of several together."""

    experience: str
    low: float
    """The least loss possible: -1 where something can be gained as well, else 0."""
    sample: Sample
    times: float = 1.0
    """How often each image is taken to be there, where one asks what more images would say."""
    worst: tuple[str, float] = ("", 0.0)
    """Of several experiences together, the one that lost most, and what it lost."""

    @classmethod
    def of(cls, experience: str, low: float, score: Score, before: Floats | None, after: Floats) -> Self:
        """Losses from the tallies [n, k] of n images, before and after; `before` is None where a score of 1 was due."""
        return cls(experience, low, Sample(score, before, after))

    @classmethod
    def pooled(cls, parts: Sequence[Self]) -> Self:
        """All images of several experiences as if they had come at once, named by the first and the last of them."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        before = [one.sample.before for one in parts if one.sample.before is not None]
        after = [one.sample.after for one in parts]
        sample = Sample(first.sample.score, stacked(before) if before else None, stacked(after))
        return cls(name_of(parts), first.low, sample, worst=worst_of(parts))

    @property
    def total(self) -> float:
        """Number of images."""
        return len(self.sample.after) * self.times

    @property
    def mean(self) -> float:
        """How much lower the score is."""
        return self.sample.mean

    def scaled(self, times: float) -> Self:
        """The same loss if there were so many times the images."""
        return replace(self, times=self.times * times)
