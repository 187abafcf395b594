"""What is wrong with an image file whose decoder failed, or should have: it is damaged, or not all there."""

import struct
import zlib

from PIL import Image as Pillow
from PIL import UnidentifiedImageError

# Relative: these files go into every logged model, where there is no package `dataset`.
from . import png, tiff
from .formats import BadImage, Header
from .levels import Pixels

# What Pillow's decoders raise on damaged files, found by feeding them such; one file must never end the whole batch.
# A lack of memory is no fault of the file: whoever sets the limit reports it.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    EOFError,
    AttributeError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
)
BMP_HEADERS = 26
"""Bytes of the two smallest headers with which a BMP file begins."""


def refuse_incomplete(encoded: bytes, file: Pillow.Image, picture: Pixels, header: Header) -> None:
    """Refuse a PNG file that Pillow has decoded though its pixels are damaged or not all there."""
    if png.pixels_are_damaged(encoded):
        raise BadImage("unreadable", "the PNG file is damaged (a checksum of its pixels is wrong)", header)
    # Rows that are missing are left at zero. Interlaced rows do not come from top to bottom.
    if (file.info.get("interlace") or _last_row_is_zero(file, picture)) and png.lacks_rows(encoded):
        raise BadImage("truncated", "the PNG file ends before the picture does", header)


def _last_row_is_zero(file: Pillow.Image, picture: Pixels) -> bool:
    if file.mode in ("L", "RGB") and "transparency" not in file.info:
        return not picture[-1].any()
    # Zeros of these modes need not be black.
    return not any(file.crop((0, file.height - 1, file.width, file.height)).tobytes())


def damage(encoded: bytes, error: BaseException, header: Header) -> BadImage:
    """What a decoder's `error` says of a file: it ends early, or it is damaged."""
    if _ends_early(encoded, header.format) or "truncated" in str(error).lower():
        return BadImage("truncated", f"the {header.format} file ends before the picture does", header)
    return BadImage("unreadable", f"the {header.format} file is damaged ({reason(error)})", header)


def _ends_early(encoded: bytes, kind: str) -> bool:
    """True if the end that the format promises is missing."""
    end = encoded.rstrip(b"\0")
    match kind:
        case "PNG":
            return b"IEND" not in encoded
        case "JPEG":
            return not end.endswith(b"\xff\xd9")
        case "GIF":
            return not end.endswith(b";")
        case "WEBP":
            return int.from_bytes(encoded[4:8], "little") + 8 > len(encoded)
        case "BMP":
            return max(BMP_HEADERS, int.from_bytes(encoded[2:6], "little")) > len(encoded)
        case "TIFF":
            return tiff.is_cut(encoded)
        case _:
            return False


def reason(error: BaseException) -> str:
    """A decoder's error as a clause, the same for equal files."""
    # Pillow's own text for this one holds a memory address, and equal files must have equal facts.
    if isinstance(error, UnidentifiedImageError):
        return "its header makes no sense"
    text = " ".join(str(error).split())
    if "MAX_TEXT" in text:
        return "a text or profile in it unpacks to too much"
    return text[:120] or type(error).__name__
