"""Fine-tuning: the lower baseline. It learns the new images and forgets what it does not see."""

from typing import ClassVar, Literal

from dataset.archive import ImageDataset
from models.strategies.base import Losses, Minibatch, Strategy, TrainingContext, TrainingData


class Finetune(Strategy):
    """Goes on from the parent with the new images alone, and nothing corrects for what they lack."""

    name: Literal["finetune"] = "finetune"
    blends: ClassVar[bool] = False

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """New images, nothing replayed."""
        return (data.new,), None

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """The problem's loss, as it is."""
        return {"task": context.problem.loss(context.network(minibatch.images), minibatch.targets)}
