"""Replay and distillation: remembered images keep the old answers alive, the parent says what they were.

The parent, frozen, answers the same images as the student; on the classes it knows, the student's logits are drawn
towards the parent's. Distillation on new images follows Li and Hoiem (2016), "Learning without Forgetting"; logits
rather than softened probabilities follow Buzzega et al. (2020), "Dark Experience for General Continual Learning".
"""

from typing import Literal

from pydantic import Field

from models.archive import Pool
from models.strategies.base import Course, Losses, Material, Step, Strategy


class ReplayDistillation(Strategy):
    """Replay whose steps are also held to the parent's outputs. The default."""

    name: Literal["replay_distillation"] = "replay_distillation"
    remembered: float = Field(default=0.5, ge=0, le=100)
    """Weight of the distance to the parent on remembered images."""
    fresh: float = Field(default=0.1, ge=0, le=100)
    """Weight of the distance to the parent on new images."""

    def draw(self, material: Material) -> tuple[tuple[Pool, ...], Pool | None]:
        """New images, and what memory holds."""
        return (material.new,), material.memory

    def loss(self, course: Course, step: Step) -> Losses:
        """The problem's loss, and the distance to the parent on each kind of images."""
        outputs, taught = course.network(step.images), course.taught(step.images)
        losses = {"task": course.loss(outputs, step)}
        if taught is None:
            return losses
        new, old = slice(None, step.fresh), slice(step.fresh, None)
        if self.fresh:
            losses["distillation_fresh"] = self.fresh * course.problem.distance(outputs[new], taught[new])
        if self.remembered and step.fresh < len(outputs):
            losses["distillation_remembered"] = self.remembered * course.problem.distance(outputs[old], taught[old])
        return losses
