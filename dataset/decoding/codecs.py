"""From the bytes of an image file to pixels, without trusting the file.

One rule for every format, so that equal pictures become equal pixels: 8 bit, one channel for grey files and three (red,
green, blue) for all others, those with a palette included; turned as EXIF says; first frame only. Pillow decodes. Which
of its decoders may run is decided in `formats.py`, what they may cost in `costly.py`, and what their many exceptions
mean in `damage.py`.

Small images cost more in finding one's way through the file than in decoding. So the rules for Pillow are set once for
many files, and the plainest of PNG files go straight to the decoder; whatever is wrong with one goes the long way.
"""

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow

# Relative: these files go into every logged model, where there is no package `dataset`.
from . import png
from .costly import frames, refuse_bombs, refuse_slow, refuse_too_many
from .damage import BROKEN, damage, reason, refuse_incomplete
from .formats import STARTS, BadImage, Header, recognise
from .levels import Pixels, eight_bit, turned

LARGEST = 2**31 - 1
"""What a column of a shard can hold of a width or height; a file may claim more."""
PLAIN_PNG = {0: "L", 2: "RGB"}
"""Pillow's mode by the colour type of a PNG file that is decoded without Pillow's reader of files."""
PNG_HEADER = struct.Struct(">IIBBBBBII4s")
"""What follows the first chunk's name: its content, its checksum, and length and name of the second chunk."""
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"

# Kept by Pillow itself: a process that has loaded several versions has this file as often, and Pillow's rules once.
_PILLOW: threading.RLock = vars(Pillow).setdefault("_one_at_a_time", threading.RLock())


class Decoded(NamedTuple):
    """What a file shows."""

    pixels: Pixels
    header: Header
    picture: Pillow.Image | None = None
    """The same as Pillow holds it, mode L or RGB; None if it is not at hand in this form."""


@contextmanager
def pillow_on_our_terms() -> Iterator[None]:
    """For as many files as one likes: no warnings, and no pixel limit but ours: Pillow's raises before ours is checked.

    Both are global to the process, hence the lock; two threads would also lose each other's warning filters.
    """
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Pillow.MAX_IMAGE_PIXELS = limit


def read_pixels(encoded: bytes, max_pixels: int) -> Decoded:
    """Decode a file's bytes to uint8 [height, width, 1 or 3]. Within `pillow_on_our_terms` only.

    Raises `BadImage` with one of the problems empty, not-an-image, format, too-many-pixels, truncated, unreadable.
    """
    return plain_png(encoded, max_pixels) or _any_file(encoded, max_pixels)


def _any_file(encoded: bytes, max_pixels: int) -> Decoded:
    kind = recognise(encoded)
    header = Header(format=kind)
    refuse_bombs(encoded, header)
    try:
        with Pillow.open(BytesIO(encoded), formats=[kind]) as file:
            header = _header(file, kind, encoded)
            refuse_too_many(file, header, max_pixels)
            refuse_slow(file, header, encoded, max_pixels)
            file.load()
            decoded = _decoded(file, header, encoded)
    except BadImage:
        raise
    except BROKEN as error:
        raise damage(encoded, error, header) from None
    return decoded


def _decoded(file: Pillow.Image, header: Header, encoded: bytes) -> Decoded:
    levels, orientation = eight_bit(file, header), orientation_of(file)
    if header.format == "PNG":
        refuse_incomplete(encoded, file, levels, header)
    pixels = np.ascontiguousarray(turned(levels, orientation))
    height, width = pixels.shape[:2]
    as_it_is = file.mode in ("L", "RGB") and "transparency" not in file.info and pixels is levels
    return Decoded(pixels, header._replace(width=width, height=height), file if as_it_is else None)


def pixels_of(picture: Pillow.Image) -> Pixels:
    """The same of a picture that somebody else has opened with Pillow. Within `pillow_on_our_terms` only.

    Raises `BadImage` with one of the problems format, unreadable.
    """
    header = Header(mode=picture.mode, width=picture.width, height=picture.height)
    try:
        picture.load()
        return np.ascontiguousarray(turned(eight_bit(picture, header), orientation_of(picture)))
    except BadImage:
        raise
    except BROKEN as error:
        raise BadImage("unreadable", f"its pixels cannot be read ({reason(error)})", header) from None


def plain_png(encoded: bytes, max_pixels: int) -> Decoded | None:
    """What a PNG file shows that is one header, one chunk of pixels and the end; None for all others and damaged ones.

    Grey or colour of 8 bits, not interlaced (PNG, third edition, 11.2). Pillow's own reader takes three times as long
    for such a file of 28 x 28 pixels.
    """
    if encoded[8:16] != b"\0\0\0\rIHDR" or len(encoded) < 57 or not encoded.endswith(PNG_END):
        return None
    width, height, depth, colour, *methods, checksum, length, name = PNG_HEADER.unpack_from(encoded, 16)
    plain = depth == 8 and colour in PLAIN_PNG and not any(methods) and name == b"IDAT"
    if not plain or length != len(encoded) - 57 or checksum != zlib.crc32(encoded[12:29]):
        return None
    if not 0 < width * height <= max_pixels or not encoded.startswith(STARTS["PNG"]):
        return None
    mode = PLAIN_PNG[colour]
    if zlib.crc32(encoded[37:-16]) != int.from_bytes(encoded[-16:-12], "big"):
        return None
    try:
        picture = Pillow.frombytes(mode, (width, height), encoded[41:-16], "zip", mode)
    except BROKEN:
        return None
    pixels = np.frombuffer(picture.tobytes(), np.uint8).reshape(height, width, len(mode))
    # Rows that are missing are left at zero.
    if not pixels[-1].any() and png.lacks_rows(encoded):
        return None
    return Decoded(pixels, Header("PNG", mode, width, height, 1), picture)


def _header(file: Pillow.Image, kind: str, encoded: bytes) -> Header:
    width, height = min(file.width, LARGEST), min(file.height, LARGEST)
    return Header(format=kind, mode=file.mode, width=width, height=height, frames=frames(file, encoded))


def orientation_of(file: Pillow.Image) -> int:
    """EXIF's orientation, 1 to 8. Unreadable EXIF counts as none: the pixels are no worse for it.

    Asked after loading, because Pillow turns TIFF files itself while it loads them and then drops the tag.
    """
    try:
        value: Any = file.getexif().get(274, 1)
    except BROKEN:
        return 1
    return value if isinstance(value, int) else 1
