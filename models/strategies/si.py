"""Synaptic intelligence: a weight's importance is what its own path contributed to the fall of the loss.

Zenke, Poole and Ganguli (2017), "Continual Learning Through Synaptic Intelligence", arXiv:1703.04200.
"""

from typing import Literal

import torch
from pydantic import Field

from dataset.archive import ImageDataset
from models.strategies.base import Losses, Minibatch, Strategy, TrainingContext, TrainingData
from models.strategies.ewc import quadratic_penalty


class SI(Strategy):
    """Fine-tuning with a quadratic penalty whose strength for each weight was measured while training."""

    name: Literal["si"] = "si"
    penalty_weight: float = Field(default=0.1, ge=0)
    """Strength of the penalty (c in the paper)."""
    damping: float = Field(default=0.1, gt=0)
    """Keeps the importance of weights that hardly moved finite (xi in the paper)."""

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """New images, nothing replayed."""
        return (data.new,), None

    def begin(self, context: TrainingContext, data: TrainingData) -> None:
        """Every weight's path starts here, and here the penalty holds it."""
        for name, parameter in context.network.named_parameters():
            context.state[f"path.{name}"] = torch.zeros_like(parameter)
            context.state[f"anchor.{name}"] = parameter.detach().clone()
            context.state[f"before.{name}"] = parameter.detach().clone()

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """The problem's loss, and the quadratic penalty."""
        losses = {"task": context.loss(context.network(minibatch.images), minibatch)}
        if any(name.startswith("importance.") for name in context.state):
            losses["penalty"] = self.penalty_weight * quadratic_penalty(context)
        return losses

    @torch.no_grad()
    def after_step(self, context: TrainingContext) -> None:
        """Each weight's path goes on by minus the problem's gradient times the move."""
        for name, parameter in context.network.named_parameters():
            if parameter.grad is None:
                continue
            before = context.state[f"before.{name}"]
            gradient = parameter.grad.clone()
            importance = context.state.get(f"importance.{name}")
            if importance is not None:  # The penalty's share of the gradient is no merit of the new images.
                rows = len(importance)
                gradient[:rows] -= (
                    2 * self.penalty_weight * importance * (before - context.state[f"anchor.{name}"])[:rows]
                )
            context.state[f"path.{name}"] -= gradient * (parameter - before)
            before.copy_(parameter)

    @torch.no_grad()
    def finish(self, context: TrainingContext, data: TrainingData) -> None:
        """Path over squared distance is added to the importance."""
        for name, parameter in context.network.named_parameters():
            path, start = context.state.pop(f"path.{name}"), context.state.pop(f"anchor.{name}")
            context.state.pop(f"before.{name}")
            importance = path.clamp_min(0) / ((parameter - start) ** 2 + self.damping)
            old = context.state.get(f"importance.{name}")
            if old is not None:
                importance[: len(old)] += old
            context.state[f"importance.{name}"] = importance
