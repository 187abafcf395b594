"""Images of every kind of problem that can be worked out by hand, for the contract tests."""

import torch
from torch import Tensor
from torch.nn import functional

from models.problems.base import Problem

IMAGES, CLASSES, SIDE = 24, 4, 6


def outputs_at_random(problem: Problem, columns: int = CLASSES, seed: int = 0) -> Tensor:
    """[n, columns] or [n, columns, H, W]."""
    places = (SIDE, SIDE) if problem.dense else ()
    return torch.randn(IMAGES, columns, *places, generator=torch.Generator().manual_seed(seed))


def targets_of(problem: Problem) -> Tensor:
    """Each class as often as any other; of masks, every pixel of an image has the same class but one, background."""
    classes = torch.arange(IMAGES) % CLASSES
    if not problem.dense:
        return classes
    masks = classes[:, None, None].expand(IMAGES, SIDE, SIDE).clone()
    masks[:, 0, 0] = 0
    return masks.to(torch.uint8)


def sure_of(problem: Problem, targets: Tensor) -> Tensor:
    """The outputs of a network that is sure that `targets` are the answers."""
    one_hot = 20.0 * functional.one_hot(targets.long(), CLASSES)
    return one_hot.movedim(3, 1).contiguous() if problem.dense else one_hot
