"""Handwritten digits on textured canvases, each with its exact mask.

All is drawn in whole numbers, from the raw numbers of a generator whose stream NumPy never changes (NEP 19), so the
bytes are the same on every machine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dataset.streams.pictures import Pictures

SIDE = 64
"""Of a canvas, in pixels."""
SIZES = (20, 29)
"""Least side of a digit, in pixels, and one more than the largest; height and width are drawn one by one."""
DIGITS = (2, 5)
"""Fewest digits on a canvas, and one more than the most; one for which no room is found is left out."""
FULL = 256
"""Opacity of ink that hides the canvas."""
FAINT, BOLD = 5, 9
"""Grey levels of scikit-learn's digits, 0..16: from the first on there is ink, from the second it is opaque."""

Whole = NDArray[np.int64]


class Draws:
    """Random whole numbers that depend on a seed alone."""

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def below(self, bound: int, shape: Sequence[int]) -> Whole:
        """Numbers 0..bound - 1, of the given shape; `bound` is at most 2^31."""
        raw = self._bits.random_raw(math.prod(shape)).reshape(shape)
        return (((raw >> np.uint64(33)) * np.uint64(bound)) >> np.uint64(31)).astype(np.int64)

    def one(self, low: int, high: int) -> int:
        """A number, low..high - 1."""
        return low + int(self.below(high - low, (1,))[0])


@dataclass(frozen=True)
class Canvases:
    """Images and what they show."""

    pixels: NDArray[np.uint8]
    """[n, 64, 64] grey levels"""
    digits: NDArray[np.uint8]
    """[n, 64, 64] 0 for the background, 1 + d for the digit d"""

    def __len__(self) -> int:
        return len(self.pixels)

    def masks(self, labelled: Sequence[int]) -> NDArray[np.uint8]:
        """[n, 64, 64] labels for some digits alone: 1, 2, ... in their order, 0 for everything else."""
        value = np.zeros(11, np.uint8)
        value[[1 + digit for digit in labelled]] = np.arange(1, 1 + len(labelled))
        return value[self.digits]


def draw(count: int, glyphs: Pictures, labelled: Sequence[int], others: Sequence[int], seed: int) -> Canvases:
    """Canvases with two to four digits of `glyphs` [n, 8, 8]: the first of `labelled`, the rest of these and `others`.

    Half of the rest is of `others`, if there are any: digits that whoever labels these canvases does not look for.
    """
    rows = {digit: np.flatnonzero(glyphs.labels == digit) for digit in (*labelled, *others)}
    pixels = np.empty((count, SIDE, SIDE), np.uint8)
    shown = np.zeros((count, SIDE, SIDE), np.uint8)
    for number in range(count):
        draws = Draws(seed, number)
        canvas = _texture(draws)
        for place in range(draws.one(*DIGITS)):
            choice = others if others and place % 2 else labelled
            digit = choice[draws.one(0, len(choice))]
            glyph = glyphs.pixels[rows[digit][draws.one(0, len(rows[digit]))]]
            _put(canvas, shown[number], glyph, 1 + digit, draws)
        pixels[number] = np.clip(canvas + draws.below(9, canvas.shape) - 4, 0, 255)
    return Canvases(pixels, shown)


def _put(canvas: Whole, shown: NDArray[np.uint8], glyph: NDArray[np.uint8], value: int, draws: Draws) -> None:
    """Draw a digit where there is room for it; after some attempts it is left out."""
    ink = enlarged(glyph, draws.one(*SIZES), draws.one(*SIZES))
    height, width = ink.shape
    for _ in range(12):
        top, left = draws.one(0, SIDE - height + 1), draws.one(0, SIDE - width + 1)
        place = np.s_[top : top + height, left : left + width]
        if not (shown[place].astype(bool) & (ink > 0)).any():
            level = _level(canvas[place], ink, draws)
            canvas[place] += (level - canvas[place]) * ink // FULL
            shown[place][ink * 2 >= FULL] = value
            return


def _level(canvas: Whole, ink: Whole, draws: Draws) -> int:
    """Grey level of a digit: so much lighter than what lies around it that it can be read."""
    return min(int((canvas * ink).sum() // ink.sum()) + draws.one(60, 110), 250)


def enlarged(glyph: NDArray[np.uint8], height: int, width: int) -> Whole:
    """Opacity 0..256 [height, width] of a digit [8, 8] of grey levels 0..255, by Catmull and Rom's cubic (1974)."""
    down, across = _cubic(len(glyph), height), _cubic(glyph.shape[1], width)
    level = down @ glyph.astype(np.int64) @ across.T * 16 // 255
    unit = 2 * (2 * height) ** 3 * 2 * (2 * width) ** 3
    opacity: Whole = np.clip((level - FAINT * unit) * FULL // ((BOLD - FAINT) * unit), 0, FULL)
    return opacity


@cache
def _cubic(source: int, target: int) -> Whole:
    """[target, source] weights of the samples for each place; those of a place add up to 2 * (2 * target)^3, except at
    the edges, beyond which all is 0."""
    unit = 2 * target
    weights = np.zeros((target, source + 4), np.int64)
    for place in range(target):
        first, t = divmod((2 * place + 1) * source - target, unit)
        u = unit - t
        cubic = (
            -t * u * u,
            2 * unit**3 - 5 * t * t * unit + 3 * t**3,
            2 * unit**3 - 5 * u * u * unit + 3 * u**3,
            -u * t * t,
        )
        weights[place, first + 1 : first + 5] = cubic
    return weights[:, 2:-2]


def _texture(draws: Draws) -> Whole:
    """A canvas [64, 64]: a level, a gradient, noise of several scales and, on half of them, stripes."""
    down, across = np.mgrid[:SIDE, :SIDE]
    canvas = np.full((SIDE, SIDE), draws.one(50, 151), np.int64)
    canvas += (draws.one(-40, 41) * (2 * down - SIDE) + draws.one(-40, 41) * (2 * across - SIDE)) // (2 * SIDE)
    for cells in (2, 4, 8, 16, 32):
        canvas += _noise(draws, cells) * draws.one(0, 26) // FULL
    if draws.one(0, 2):
        canvas += _stripes(draws, down, across) * draws.one(8, 26) // FULL
    return np.clip(canvas, 0, 255)


def _noise(draws: Draws, cells: int) -> Whole:
    """-256..256: random values at the corners of cells, linear between them (value noise)."""
    corners = draws.below(2 * FULL + 1, (cells + 1, cells + 1)) - FULL
    size = SIDE // cells
    cell, step = np.divmod(np.arange(SIDE), size)
    rows = corners[cell] * (size - step)[:, None] + corners[cell + 1] * step[:, None]
    both: Whole = (rows[:, cell] * (size - step) + rows[:, cell + 1] * step) // size**2
    return both


def _stripes(draws: Draws, down: Whole, across: Whole) -> Whole:
    """-256..256: a triangle wave in a random direction, or its sign."""
    period = draws.one(40, 120)
    phase = (down * draws.one(-9, 10) + across * draws.one(1, 10) + draws.one(0, period)) % period
    wave: Whole = np.abs(2 * phase - period) * 2 * FULL // period - FULL
    bars: Whole = np.sign(wave) * FULL
    return bars if draws.one(0, 2) else wave
