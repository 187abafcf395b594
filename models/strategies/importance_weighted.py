"""Importance weights: images that the network finds hard count more, in training and in what memory keeps.

How hard an image is, is its loss, or the norm of the loss's gradient at the outputs times that of the features behind
it, which bounds the gradient of all weights up to a constant (Katharopoulos and Fleuret, 2018, "Not All Samples Are
Created Equal", arXiv:1803.00942). Memory keeps a weighted sample without replacement (Efraimidis and Spirakis, 2006).
Wrong labels are hard images too: with labels that are not clean, keep `exponent` small.
"""

from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from dataset.archive import ImageDataset
from models.strategies.base import Losses, Minibatch, Strategy, TrainingContext, TrainingData


class ImportanceWeighted(Strategy):
    """Replay with one weight per image."""

    name: Literal["importance_weighted"] = "importance_weighted"
    per_image: ClassVar[bool] = True
    without_memory: ClassVar[str] = "finetune"
    by: Literal["loss", "gradient"] = "gradient"
    """What makes an image important: its loss, or the norm of its gradient."""
    exponent: float = Field(default=0.5, ge=0, le=4)
    """Exponent of the weights; 0 is plain replay."""
    max_weight: float = Field(default=5.0, ge=1)
    """No image counts more than so many times the average, nor less than the inverse."""

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """New images, and what memory holds."""
        return (data.new,), data.memory

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """The problem's loss, each image weighted."""
        features = context.network.features(minibatch.images)
        outputs = context.network.head(features)
        losses = context.losses(outputs, minibatch)
        weight = self._weights(self._hardness(losses, outputs, features))
        if minibatch.weight is not None:
            weight = weight * minibatch.weight
        return {"task": (losses * weight).sum() / weight.sum()}

    def importance(self, context: TrainingContext, dataset: ImageDataset) -> NDArray[np.float64] | None:
        """The weights of all images of a dataset, by the network as it is now."""
        hardness = []
        for images, targets in dataset.parts(context.device):
            features = context.network.features(images).detach()
            outputs = context.network.head(features)
            hardness.append(self._hardness(context.problem.losses(outputs, targets), outputs, features).cpu())
        return np.asarray(self._weights(torch.cat(hardness).double()).numpy(), dtype=np.float64)

    def _weights(self, hardness: Tensor) -> Tensor:
        weight: Tensor = (hardness / hardness.mean().clamp_min(1e-12)).pow(self.exponent)
        return (weight / weight.mean().clamp_min(1e-12)).clamp(1 / self.max_weight, self.max_weight)

    def _hardness(self, losses: Tensor, outputs: Tensor, features: Tensor) -> Tensor:
        """[n] of `losses` [n], which were made from `outputs`, which were made from `features`."""
        if self.by == "loss":
            return losses.detach()
        gradient: Tensor = torch.autograd.grad(losses.sum(), outputs, retain_graph=True)[0]
        norms: Tensor = torch.linalg.vector_norm(gradient, dim=1) * torch.linalg.vector_norm(features.detach(), dim=1)
        return norms
