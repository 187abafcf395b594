"""Interpolation with the parent: the new weights go only a part of the way from the old ones.

Wortsman et al. (2022), "Robust Fine-Tuning of Zero-Shot Models", arXiv:2109.01903 (WiSE-FT); over many nights it is an
average of their weights, newer ones weighing more.
"""

from typing import Literal

import torch
from pydantic import Field

from models.corrections.base import BiasCorrection
from models.strategies.base import TrainingContext, TrainingData


class Interpolation(BiasCorrection):
    """Needs no images. Classes that the parent did not know keep their new rows; statistics go with the weights."""

    name: Literal["interpolation"] = "interpolation"
    parent_weight: float = Field(default=0.3, gt=0, lt=1)
    """Share of the parent's weights."""

    @torch.no_grad()
    def apply(self, context: TrainingContext, data: TrainingData) -> None:
        """Move every weight towards the parent's."""
        if context.parent is None:
            return
        for mine, its in zip(context.network.floats(), context.parent.floats(), strict=True):
            rows = mine[: len(its)] if its.dim() else mine
            rows.lerp_(its, self.parent_weight)
