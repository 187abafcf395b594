"""Dark experience replay: a remembered image keeps the answer that it was given when it was stored.

Buzzega et al. (2020), "Dark Experience for General Continual Learning: a Strong, Simple Baseline", arXiv:2004.07211
(DER++: stored logits and labels). The paper stores logits while training; here they are those of the version that
first kept the image, and one draw from memory serves both parts of the loss.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from dataset.archive import ImageDataset
from models.strategies.base import Losses, Minibatch, Strategy, TrainingContext, TrainingData


class DarkReplay(Strategy):
    """Replay whose remembered images are held to their stored outputs. Needs no teacher, so no second forward pass."""

    name: Literal["dark_replay"] = "dark_replay"
    per_image: ClassVar[bool] = True
    without_memory: ClassVar[str] = "finetune"
    blends: ClassVar[bool] = False
    remembers_outputs: ClassVar[bool] = True
    logit_weight: float = Field(default=0.5, ge=0, le=100)
    """Weight of the distance to the stored outputs."""

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """New images, and what memory holds."""
        return (data.new,), data.memory

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """The problem's loss, and the distance to what was answered then."""
        outputs = context.network(minibatch.images)
        losses = {"task": context.loss(outputs, minibatch)}
        if minibatch.remembered is not None:
            now, then = outputs[minibatch.n_new :], minibatch.remembered
            # Of a class that came after the image was stored nothing is known: there the image pulls nowhere.
            then = torch.where(then.isnan(), now[:, : then.shape[1]].detach(), then)
            losses["logits"] = self.logit_weight * context.problem.distance(now, then)
        return losses
