"""Full retrain: the upper baseline, whose cost grows with every night."""

from typing import ClassVar, Literal

from dataset.archive import ImageDataset
from models.strategies.base import Losses, Minibatch, Strategy, TrainingContext, TrainingData


class Joint(Strategy):
    """A fresh network learns everything ever admitted, old and new mixed."""

    name: Literal["joint"] = "joint"
    starts_over: ClassVar[bool] = True
    corrected: ClassVar[bool] = False

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """The archive and the new images, each once an epoch."""
        return (data.new,) if data.archive is None else (data.archive, data.new), None

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """The problem's loss."""
        return {"task": context.loss(context.network(minibatch.images), minibatch)}
