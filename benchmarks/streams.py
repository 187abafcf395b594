"""Streams to learn from, night by night, of real images. Each is made from its data set and a seed alone."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from dataset.streams import digits as digit_stream
from dataset.streams import fashion_mnist as fashion_stream
from dataset.streams.pictures import Pictures

Images = NDArray[np.uint8]
FASHION_MNIST = Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
"""Where the four files of Fashion-MNIST lie (Xiao et al., 2017, arXiv:1708.07747): Debian's dataset-fashion-mnist."""


@dataclass(frozen=True)
class Night:
    """What arrives together."""

    name: str
    images: Images
    """[n, C, H, W]"""
    targets: NDArray[np.int64]
    """[n] class index of the stream"""
    test: NDArray[np.bool_]
    """[n] held out for evaluation"""


@dataclass(frozen=True)
class Stream:
    """Nights in order."""

    name: str
    classes: tuple[str, ...]
    """In an order that sorts, so that a class has the same index everywhere."""
    nights: tuple[Night, ...]

    @property
    def images(self) -> int:
        """Training images over all nights."""
        return sum(int((~night.test).sum()) for night in self.nights)


def fashion_classes(seed: int) -> Stream:
    """Class-incremental: Fashion-MNIST, all 70,000 images, five nights of two classes; official split."""
    del seed  # The official split and the order of labels leave nothing to draw.
    train, test = fashion_mnist("train"), fashion_mnist("test")
    nights = []
    for n in range(5):
        parts = [(images[targets // 2 == n], targets[targets // 2 == n]) for images, targets in (train, test)]
        nights.append(_night(n, *parts))
    return Stream("fashion-classes", tuple(map(str, range(10))), tuple(nights))


def fashion_rotated(seed: int) -> Stream:
    """Domain-incremental: five nights with all classes, 1,000 images a class and 2,000 test images, turned 0 to 72°."""
    generator = np.random.default_rng(seed)
    (images, targets), (test_images, test_targets) = fashion_mnist("train"), fashion_mnist("test")
    order = generator.permutation(len(targets))
    by_class = [order[targets[order] == c] for c in range(10)]
    test_order = generator.permutation(len(test_targets))
    nights = []
    for n in range(5):
        rows = np.concatenate([rows_of_class[n * 1000 : (n + 1) * 1000] for rows_of_class in by_class])
        test_rows = test_order[n * 2000 : (n + 1) * 2000]
        turned = turn(np.concatenate([images[rows], test_images[test_rows]]), 18.0 * n)
        parts = (turned[: len(rows)], targets[rows]), (turned[len(rows) :], test_targets[test_rows])
        nights.append(_night(n, *parts))
    return Stream("fashion-rotated", tuple(map(str, range(10))), tuple(nights))


def fashion_mixed(seed: int) -> Stream:
    """Twenty nights of 500 to 4,000 images: first six classes; then more of old classes, new classes, a new domain.

    A class more every third night until all ten are known; every fifth night's images are inverted, as if another
    camera had taken them. A fifth of each night's images is held out.
    """
    generator = np.random.default_rng(seed)
    images, targets = fashion_mnist("train")
    waiting = {c: generator.permutation(np.flatnonzero(targets == c)).tolist() for c in range(10)}
    nights = []
    for n in range(20):
        known = min(6 + n // 3, 10)
        size = int(generator.integers(500, 4001)) if n else 4000
        share = generator.dirichlet(np.full(known, 3.0))
        newcomer = n % 3 == 0 and 0 < n <= 12
        if newcomer:  # A class that comes is what most of its night is about.
            share = 0.4 * share + 0.6 * (np.arange(known) == known - 1)
        counts = np.maximum((share * size).astype(int), 20)
        drawn = [waiting[c].pop() for c, count in enumerate(counts) for _ in range(min(count, len(waiting[c])))]
        rows = generator.permutation(np.array(drawn))
        shown = 255 - images[rows] if n % 5 == 4 else images[rows]
        cut = len(rows) // 5
        nights.append(_night(n, (shown[cut:], targets[rows[cut:]]), (shown[:cut], targets[rows[:cut]])))
    return Stream("fashion-mixed", tuple(map(str, range(10))), tuple(nights))


def digits(seed: int) -> Stream:
    """Class-incremental: scikit-learn's 1,797 digits of 8 x 8 pixels, five nights of two; a third held out."""
    pictures = digit_stream.digits()
    images, targets = pictures.pixels[:, None], pictures.labels
    held_out = np.random.default_rng(seed).permutation(len(targets)) < len(targets) // 3
    nights = []
    for n in range(5):
        of_experience = targets // 2 == n
        parts = [(images[of_experience & split], targets[of_experience & split]) for split in (~held_out, held_out)]
        nights.append(_night(n, *parts))
    return Stream("digits", tuple(map(str, range(10))), tuple(nights))


STREAMS: dict[str, Callable[[int], Stream]] = {
    "fashion-classes": fashion_classes,
    "fashion-rotated": fashion_rotated,
    "fashion-mixed": fashion_mixed,
    "digits": digits,
}


def fashion_mnist(part: Literal["train", "test"]) -> tuple[Images, NDArray[np.int64]]:
    """Images [n, 1, 28, 28] and labels of the official 60,000 for training, or of the 10,000 for testing."""
    pictures = _fashion_mnist()
    rows = slice(60_000) if part == "train" else slice(60_000, None)
    return pictures.pixels[rows, None], pictures.labels[rows]


@cache
def _fashion_mnist() -> Pictures:
    return fashion_stream.fashion_mnist(FASHION_MNIST)


def turn(images: Images, degrees: float) -> Images:
    """Images [n, C, H, W] turned counter-clockwise about their centre, bilinear; what enters is black."""
    if degrees == 0:
        return images
    angle = torch.tensor(np.deg2rad(degrees)).float()
    turned = torch.tensor([[angle.cos(), -angle.sin(), 0.0], [angle.sin(), angle.cos(), 0.0]])
    grid = functional.affine_grid(turned.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    sampled = functional.grid_sample(torch.from_numpy(images.copy()).float(), grid, align_corners=False)
    return np.asarray(sampled.round().clamp(0, 255).byte().numpy())


def _night(number: int, train: tuple[Images, NDArray[np.int64]], test: tuple[Images, NDArray[np.int64]]) -> Night:
    return Night(
        name=f"night-{number + 1:02}",
        images=np.ascontiguousarray(np.concatenate([train[0], test[0]])),
        targets=np.concatenate([train[1], test[1]]),
        test=np.arange(len(train[1]) + len(test[1])) >= len(train[1]),
    )
