"""Elastic weight consolidation: weights that mattered may not move far.

Kirkpatrick et al. (2017), arXiv:1612.00796, in the online form of Schwarz et al. (2018), arXiv:1805.06370: one
importance a weight, the diagonal of the Fisher information, faded and added to every night.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from dataset.archive import ImageDataset
from models.strategies.base import Losses, Minibatch, Strategy, TrainingContext, TrainingData


class EWC(Strategy):
    """Fine-tuning with a quadratic penalty on moving every weight, stiffer where the weight mattered."""

    name: Literal["ewc"] = "ewc"
    penalty_weight: float = Field(default=100.0, ge=0)
    """Strength of the penalty."""
    decay_factor: float = Field(default=1.0, gt=0, le=1)
    """What is left of old importances after a night."""
    fisher_images: int = Field(default=1000, ge=1)
    """New images that the importances are estimated from."""

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """New images, nothing replayed."""
        return (data.new,), None

    def begin(self, context: TrainingContext, data: TrainingData) -> None:
        """The penalty holds every weight where it is now: at what the parent ended with, a correction included."""
        for name, parameter in context.network.named_parameters():
            context.state[f"anchor.{name}"] = parameter.detach().clone()

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """The problem's loss, and the quadratic penalty."""
        losses = {"task": context.loss(context.network(minibatch.images), minibatch)}
        if any(name.startswith("importance.") for name in context.state):
            losses["penalty"] = self.penalty_weight / 2 * quadratic_penalty(context)
        return losses

    def finish(self, context: TrainingContext, data: TrainingData) -> None:
        """Add the Fisher information of the new images."""
        fisher = self._fisher(context, data.new)
        for name in fisher:
            old = context.state.get(f"importance.{name}")
            if old is not None:
                fisher[name][: len(old)] += self.decay_factor * old
            context.state[f"importance.{name}"] = fisher[name]
            context.state.pop(f"anchor.{name}")

    def _fisher(self, context: TrainingContext, dataset: ImageDataset) -> dict[str, Tensor]:
        """Mean squared gradient of the log-likelihood of each image's own label, a weight at a time."""
        network = context.network.eval()
        total = {name: torch.zeros_like(parameter) for name, parameter in network.named_parameters()}
        generator = torch.Generator().manual_seed(context.seed)
        chosen = torch.randperm(len(dataset), generator=generator)[: self.fisher_images]
        for position in torch.split(chosen, 1):
            network.zero_grad(set_to_none=True)
            images, targets = dataset.images(position).to(context.device), dataset.targets(position).to(context.device)
            torch.autograd.backward(context.problem.loss(network(images), targets))
            for name, parameter in network.named_parameters():
                if parameter.grad is not None:
                    total[name] += parameter.grad**2 / len(chosen)
        network.zero_grad(set_to_none=True)
        return total


def quadratic_penalty(context: TrainingContext) -> Tensor:
    """Sum over weights of importance times squared distance from the anchor. Rows that the head grew are free."""
    energy = []
    for name, parameter in context.network.named_parameters():
        importance = context.state.get(f"importance.{name}")
        if importance is not None:
            rows = len(importance)
            energy.append((importance * (parameter[:rows] - context.state[f"anchor.{name}"][:rows]) ** 2).sum())
    return torch.stack(energy).sum()
