"""Reptile over memory: a few steps forward, then only part of the way, so that gradients of old and new come to agree.

Nichol, Achiam and Schulman (2018), "On First-Order Meta-Learning Algorithms", arXiv:1803.02999; with replay in the
inner steps as in Riemer et al. (2019), "Learning to Learn without Forgetting", arXiv:1810.11910 (MER), whose batches
are single images and would cost many times as much.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from dataset.archive import ImageDataset
from models.strategies.base import Losses, Minibatch, Strategy, TrainingContext, TrainingData


class Reptile(Strategy):
    """Replay whose every `inner_steps` steps are followed by a step back."""

    name: Literal["reptile"] = "reptile"
    without_memory: ClassVar[str] = "finetune"
    inner_steps: int = Field(default=10, ge=1)
    """Steps between two outer ones."""
    outer_learning_rate: float = Field(default=0.5, gt=0, le=1)
    """Share of the way that is kept; 1 is plain replay."""

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """New images, and what memory holds."""
        return (data.new,), data.memory

    def begin(self, context: TrainingContext, data: TrainingData) -> None:
        """The first outer step starts here."""
        context.state["inner"] = torch.zeros((), dtype=torch.int64)
        self._hold(context)

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """The problem's loss over both kinds of images."""
        return {"task": context.loss(context.network(minibatch.images), minibatch)}

    def after_step(self, context: TrainingContext) -> None:
        """After the last inner step, go back to `outer_learning_rate` of the way."""
        context.state["inner"] += 1
        if context.state["inner"] % self.inner_steps == 0:
            self._go_back(context)
            self._hold(context)

    def finish(self, context: TrainingContext, data: TrainingData) -> None:
        """The way of a last, shorter round of steps is shortened as well; nothing is kept."""
        if context.state["inner"] % self.inner_steps:
            self._go_back(context)
        context.state.clear()

    @torch.no_grad()
    def _go_back(self, context: TrainingContext) -> None:
        for name, parameter in context.network.named_parameters():
            parameter.lerp_(context.state[f"outer.{name}"], 1 - self.outer_learning_rate)

    def _hold(self, context: TrainingContext) -> None:
        for name, parameter in context.network.named_parameters():
            context.state[f"outer.{name}"] = parameter.detach().clone()
