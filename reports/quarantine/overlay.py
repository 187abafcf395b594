"""A mask drawn over its image: half transparent colours with a firm outline, stripes of grey where nobody knows."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from records.batch import IGNORED

PALETTE = (
    "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#f0e442", "#332288", "#882255", "#999933",
)  # fmt: skip
"""Told apart with every kind of colour vision (Okabe and Ito, 2008, then Tol, 2021, "muted"); of more classes than
these, some share one."""
UNKNOWN = "#8c8c8c"
"""Of what is ignored."""
COVER = 0.5
"""How much of an image its mask hides, 0..1; what is left of it there is grey, so that a colour is that of a class."""
OUTLINE = 2
"""Pixels across."""
STRIPE = 4
"""Pixels of a stripe."""


def overlaid(picture: Image.Image, values: NDArray[np.uint8], colours: tuple[str, ...]) -> Image.Image:
    """The picture under its mask, in RGB. `values` [height, width], of the picture's size; value i has `colours[i]`,
    0 none, and 255 is ignored."""
    pixels = np.array(picture.convert("RGB"), dtype=np.float64)
    pixels[values > 0] = np.asarray(picture.convert("L"))[values > 0, None]
    shades = np.zeros((IGNORED + 1, 3))
    for value, colour in enumerate(colours):
        shades[value] = _levels(colour)
    shades[IGNORED] = _levels(UNKNOWN)
    cover = np.where(values > 0, COVER, 0.0)
    down, across = np.indices(values.shape)
    cover[values == IGNORED] = np.where((down + across) // STRIPE % 2, 0.9, COVER)[values == IGNORED]
    cover[_outline(values)] = 1.0
    mixed = pixels * (1 - cover[..., None]) + shades[values] * cover[..., None]
    return Image.fromarray(mixed.round().astype(np.uint8))


def _outline(values: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[height, width] pixels of a class close to which there is another value."""
    height, width = values.shape
    padded = np.pad(values, OUTLINE, mode="edge")
    shifts = [shift for far in range(1, OUTLINE + 1) for shift in ((far, 0), (-far, 0), (0, far), (0, -far))]
    around = (padded[OUTLINE + y : OUTLINE + y + height, OUTLINE + x : OUTLINE + x + width] for y, x in shifts)
    border: NDArray[np.bool_] = np.any([side != values for side in around], axis=0)
    return border & (values > 0) & (values < IGNORED)


def _levels(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))
