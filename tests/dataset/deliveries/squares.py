"""Deliveries of coloured squares on noise, with masks that are labelled for one colour alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from records.batch import BACKGROUND
from tests.dataset.deliveries.masks import lay_out, png

SIDE, SQUARE = 16, 6
"""Of an image and of a square, in pixels."""
RED, GREEN = (220, 40, 40), (40, 200, 60)

Colour = tuple[int, int, int]


def scene(generator: np.random.Generator, colours: Sequence[Colour]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image [16, 16, 3] with a square of each colour, some of them hidden by the next, and who is where [16, 16]."""
    pixels = generator.integers(90, 130, (SIDE, SIDE, 3), dtype=np.uint8)
    shown = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for number, colour in enumerate(colours, start=1):
        top, left = generator.integers(0, SIDE - SQUARE, 2)
        place = np.s_[top : top + SQUARE, left : left + SQUARE]
        pixels[place], shown[place] = colour, number
    return pixels, shown


def delivered(folder: Path, colours: Sequence[Colour], labelled: int, name: str, seed: int, images: int) -> Path:
    """Images with squares of all `colours`, of which only the `labelled`-th one has a mask, as class `name`."""
    generator, files = np.random.default_rng(seed), {"classes.txt": f"{BACKGROUND}\n{name}\n"}
    for number in range(images):
        pixels, shown = scene(generator, colours)
        files |= {f"images/{number}.png": png(pixels), f"masks/{number}.png": png((shown == labelled).astype(np.uint8))}
    return lay_out(folder, files)
