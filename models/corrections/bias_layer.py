"""Bias correction: a factor and an offset on the logits of new classes, fitted on as many images of every class.

Wu et al. (2019), "Large Scale Incremental Learning", arXiv:1905.13260 (BiC). The paper holds images back for the fit;
here they are remembered and new training images, so that none is lost to training.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from dataset.archive import ImageDataset
from models.corrections.base import BiasCorrection, old_and_new
from models.strategies.base import TrainingContext, TrainingData


class BiasLayer(BiasCorrection):
    """Two numbers, folded into the head."""

    name: Literal["bias_layer"] = "bias_layer"
    needs_memory: ClassVar[bool] = True
    steps: int = Field(default=100, ge=1)
    """Of the fit, all images at once."""

    def apply(self, context: TrainingContext, data: TrainingData) -> None:
        """Fit, and scale and shift the new rows of the head."""
        old, new = old_and_new(context)
        if not (old and new) or data.memory is None:
            return
        outputs, targets = balanced_outputs(context, data.memory, data.new)
        factor, offset = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
        # A factor is near 1, an offset is of the size of a logit.
        descent = torch.optim.Adam([{"params": [factor], "lr": 0.02}, {"params": [offset], "lr": 0.1}])
        for _ in range(self.steps):
            corrected = torch.cat([outputs[:, :old], outputs[:, old:] * factor + offset], dim=1)
            descent.zero_grad()
            torch.autograd.backward(context.problem.loss(corrected, targets))
            descent.step()
        with torch.no_grad():
            head = context.network.head
            head.weight[old:] *= factor.item()
            head.bias[old:] = head.bias[old:] * factor.item() + offset.item()


def balanced_outputs(
    context: TrainingContext, memory: ImageDataset, new: ImageDataset
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and targets, on the CPU, of as many images of every class as the rarest has."""
    outputs, targets = [], []
    with torch.inference_mode():
        for dataset in (memory, new):
            for images, wanted in dataset.parts(context.device):
                outputs.append(context.network(images).float().cpu())
                targets.append(wanted.cpu())
    logits, classes = torch.cat(outputs), torch.cat(targets)
    counts = torch.bincount(classes)
    least = int(counts[counts > 0].min())
    chosen = torch.cat([torch.nonzero(classes == c).flatten()[:least] for c in range(len(counts))])
    return logits[chosen].clone(), classes[chosen]
