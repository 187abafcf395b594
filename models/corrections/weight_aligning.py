"""Weight aligning: the rows of new classes are shortened to the mean length of the old ones.

Zhao et al. (2020), "Maintaining Discrimination and Fairness in Class Incremental Learning", arXiv:1911.07053.
"""

from typing import Literal

import torch

from models.corrections.base import BiasCorrection, old_and_new
from models.strategies.base import TrainingContext, TrainingData


class WeightAligning(BiasCorrection):
    """Needs no images."""

    name: Literal["weight_aligning"] = "weight_aligning"

    @torch.no_grad()
    def apply(self, context: TrainingContext, data: TrainingData) -> None:
        """Scale the new rows of the head."""
        old, new = old_and_new(context)
        if old and new:
            lengths = context.network.head.weight.norm(dim=1)
            context.network.head.weight[old:] *= lengths[:old].mean() / lengths[old:].mean()
