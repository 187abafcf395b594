"""Learning without forgetting: no image is remembered; the parent's answers to the new images stand in for the past.

Li and Hoiem (2016), arXiv:1606.09282.
"""

from typing import Literal

from pydantic import Field

from dataset.archive import Pool
from models.strategies.base import Course, Losses, Material, Step, Strategy


class LwF(Strategy):
    """Fine-tuning that is held to the parent's softened answers."""

    name: Literal["lwf"] = "lwf"
    strength: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the divergence from the parent."""
    temperature: float = Field(default=2.0, ge=1, le=100)
    """How much the answers are softened."""

    def draw(self, material: Material) -> tuple[tuple[Pool, ...], Pool | None]:
        """New images, nothing replayed."""
        return (material.new,), None

    def loss(self, course: Course, step: Step) -> Losses:
        """The problem's loss, and the divergence from what the parent says of the same images."""
        outputs, taught = course.network(step.images), course.taught(step.images)
        losses = {"task": course.loss(outputs, step)}
        if taught is not None:
            losses["distillation"] = self.strength * course.problem.divergence(outputs, taught, self.temperature)
        return losses
