"""What a strategy is to the rest: where its images come from, its loss in named parts, and what it keeps for later.

A strategy is a choice and never changes. What changes during a night lives in its `TrainingContext`: the network that
learns, the parent that it may compare with, and the strategy's own tensors, which are kept with the version and come
back on the next night. To add a strategy, write its file beside this one and list it in `models/catalogue.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dataset.archive import ImageDataset
from models.networks.base import Network
from models.problems.base import Problem
from records.record import Record

Losses = dict[str, Tensor]
"""Named parts, each a scalar; the step descends their sum and the log keeps each."""
State = dict[str, Tensor]
"""What a strategy keeps from night to night, by name: importances, statistics. Written as safetensors."""


@dataclass(frozen=True)
class Minibatch:
    """The images of one training step: new ones first, replayed ones behind them."""

    images: Tensor
    """uint8 [n, C, H, W]; float of the same range if they were augmented."""
    targets: Tensor
    """int64 [n] class indices; uint8 [n, H, W] of a problem that asks every pixel."""
    n_new: int
    """The first `n_new` rows are new."""
    log_prior: Tensor | None = None
    """[classes] log of each class's expected share of a step, if the loss shall correct for it."""
    weight: Tensor | None = None
    """[n] how much each image counts, 1 on average; None if all count alike."""
    partner_targets: Tensor | None = None
    """int64 [n] class of the image that each was blended with by mixup; None if images are not blended."""
    mixup_lambda: Tensor | None = None
    """[n] weight of the image itself in its blend, 0.5 to 1."""
    remembered: Tensor | None = None
    """[n - n_new, classes] what was answered when the replayed images were stored; NaN for classes that came later."""
    labelled_for: Tensor | None = None
    """bool [n, classes] which classes were looked for in each image; None if every class was."""


@dataclass(frozen=True)
class TrainingData:
    """The images that a night could learn from. Those of the past are only read if somebody asks for them."""

    new: ImageDataset
    recall: Callable[[], ImageDataset | None]
    open_archive: Callable[[], ImageDataset | None]

    @cached_property
    def memory(self) -> ImageDataset | None:
        """What is remembered of past experiences; None if that is nothing."""
        return self.recall()

    @cached_property
    def archive(self) -> ImageDataset | None:
        """Every training image of every past experience; None on the first night."""
        return self.open_archive()


@dataclass
class TrainingContext:
    """One night's learning."""

    network: Network
    """The student: it starts as a copy of the parent whose head has grown, or as a fresh network."""
    parent: Network | None
    """Frozen; None on the first night."""
    problem: Problem
    state: State = field(default_factory=dict)
    """What the parent's strategy kept; what is in it at the end is kept with the candidate."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    seed: int = 0

    def losses(
        self, outputs: Tensor, minibatch: Minibatch, log_prior: Tensor | None = None, teacher: Tensor | None = None
    ) -> Tensor:
        """[n] the problem's loss of each image of a step; `log_prior` [classes] takes the place of the step's.

        `teacher`: the parent's outputs, if the strategy has them anyway; a problem may want them, too.
        """
        prior = minibatch.log_prior if log_prior is None else log_prior
        targets, labelled_for = minibatch.targets, minibatch.labelled_for
        if self.parent is not None and labelled_for is not None and self.problem.completes:
            if teacher is None:
                with torch.no_grad():
                    teacher = self.parent(minibatch.images)
            targets, labelled_for = self.problem.complete(targets, labelled_for, teacher)
        losses = self.problem.losses(outputs, targets, prior, labelled_for)
        if minibatch.partner_targets is None or minibatch.mixup_lambda is None:
            return losses
        of_partners = self.problem.losses(outputs, minibatch.partner_targets, prior)
        return torch.lerp(of_partners, losses, minibatch.mixup_lambda)

    def loss(self, outputs: Tensor, minibatch: Minibatch, teacher: Tensor | None = None) -> Tensor:
        """The problem's loss of a step's outputs, a scalar; `teacher` as in `losses`."""
        losses = self.losses(outputs, minibatch, teacher=teacher)
        return losses.mean() if minibatch.weight is None else (losses * minibatch.weight).sum() / minibatch.weight.sum()

    def teacher_outputs(self, images: Tensor) -> Tensor | None:
        """The parent's outputs, without gradients; None on the first night."""
        if self.parent is None:
            return None
        with torch.no_grad():
            return self.parent(images)  # type: ignore[no-any-return]


class Strategy(Record):
    """A way to learn new images without losing the old. Fields are hyper-parameters; nothing learned lives here."""

    name: str
    """Tells it apart; what it keeps from night to night is kept under it."""
    starts_over: ClassVar[bool] = False
    """True if the night begins with a fresh network instead of the parent's."""
    descends: ClassVar[bool] = True
    """False if it needs no gradient steps: everything is done in `finish`."""
    corrected: ClassVar[bool] = True
    """False if a correction of the head would undo what it does, or has nothing to go back to."""
    blends: ClassVar[bool] = True
    """False if its loss makes no sense of an image that is blended from two."""
    per_image: ClassVar[bool] = False
    """True if it needs one answer an image, and so does not go with a problem that asks every pixel."""
    without_memory: ClassVar[str] = ""
    """Of a strategy that replays: which one comes nearest where nothing is remembered."""
    remembers_outputs: ClassVar[bool] = False
    """True if the network's outputs are to be stored with the images that memory keeps."""

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """Datasets that an epoch goes through once, and the one that each step adds replayed images from, if any."""
        raise NotImplementedError

    def begin(self, context: TrainingContext, data: TrainingData) -> None:
        """Before the first step."""

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """Named parts of the loss at one step."""
        raise NotImplementedError

    def after_step(self, context: TrainingContext) -> None:
        """After each descent; the gradients of the step are still there."""

    def finish(self, context: TrainingContext, data: TrainingData) -> None:
        """After the last step."""

    def importance(self, context: TrainingContext, dataset: ImageDataset) -> NDArray[np.float64] | None:
        """[n] positive weights by which memory prefers these images; None if it shall keep a uniform sample."""
        return None


def frozen(network: Network) -> Network:
    """The same network, in evaluation mode, without gradients."""
    return network.eval().requires_grad_(False)
