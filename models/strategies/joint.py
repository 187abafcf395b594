"""Full retrain: the upper baseline, whose cost grows with every night."""

from typing import ClassVar, Literal

from dataset.archive import Pool
from models.strategies.base import Course, Losses, Material, Step, Strategy


class Joint(Strategy):
    """A fresh network learns everything ever admitted, old and new mixed."""

    name: Literal["joint"] = "joint"
    starts_over: ClassVar[bool] = True
    corrected: ClassVar[bool] = False

    def draw(self, material: Material) -> tuple[tuple[Pool, ...], Pool | None]:
        """The archive and the new images, each once an epoch."""
        return (material.new,) if material.archive is None else (material.archive, material.new), None

    def loss(self, course: Course, step: Step) -> Losses:
        """The problem's loss."""
        return {"task": course.loss(course.network(step.images), step)}
