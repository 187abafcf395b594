"""Datasets of plain grey images, whose class can be seen, and networks whose answers can be worked out by hand."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from dataset.annotations import Annotations
from dataset.archive import ImageDataset
from models.networks.base import Network
from models.networks.mlp import MLP
from records.snapshot import InputSpec


def pool_of(
    pixels: NDArray[np.uint8], targets: list[int], names: list[str] | None = None, batch: str = "b"
) -> ImageDataset:
    """One batch of images [n, C, H, W], all of them in the pool; without `names` they are numbered."""
    return ImageDataset(
        batch=np.zeros(len(targets), dtype=np.int64),
        row=np.arange(len(targets)),
        image=np.array(names or [f"{batch}-{n}" for n in range(len(targets))], dtype=str),
        target=torch.tensor(targets, dtype=torch.int64),
        batches=(batch,),
        pixels=(pixels,),
    )


def coloured(count: int, target: int) -> ImageDataset:
    """`count` images of one class, all of the grey that stands for it."""
    pixels = np.full((count, 1, 4, 4), 50 * target, dtype=np.uint8)
    return pool_of(pixels, [target] * count, [f"{target}-{n}" for n in range(count)])


def shaded(targets: list[int], first: int = 0) -> ImageDataset:
    """Images that can be told apart: the n-th has the grey `first` + n."""
    greys = range(first, first + len(targets))
    pixels = np.array(greys, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(4, 2).repeat(4, 3)
    return pool_of(pixels, targets, [f"i{grey}" for grey in greys])


def in_a_row(pixels: list[list[int]], targets: list[int], batch: str = "b") -> ImageDataset:
    """Images of one line of pixels."""
    return pool_of(np.array(pixels, dtype=np.uint8)[:, None, None, :], targets, batch=batch)


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


def masked(
    masks: NDArray[np.uint8], classes: int, looked_for: list[list[int]] | None = None, batch: str = "m"
) -> ImageDataset:
    """Images [n, 1, H, W] whose grey tells the class of each pixel of `masks` [n, H, W]: class indices."""
    n = len(masks)
    shows = np.array([[c in mask for c in range(classes)] for mask in masks])
    shows[:, 0] = ~shows[:, 1:].any(axis=1)
    looked = np.array([[c == 0 or c in of for c in range(classes)] for of in looked_for or [list(range(classes))] * n])
    same = np.arange(256, dtype=np.uint8)[None]
    plain = pool_of((masks[:, None] * np.uint8(40)), shows.argmax(axis=1).tolist(), batch=batch)
    return replace(plain, annotations=Annotations(shows, looked, (masks,), same))
