"""Dark experience replay: a remembered image keeps the answer that it was given when it was stored.

Buzzega et al. (2020), "Dark Experience for General Continual Learning: a Strong, Simple Baseline", arXiv:2004.07211
(DER++: stored logits and labels). The paper stores logits while training; here they are those of the version that
first kept the image, and one draw from memory serves both parts of the loss.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from dataset.archive import Pool
from models.strategies.base import Course, Losses, Material, Step, Strategy


class DarkReplay(Strategy):
    """Replay whose remembered images are held to their stored outputs. Needs no teacher, so no second forward pass."""

    name: Literal["dark_replay"] = "dark_replay"
    blends: ClassVar[bool] = False
    remembers_outputs: ClassVar[bool] = True
    stored: float = Field(default=0.5, ge=0, le=100)
    """Weight of the distance to the stored outputs."""

    def draw(self, material: Material) -> tuple[tuple[Pool, ...], Pool | None]:
        """New images, and what memory holds."""
        return (material.new,), material.memory

    def loss(self, course: Course, step: Step) -> Losses:
        """The problem's loss, and the distance to what was answered then."""
        outputs = course.network(step.images)
        losses = {"task": course.loss(outputs, step)}
        if step.remembered is not None:
            now, then = outputs[step.fresh :], step.remembered
            # Of a class that came after the image was stored nothing is known: there the image pulls nowhere.
            then = torch.where(then.isnan(), now[:, : then.shape[1]].detach(), then)
            losses["dark"] = self.stored * course.problem.distance(now, then)
        return losses
