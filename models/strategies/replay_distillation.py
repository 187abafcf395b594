"""Replay and distillation: remembered images keep the old answers alive, the parent says what they were.

The parent, frozen, answers the same images as the student; on the classes it knows, the student's logits are drawn
towards the parent's. Distillation on new images follows Li and Hoiem (2016), "Learning without Forgetting"; logits
rather than softened probabilities follow Buzzega et al. (2020), "Dark Experience for General Continual Learning".
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch.nn import functional

from dataset.archive import ImageDataset
from models.strategies.base import Losses, Minibatch, Strategy, TrainingContext, TrainingData


class ReplayDistillation(Strategy):
    """Replay whose steps are also held to the parent's outputs. The default."""

    name: Literal["replay_distillation"] = "replay_distillation"
    without_memory: ClassVar[str] = "lwf"
    memory_weight: float = Field(default=0.5, ge=0, le=100)
    """Weight of the distance to the parent on remembered images."""
    new_weight: float = Field(default=0.1, ge=0, le=100)
    """Weight of the distance to the parent on new images. Much of it is for nights that bring new classes alone: it
    holds new images of known classes to what the parent thought of them."""
    feature_weight: float = Field(default=0.0, ge=0, le=100)
    """Weight of the distance between the features, before the head, of remembered images (Romero et al., 2015,
    "FitNets", arXiv:1412.6550)."""

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """New images, and what memory holds."""
        return (data.new,), data.memory

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """The problem's loss, and the distance to the parent on each kind of images."""
        features = context.network.features(minibatch.images)
        outputs = context.network.head(features)
        if context.parent is None:
            return {"task": context.loss(outputs, minibatch)}
        with torch.no_grad():
            taught_features = context.parent.features(minibatch.images)
            teacher_outputs = context.parent.head(taught_features)
        losses = {"task": context.loss(outputs, minibatch, teacher_outputs)}
        new, old = slice(None, minibatch.n_new), slice(minibatch.n_new, None)
        if self.new_weight:
            losses["distillation_new"] = self.new_weight * context.problem.distance(outputs[new], teacher_outputs[new])
        if self.memory_weight and minibatch.n_new < len(outputs):
            losses["distillation_memory"] = self.memory_weight * context.problem.distance(
                outputs[old], teacher_outputs[old]
            )
        if self.feature_weight and minibatch.n_new < len(outputs):
            losses["features"] = self.feature_weight * functional.mse_loss(features[old], taught_features[old])
        return losses
