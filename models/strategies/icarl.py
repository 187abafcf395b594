"""iCaRL: features learned by replay and distillation, answers given by the nearest class mean.

Rebuffi et al. (2017), "iCaRL: Incremental Classifier and Representation Learning", arXiv:1611.07725. The nearest mean
of normalised features is a linear head whose rows are the normalised class means (the image's own norm does not change
which is nearest), so a version answers through its head like any other. Two things differ from the paper: exemplars
are memory's uniform sample, not a herded one, since memory must not depend on the order of arrival; and the loss is the
problem's own with softened distillation, not a sigmoid a class.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from dataset.archive import ImageDataset
from models.networks.base import Network
from models.strategies.base import Losses, Minibatch, Strategy, TrainingContext, TrainingData


class ICaRL(Strategy):
    """Replay and distillation under a nearest-mean head. The head that was trained is kept for the next night."""

    name: Literal["icarl"] = "icarl"
    per_image: ClassVar[bool] = True
    without_memory: ClassVar[str] = "lwf"
    corrected: ClassVar[bool] = False
    distillation_weight: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the divergence from the parent."""
    temperature: float = Field(default=2.0, ge=1, le=100)
    """How much the answers are softened."""

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """New images, and what memory holds."""
        return (data.new,), data.memory

    def begin(self, context: TrainingContext, data: TrainingData) -> None:
        """Student and parent take up the head that was trained; the one that answered is put by."""
        context.state["answered"] = context.network.head.weight.detach().clone()
        if "head.weight" in context.state:
            for network in filter(None, (context.network, context.parent)):
                _set_rows(network, context.state["head.weight"], context.state["head.bias"])

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """The problem's loss, and the divergence from the parent on all images."""
        outputs, teacher_outputs = context.network(minibatch.images), context.teacher_outputs(minibatch.images)
        losses = {"task": context.loss(outputs, minibatch)}
        if teacher_outputs is not None:
            losses["distillation"] = self.distillation_weight * context.problem.divergence(
                outputs, teacher_outputs, self.temperature
            )
        return losses

    def finish(self, context: TrainingContext, data: TrainingData) -> None:
        """The head's rows become the class means of the exemplars' features; a class without any keeps its row."""
        head = context.network.head
        context.state["head.weight"], context.state["head.bias"] = (
            head.weight.detach().clone(),
            head.bias.detach().clone(),
        )
        total = torch.zeros_like(head.weight)
        for dataset in filter(None, (data.memory, data.new)):
            for images, targets in dataset.parts(context.device):
                with torch.inference_mode():
                    total.index_add_(0, targets, functional.normalize(context.network.features(images)))
        means = torch.where(total.any(dim=1, keepdim=True), total, context.state.pop("answered"))
        _set_rows(context.network, functional.normalize(means) * SHARPNESS, torch.zeros_like(head.bias))


SHARPNESS = 10.0
"""Length of a class mean, so that a nearer mean is answered with some confidence. It changes no answer."""


def _set_rows(network: Network, weight: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        network.head.weight[: len(weight)] = weight
        network.head.bias[: len(bias)] = bias
