"""What a strategy is to the rest: where its images come from, what its teacher is, and its loss in named parts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from torch import Tensor

from models.archive import Pool
from models.networks.base import Network
from models.problems.base import Problem
from records.record import Record

Losses = dict[str, Tensor]
"""Named parts, each a scalar; the step descends their sum and the log keeps each."""


@dataclass(frozen=True)
class Step:
    """What a strategy sees at one step: new images first, replayed ones behind them."""

    images: Tensor
    """uint8 [n, C, H, W]"""
    targets: Tensor
    """int64 [n]"""
    fresh: int
    """The first `fresh` rows are new."""
    log_prior: Tensor
    """[classes] log of each class's expected share of a step."""


@dataclass(frozen=True)
class Material:
    """The images that a night could learn from. The archive is only opened if a strategy asks for it."""

    new: Pool
    memory: Pool | None
    open_archive: Callable[[], Pool | None]

    @cached_property
    def archive(self) -> Pool | None:
        """Every training image of every past experience; None on the first night."""
        return self.open_archive()


class Strategy(Record):
    """A way to learn new images without losing the old. Fields are hyper-parameters; nothing learned lives here."""

    starts_over: ClassVar[bool] = False
    """True if the night begins with a fresh network instead of the parent's."""

    def draw(self, material: Material) -> tuple[tuple[Pool, ...], Pool | None]:
        """Pools that an epoch goes through once, and the pool that each step adds replayed images from, if any."""
        raise NotImplementedError

    def teacher(self, parent: Network | None) -> Network | None:
        """The frozen network that `loss` may compare with. `parent` is None on the first night."""
        return None

    def loss(self, network: Network, teacher: Network | None, step: Step, problem: Problem) -> Losses:
        """Named parts of the loss at one step."""
        raise NotImplementedError
