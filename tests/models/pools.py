"""Pools of plain grey images, whose class can be seen, and networks whose answers can be worked out by hand."""

import numpy as np
import torch

from models.archive import Pool
from models.networks.base import Network
from models.networks.mlp import MLP
from records.snapshot import InputSpec


def coloured(count: int, target: int) -> Pool:
    """`count` images of one class, all of the grey that stands for it."""
    return Pool(
        batch=np.zeros(count, dtype=np.int64),
        row=np.arange(count),
        image=np.array([f"{target}-{n}" for n in range(count)]),
        target=torch.full((count,), target),
        batches=("b",),
        pixels=(np.full((count, 1, 4, 4), 50 * target, dtype=np.uint8),),
    )


def in_a_row(pixels: list[list[int]], targets: list[int], batch: str = "b") -> Pool:
    """Images of one line of pixels."""
    drawn = np.array(pixels, dtype=np.uint8)
    return Pool(
        batch=np.zeros(len(targets), dtype=np.int64),
        row=np.arange(len(targets)),
        image=np.array([f"{batch}-{n}" for n in range(len(targets))]),
        target=torch.tensor(targets),
        batches=(batch,),
        pixels=(drawn[:, None, None, :],),
    )


def seen(pixels: list[list[int]]) -> torch.Tensor:
    """The images of `in_a_row`, as a step holds them."""
    return torch.tensor(pixels, dtype=torch.uint8)[:, None, None, :]


def linear(weight: list[list[float]], bias: list[float] | None = None) -> Network:
    """A network that is only a head: features are a line of pixels, 0..255, logits are `weight` @ pixels + `bias`."""
    spec = InputSpec(channels=1, height=1, width=len(weight[0]), mean=(0.0,), std=(1 / 255,))
    network = Network(MLP(hidden=()), spec, len(weight))
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor(weight))
        network.head.bias.copy_(torch.tensor(bias or [0.0] * len(weight)))
    return network
