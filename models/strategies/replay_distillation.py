"""Replay and distillation: remembered images keep the old answers alive, the parent says what they were.

The parent, frozen, answers the same images as the student; on the classes it knows, the student's logits are drawn
towards the parent's. Distillation on new images follows Li and Hoiem (2016), "Learning without Forgetting"; logits
rather than softened probabilities follow Buzzega et al. (2020), "Dark Experience for General Continual Learning"; the
prior correction follows Ren et al. (2020), "Balanced Meta-Softmax".
"""

from typing import Literal

import torch
from pydantic import Field

from models.archive import Pool
from models.networks.base import Network
from models.problems.base import Problem
from models.strategies.base import Losses, Material, Step, Strategy


class ReplayDistillation(Strategy):
    """Replay whose steps are also held to the parent's outputs. The default."""

    name: Literal["replay_distillation"] = "replay_distillation"
    balanced: bool = True
    """Take the step's class frequencies out of what is learned (balanced softmax)."""
    remembered: float = Field(default=0.5, ge=0, le=100)
    """Weight of the distance to the parent on remembered images."""
    fresh: float = Field(default=0.1, ge=0, le=100)
    """Weight of the distance to the parent on new images."""

    def draw(self, material: Material) -> tuple[tuple[Pool, ...], Pool | None]:
        """New images, and what memory holds."""
        return (material.new,), material.memory

    def teacher(self, parent: Network | None) -> Network | None:
        """The parent, frozen."""
        return None if parent is None else frozen(parent)

    def loss(self, network: Network, teacher: Network | None, step: Step, problem: Problem) -> Losses:
        """The problem's loss, and the distance to the parent on each kind of images."""
        outputs = network(step.images)
        losses = {"task": problem.loss(outputs, step.targets, step.log_prior if self.balanced else None)}
        if teacher is not None:
            with torch.no_grad():
                taught = teacher(step.images)
            if self.fresh:
                losses["distillation_fresh"] = self.fresh * problem.distance(
                    outputs[: step.fresh], taught[: step.fresh]
                )
            if step.fresh < len(outputs) and self.remembered:
                remembered = problem.distance(outputs[step.fresh :], taught[step.fresh :])
                losses["distillation_remembered"] = self.remembered * remembered
        return losses


def frozen(module: Network) -> Network:
    """The same module, in evaluation mode, without gradients."""
    return module.eval().requires_grad_(False)
