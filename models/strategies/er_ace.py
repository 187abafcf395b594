"""Replay with asymmetric cross-entropy: new images may not push the known classes down.

Caccia et al. (2022), "New Insights on Reducing Abrupt Representation Change in Online Continual Learning",
arXiv:2104.05025 (ER-ACE). New images compete among the classes of their own step, remembered ones among all. In the
paper, memory soon holds images of the present night too, which teaches new classes to compete with old ones. Here it
takes them in at the end of a night; so that share of a step's new images that such a memory would hold joins the
remembered ones.
"""

from typing import ClassVar, Literal

from torch import Tensor

from dataset.archive import ImageDataset
from models.strategies.base import Losses, Minibatch, Strategy, TrainingContext, TrainingData

NEVER = -1e9
"""Log of a class's share in a step where it cannot be the answer."""


class ErAce(Strategy):
    """Replay whose new images only compete with each other's classes."""

    name: Literal["er_ace"] = "er_ace"
    per_image: ClassVar[bool] = True
    without_memory: ClassVar[str] = "finetune"
    blends: ClassVar[bool] = False

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """New images, and what memory holds."""
        return (data.new,), data.memory

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """The problem's loss of either kind of images, each with the classes that compete for it."""
        outputs = context.network(minibatch.images)
        present = _present(minibatch, outputs)
        apart = minibatch.n_new - round(minibatch.n_new * float((present == 0).float().mean()))
        losses = {}
        for part, rows, prior in (("task", slice(apart), present), ("replay", slice(apart, None), None)):
            if len(outputs[rows]):
                weight = None if minibatch.weight is None else minibatch.weight[rows]
                losses[part] = context.problem.loss(outputs[rows], minibatch.targets[rows], prior, weight)
        return losses


def _present(minibatch: Minibatch, outputs: Tensor) -> Tensor:
    """[classes] 0 for classes among the step's new images, `NEVER` for all others."""
    prior = outputs.new_full((outputs.shape[1],), NEVER)
    prior[minibatch.targets[: minibatch.n_new]] = 0
    return prior
