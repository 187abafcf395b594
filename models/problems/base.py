"""What a problem is to the rest: targets, a loss, a distance between two models' outputs, outcomes, a score.

Strategies and gates never ask which problem they serve. A strategy calls `loss` and `distance`; a gate bounds what
was lost in rows of `outcomes`. To add a problem, write its file beside this one and list it in `models/catalogue.py`.
What it answers must be one class an image: targets are class indices from the archive (`dataset/archive.py`) to memory
and minibatches, and another kind of target is not read from deliveries yet. See docs/extending.md.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.statistics import Floats
from records.record import Record


@dataclass(frozen=True)
class Answers:
    """What a model says of n images, image by image, and how right it is."""

    answer: NDArray[np.int64]
    """[n] class index it answers with when all classes compete."""
    confidence: Floats
    """[n] its probability of that answer, 0..1."""
    overall: Floats
    """[n] 0..1, how right the answer is when all classes compete."""
    among_known: Floats
    """[n] 0..1, how right it is when only the first `known` classes compete; never below `overall`."""


class Problem(Record):
    """A kind of question that images can be asked."""

    def losses(self, outputs: Tensor, targets: Tensor, log_prior: Tensor | None = None) -> Tensor:
        """[n] loss of each image. `log_prior` [classes] corrects for how often each class occurs in a training step."""
        raise NotImplementedError

    def loss(
        self, outputs: Tensor, targets: Tensor, log_prior: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        """Mean loss, a scalar; `weight` [n] says how much each image counts."""
        losses = self.losses(outputs, targets, log_prior)
        return losses.mean() if weight is None else (losses * weight).sum() / weight.sum()

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """How far a student's outputs are from its teacher's on the classes that the teacher knows, a scalar."""
        raise NotImplementedError

    def divergence(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """The same for softened answers: the higher the temperature, the more the teacher's doubts count. A scalar."""
        raise NotImplementedError

    def outcomes(self, outputs: Tensor, targets: Tensor, known: int) -> Answers:
        """How right `outputs` [n, classes] are on `targets` [n]; `known` classes existed when these were learned."""
        raise NotImplementedError

    def score(self, outcomes: Floats) -> float:
        """One number, 0..1, higher is better, from any selection of rows of outcomes."""
        raise NotImplementedError

    def chance(self, targets: Tensor, known: int) -> float:
        """The score on `targets` [n] that is expected of an untrained network with the first `known` classes, 0..1."""
        raise NotImplementedError
