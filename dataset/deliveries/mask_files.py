"""Masks in files of their own: PNG files whose pixels are indices or colours. What they mean is in a `Legend`.

Other formats are not read: most of them alter values, and a value altered by one is another class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from dataset.decoding.codecs import orientation_of
from dataset.decoding.costly import refuse_bombs, refuse_too_many
from dataset.decoding.damage import BROKEN, damage, refuse_incomplete
from dataset.decoding.formats import BadImage, Header, recognise
from dataset.decoding.levels import SIXTEEN_BIT, turned
from dataset.decoding.png import is_framed
from dataset.deliveries.legends import Legend
from dataset.masks import Values
from records.batch import IGNORED

DEPTH = 24
"""Where in a PNG file it says how many bits a sample has (PNG, third edition, 11.2.1)."""
STRIPE = 2**20
"""Pixels whose colours are looked up at a time."""


@dataclass(frozen=True)
class MaskFiles:
    """Masks that are PNG files."""

    legend: Legend

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the values."""
        return self.legend.classes

    def values(self, encoded: bytes, max_pixels: int) -> Values:
        """Values of one mask, turned as EXIF says. Raises `BadImage`, see `MaskFormat`."""
        kind = recognise(encoded)
        if kind != "PNG":
            raise BadImage("format", f"its format is {kind}; a mask is a PNG file, which keeps values as they are")
        header = Header(format=kind)
        refuse_bombs(encoded, header)
        try:
            with Pillow.open(BytesIO(encoded), formats=[kind]) as file:
                refuse_too_many(file, header, max_pixels)
                file.load()
                refuse_incomplete(encoded, file, np.asarray(file), header)
                # Pillow takes a header wherever it stands, and does without an end.
                if not is_framed(encoded):
                    raise BadImage("unreadable", "the PNG file is damaged (its chunks do not go from header to end)")
                values = _meant(file, encoded[DEPTH], self.legend)
                return np.ascontiguousarray(turned(values[:, :, None], orientation_of(file))[:, :, 0])
        except BadImage:
            raise
        except BROKEN as error:
            raise damage(encoded, error, header) from None


def _meant(file: Pillow.Image, bits: int, legend: Legend) -> Values:
    """Values of the batch for what a file shows; `bits`: of a sample."""
    if file.mode in ("LA", "RGBA"):
        if file.getchannel("A").getextrema() != (255, 255):
            raise BadImage("mask-mode", "some of its pixels are transparent; a mask has an index or a colour in each")
        file = file.convert(file.mode[:-1])
    if file.mode == "RGB" or not legend.indices:
        if bits == 16:
            raise BadImage("mask-mode", "its samples have 16 bits; a mask of colours has 8")
        # To convert what is one already would copy it: 200 MB of the largest.
        return _of_colours(np.asarray(file if file.mode == "RGB" else file.convert("RGB")), legend)
    return _of_indices(_indices(file, bits), legend)


def _indices(file: Pillow.Image, bits: int) -> Values:
    """The numbers that stand in a file: Pillow stretches grey of 2 and 4 bits to 0..255."""
    if file.mode in SIXTEEN_BIT or file.mode == "I":
        wide = np.asarray(file)
        if wide.max() > IGNORED:
            raise BadImage("mask-mode", f"its values have 16 bits and reach {wide.max()}; an index is at most 254")
        return wide.astype(np.uint8)
    if file.mode == "1":
        return np.asarray(file).astype(np.uint8)
    if file.mode == "L":
        return np.asarray(file) // np.uint8(255 // (2**bits - 1))
    if file.mode == "P":
        return np.asarray(file)
    raise BadImage("mask-mode", f"its pixels are of mode {file.mode}; a mask has an index or a colour in each")


def _of_indices(indices: Values, legend: Legend) -> Values:
    counts = Pillow.fromarray(indices).histogram()
    unnamed = [index for index, count in enumerate(counts) if count and index not in legend.indices]
    if unnamed:
        raise BadImage("mask-index", f"{counts[unnamed[0]]} of its pixels are {unnamed[0]}, an index without a name")
    table = np.full(256, IGNORED, np.uint8)
    table[list(legend.indices)] = list(legend.indices.values())
    found: Values = table[indices]
    return found


def _of_colours(colours: NDArray[np.uint8], legend: Legend) -> Values:
    """`colours`: [height, width, 3]."""
    if not legend.colours:
        raise BadImage("mask-mode", "it is a picture in colours, and the list of classes says of none which it has")
    lookup = _lookup(legend.colours)
    values = np.empty(colours.shape[:2], np.uint8)
    rows = max(1, STRIPE // colours.shape[1])
    for top in range(0, len(colours), rows):
        values[top : top + rows] = lookup(colours[top : top + rows])
    return values


def _lookup(colours: dict[int, int]) -> Callable[[NDArray[np.uint8]], Values]:
    known = np.array(sorted(colours), np.uint32)
    meant = np.array([colours[colour] for colour in sorted(colours)], np.uint8)

    def values(part: NDArray[np.uint8]) -> Values:
        codes = (part[..., 0].astype(np.uint32) << 16) | (part[..., 1].astype(np.uint32) << 8) | part[..., 2]
        places = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        strange = known[places] != codes
        if strange.any():
            raise BadImage("mask-mode", f"a pixel of it has the colour #{codes[strange][0]:06x}, which has no name")
        found: Values = meant[places]
        return found

    return values
