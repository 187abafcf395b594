"""Learning without forgetting: no image is remembered; the parent's answers to the new images stand in for the past.

Li and Hoiem (2016), arXiv:1606.09282.
"""

from typing import Literal

from pydantic import Field

from dataset.archive import ImageDataset
from models.strategies.base import Losses, Minibatch, Strategy, TrainingContext, TrainingData


class LwF(Strategy):
    """Fine-tuning that is held to the parent's softened answers."""

    name: Literal["lwf"] = "lwf"
    distillation_weight: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the divergence from the parent."""
    temperature: float = Field(default=2.0, ge=1, le=100)
    """How much the answers are softened."""

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """New images, nothing replayed."""
        return (data.new,), None

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """The problem's loss, and the divergence from what the parent says of the same images."""
        outputs, teacher_outputs = context.network(minibatch.images), context.teacher_outputs(minibatch.images)
        losses = {"task": context.loss(outputs, minibatch, teacher_outputs)}
        if teacher_outputs is not None:
            losses["distillation"] = self.distillation_weight * context.problem.divergence(
                outputs, teacher_outputs, self.temperature
            )
        return losses
