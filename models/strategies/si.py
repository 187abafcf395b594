"""Synaptic intelligence: a weight's importance is what its own path contributed to the fall of the loss.

Zenke, Poole and Ganguli (2017), "Continual Learning Through Synaptic Intelligence", arXiv:1703.04200.
"""

from typing import Literal

import torch
from pydantic import Field

from dataset.archive import Pool
from models.strategies.base import Course, Losses, Material, Step, Strategy
from models.strategies.ewc import spring_energy


class SI(Strategy):
    """Fine-tuning with a quadratic penalty whose strength for each weight was measured while training."""

    name: Literal["si"] = "si"
    strength: float = Field(default=0.1, ge=0)
    """Strength of the penalty (c in the paper)."""
    damping: float = Field(default=0.1, gt=0)
    """Keeps the importance of weights that hardly moved finite (xi in the paper)."""

    def draw(self, material: Material) -> tuple[tuple[Pool, ...], Pool | None]:
        """New images, nothing replayed."""
        return (material.new,), None

    def begin(self, course: Course, material: Material) -> None:
        """Every weight's path starts here, and here the springs hold it."""
        for name, parameter in course.network.named_parameters():
            course.state[f"path.{name}"] = torch.zeros_like(parameter)
            course.state[f"anchor.{name}"] = parameter.detach().clone()
            course.state[f"before.{name}"] = parameter.detach().clone()

    def loss(self, course: Course, step: Step) -> Losses:
        """The problem's loss, and the energy of the springs."""
        losses = {"task": course.loss(course.network(step.images), step)}
        if any(name.startswith("importance.") for name in course.state):
            losses["springs"] = self.strength * spring_energy(course)
        return losses

    @torch.no_grad()
    def after_step(self, course: Course) -> None:
        """Each weight's path goes on by minus the problem's gradient times the move."""
        for name, parameter in course.network.named_parameters():
            if parameter.grad is None:
                continue
            before = course.state[f"before.{name}"]
            gradient = parameter.grad.clone()
            importance = course.state.get(f"importance.{name}")
            if importance is not None:  # The springs' share of the gradient is no merit of the new images.
                rows = len(importance)
                gradient[:rows] -= 2 * self.strength * importance * (before - course.state[f"anchor.{name}"])[:rows]
            course.state[f"path.{name}"] -= gradient * (parameter - before)
            before.copy_(parameter)

    @torch.no_grad()
    def finish(self, course: Course, material: Material) -> None:
        """Path over squared distance is added to the importance."""
        for name, parameter in course.network.named_parameters():
            path, start = course.state.pop(f"path.{name}"), course.state.pop(f"anchor.{name}")
            course.state.pop(f"before.{name}")
            importance = path.clamp_min(0) / ((parameter - start) ** 2 + self.damping)
            old = course.state.get(f"importance.{name}")
            if old is not None:
                importance[: len(old)] += old
            course.state[f"importance.{name}"] = importance
