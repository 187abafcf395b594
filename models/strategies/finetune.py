"""Fine-tuning: the lower baseline. It learns the new images and forgets what it does not see."""

from typing import ClassVar, Literal

from dataset.archive import Pool
from models.strategies.base import Course, Losses, Material, Step, Strategy


class Finetune(Strategy):
    """Goes on from the parent with the new images alone, and nothing corrects for what they lack."""

    name: Literal["finetune"] = "finetune"
    blends: ClassVar[bool] = False

    def draw(self, material: Material) -> tuple[tuple[Pool, ...], Pool | None]:
        """New images, nothing replayed."""
        return (material.new,), None

    def loss(self, course: Course, step: Step) -> Losses:
        """The problem's loss, as it is."""
        return {"task": course.problem.loss(course.network(step.images), step.targets)}
