"""Reptile over memory: a few steps forward, then only part of the way, so that gradients of old and new come to agree.

Nichol, Achiam and Schulman (2018), "On First-Order Meta-Learning Algorithms", arXiv:1803.02999; with replay in the
inner steps as in Riemer et al. (2019), "Learning to Learn without Forgetting", arXiv:1810.11910 (MER), whose batches
are single images and would cost many times as much.
"""

from typing import Literal

import torch
from pydantic import Field

from dataset.archive import Pool
from models.strategies.base import Course, Losses, Material, Step, Strategy


class Reptile(Strategy):
    """Replay whose every `inner` steps are followed by a step back."""

    name: Literal["reptile"] = "reptile"
    inner: int = Field(default=10, ge=1)
    """Steps between two outer ones."""
    rate: float = Field(default=0.5, gt=0, le=1)
    """Share of the way that is kept; 1 is plain replay."""

    def draw(self, material: Material) -> tuple[tuple[Pool, ...], Pool | None]:
        """New images, and what memory holds."""
        return (material.new,), material.memory

    def begin(self, course: Course, material: Material) -> None:
        """The first outer step starts here."""
        course.state["inner"] = torch.zeros((), dtype=torch.int64)
        self._hold(course)

    def loss(self, course: Course, step: Step) -> Losses:
        """The problem's loss over both kinds of images."""
        return {"task": course.loss(course.network(step.images), step)}

    def after_step(self, course: Course) -> None:
        """After the last inner step, go back to `rate` of the way."""
        course.state["inner"] += 1
        if course.state["inner"] % self.inner == 0:
            self._go_back(course)
            self._hold(course)

    def finish(self, course: Course, material: Material) -> None:
        """The way of a last, shorter round of steps is shortened as well; nothing is kept."""
        if course.state["inner"] % self.inner:
            self._go_back(course)
        course.state.clear()

    @torch.no_grad()
    def _go_back(self, course: Course) -> None:
        for name, parameter in course.network.named_parameters():
            parameter.lerp_(course.state[f"outer.{name}"], 1 - self.rate)

    def _hold(self, course: Course) -> None:
        for name, parameter in course.network.named_parameters():
            course.state[f"outer.{name}"] = parameter.detach().clone()
