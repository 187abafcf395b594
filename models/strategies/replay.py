"""Experience replay: each step mixes new images with remembered ones.

Chaudhry et al. (2019), "On Tiny Episodic Memories in Continual Learning", arXiv:1902.10486.
"""

from typing import Literal

from dataset.archive import Pool
from models.strategies.base import Course, Losses, Material, Step, Strategy


class Replay(Strategy):
    """Goes on from the parent with new and remembered images in every step."""

    name: Literal["replay"] = "replay"

    def draw(self, material: Material) -> tuple[tuple[Pool, ...], Pool | None]:
        """New images, and what memory holds."""
        return (material.new,), material.memory

    def loss(self, course: Course, step: Step) -> Losses:
        """The problem's loss over both kinds of images."""
        return {"task": course.loss(course.network(step.images), step)}
