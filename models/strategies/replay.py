"""Experience replay: each step mixes new images with remembered ones.

Chaudhry et al. (2019), "On Tiny Episodic Memories in Continual Learning", arXiv:1902.10486.
"""

from typing import Literal

from models.archive import Pool
from models.networks.base import Network
from models.problems.base import Problem
from models.strategies.base import Losses, Material, Step, Strategy


class Replay(Strategy):
    """Goes on from the parent with new and remembered images in every step."""

    name: Literal["replay"] = "replay"
    balanced: bool = True
    """Take the step's class frequencies out of what is learned (balanced softmax)."""

    def draw(self, material: Material) -> tuple[tuple[Pool, ...], Pool | None]:
        """New images, and what memory holds."""
        return (material.new,), material.memory

    def loss(self, network: Network, teacher: Network | None, step: Step, problem: Problem) -> Losses:
        """The problem's loss over both kinds of images."""
        prior = step.log_prior if self.balanced else None
        return {"task": problem.loss(network(step.images), step.targets, prior)}
