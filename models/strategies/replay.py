"""Experience replay: each step mixes new images with remembered ones.

Chaudhry et al. (2019), "On Tiny Episodic Memories in Continual Learning", arXiv:1902.10486.
"""

from typing import ClassVar, Literal

from dataset.archive import ImageDataset
from models.strategies.base import Losses, Minibatch, Strategy, TrainingContext, TrainingData


class Replay(Strategy):
    """Goes on from the parent with new and remembered images in every step."""

    name: Literal["replay"] = "replay"
    without_memory: ClassVar[str] = "finetune"

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """New images, and what memory holds."""
        return (data.new,), data.memory

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """The problem's loss over both kinds of images."""
        return {"task": context.loss(context.network(minibatch.images), minibatch)}
