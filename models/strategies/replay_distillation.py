"""Replay and distillation: remembered images keep the old answers alive, the parent says what they were.

The parent, frozen, answers the same images as the student; on the classes it knows, the student's logits are drawn
towards the parent's. Distillation on new images follows Li and Hoiem (2016), "Learning without Forgetting"; logits
rather than softened probabilities follow Buzzega et al. (2020), "Dark Experience for General Continual Learning".
"""

from typing import Literal

import torch
from pydantic import Field
from torch.nn import functional

from dataset.archive import Pool
from models.strategies.base import Course, Losses, Material, Step, Strategy


class ReplayDistillation(Strategy):
    """Replay whose steps are also held to the parent's outputs. The default."""

    name: Literal["replay_distillation"] = "replay_distillation"
    remembered: float = Field(default=0.5, ge=0, le=100)
    """Weight of the distance to the parent on remembered images."""
    fresh: float = Field(default=0.1, ge=0, le=100)
    """Weight of the distance to the parent on new images. Much of it is for nights that bring new classes alone: it
    holds new images of known classes to what the parent thought of them."""
    features: float = Field(default=0.0, ge=0, le=100)
    """Weight of the distance between the features, before the head, of remembered images (Romero et al., 2015,
    "FitNets", arXiv:1412.6550)."""

    def draw(self, material: Material) -> tuple[tuple[Pool, ...], Pool | None]:
        """New images, and what memory holds."""
        return (material.new,), material.memory

    def loss(self, course: Course, step: Step) -> Losses:
        """The problem's loss, and the distance to the parent on each kind of images."""
        features = course.network.features(step.images)
        outputs = course.network.head(features)
        losses = {"task": course.loss(outputs, step)}
        if course.parent is None:
            return losses
        with torch.no_grad():
            taught_features = course.parent.features(step.images)
            taught = course.parent.head(taught_features)
        new, old = slice(None, step.fresh), slice(step.fresh, None)
        if self.fresh:
            losses["distillation_fresh"] = self.fresh * course.problem.distance(outputs[new], taught[new])
        if self.remembered and step.fresh < len(outputs):
            losses["distillation_remembered"] = self.remembered * course.problem.distance(outputs[old], taught[old])
        if self.features and step.fresh < len(outputs):
            losses["features"] = self.features * functional.mse_loss(features[old], taught_features[old])
        return losses
