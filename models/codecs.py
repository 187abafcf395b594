"""From the bytes of an image file to pixels, without trusting the file.

One rule for every format, so that equal pictures become equal pixels: 8 bit, one channel for grey files and three (red,
green, blue) for all others, those with a palette included; turned as EXIF says; first frame only. Pillow decodes. Which
of its decoders may run, how many pixels they may make, and what their many exceptions mean is decided here.
"""

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from models import png, tiff

Pixels = NDArray[np.uint8]
"""[height, width, channels] with 1 or 3 channels."""

STARTS = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "WEBP": (b"RIFF",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "GIF": (b"GIF87a", b"GIF89a"),
}
"""The formats that are read, by Pillow's names, and the first bytes of their files."""

OTHERS = {
    b"8BPS": "Photoshop",
    b"\0\0\1\0": "ICO",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL": "JPEG XL",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"DDS ": "DDS",
    b"qoif": "QOI",
}
"""Formats that a person may take for readable: naming them helps more than saying that they are no images."""

# What Pillow's decoders raise on damaged files, found by feeding them such; one file must never end the whole batch.
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
    MemoryError,
    struct.error,
    zlib.error,
)

LARGEST = 2**31 - 1
"""What a column of a shard can hold of a width, a height or a number of frames; a file may claim more."""

BMP_HEADERS = 26
"""Bytes of the two smallest headers with which a BMP file begins."""

MOST_EXIF_PARTS = 64
"""Segments of a JPEG file in which EXIF lies, 64 KB each; one is usual, and one more for each preview."""

MOST_SCANS = 5_000
"""Of a JPEG file; ten are usual. By chance, their marker may also stand in what a camera puts behind a picture."""

ONE_CHANNEL = ("L", "1")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
THREE_CHANNELS = ("RGB", "RGBX", "CMYK", "YCbCr", "P")
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")

_PILLOW = threading.Lock()


@dataclass(frozen=True)
class Header:
    """What a file says of itself before it is decoded. `format`: a key of `STARTS`; `mode`: Pillow's name."""

    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    """As the picture is seen, that is after turning; 0 if unknown."""
    frames: int = 0


class BadImage(ValueError):
    """A file that is no usable image. `problem` is one word for programs, `detail` one clause for a person."""

    def __init__(self, problem: str, detail: str, header: Header | None = None) -> None:
        super().__init__(f"{problem}: {detail}")
        self.problem = problem
        self.detail = detail
        self.header = header or Header()


def read_pixels(encoded: bytes, max_pixels: int) -> tuple[Pixels, Header]:
    """Decode a file's bytes to uint8 [height, width, 1 or 3].

    Raises `BadImage` with one of the problems empty, not-an-image, format, too-many-pixels, truncated, unreadable.
    """
    kind = recognise(encoded)
    header = Header(format=kind)
    _refuse_bombs(encoded, header)
    with _pillow_on_our_terms():
        try:
            with Pillow.open(BytesIO(encoded), formats=[kind]) as file:
                header = _header(file, kind, encoded)
                _refuse_too_many(file, header, max_pixels)
                file.load()
                picture = _eight_bit(file, header)
                if kind == "PNG":
                    _refuse_incomplete(encoded, file, picture, header)
                pixels = np.ascontiguousarray(_turned(picture, _orientation(file)))
        except BadImage:
            raise
        except BROKEN as error:
            raise _damage(encoded, error, header) from None
    height, width = pixels.shape[:2]
    return pixels, Header(kind, header.mode, width, height, header.frames)


def recognise(encoded: bytes) -> str:
    """The format that a file's first bytes claim, a key of `STARTS`. Raises `BadImage`: empty, not-an-image, format."""
    if not encoded:
        raise BadImage("empty", "the file has no bytes")
    for kind, starts in STARTS.items():
        if encoded.startswith(starts) and (kind != "WEBP" or encoded[8:12] == b"WEBP"):
            return kind
    other = next((name for start, name in OTHERS.items() if encoded.startswith(start)), "")
    if encoded[4:8] == b"ftyp":
        other = "HEIF, AVIF or video"
    if other:
        raise BadImage("format", f"its format is {other}; readable are {', '.join(STARTS)}")
    raise BadImage("not-an-image", "its first bytes are those of no image format")


@contextmanager
def _pillow_on_our_terms() -> Iterator[None]:
    """No warnings, and no pixel limit but ours: Pillow's own raises before the size can be told.

    Both are global to the process, hence the lock; two threads would also lose each other's warning filters.
    """
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Pillow.MAX_IMAGE_PIXELS = limit


def _refuse_bombs(encoded: bytes, header: Header) -> None:
    """Refuse what keeps a decoder busy for hours or fills the memory, however few its pixels or bytes are."""
    if header.format == "JPEG":
        # Pillow appends one part of EXIF to the others, which takes time that grows with their number squared.
        _refuse_more(encoded.count(b"Exif\0\0"), MOST_EXIF_PARTS, "parts of EXIF", header)
        # Each scan, of a few bytes, passes over every pixel.
        _refuse_more(encoded.count(b"\xff\xda"), MOST_SCANS, "scans", header)
    if header.format == "TIFF":
        _refuse_more(tiff.pieces(encoded), tiff.MOST_PIECES, "strips or tiles", header)


def _refuse_more(number: int, most: int, what: str, header: Header) -> None:
    if number > most:
        raise BadImage("unreadable", f"the {header.format} file is damaged ({number} {what})", header)


def _header(file: Pillow.Image, kind: str, encoded: bytes) -> Header:
    width, height, frames = (min(n, LARGEST) for n in (file.width, file.height, _frames(file, kind, encoded)))
    return Header(format=kind, mode=file.mode, width=width, height=height, frames=frames)


def _frames(file: Pillow.Image, kind: str, encoded: bytes) -> int:
    if kind == "TIFF":
        return tiff.pages(encoded)
    # A camera's MPO file is a JPEG with previews or depth behind it; those are no frames of an animation.
    return 1 if file.format == "MPO" else int(getattr(file, "n_frames", 1))


def _refuse_too_many(file: Pillow.Image, header: Header, max_pixels: int) -> None:
    if file.width * file.height > max_pixels:
        size = f"{file.width} x {file.height} pixels"
        raise BadImage("too-many-pixels", f"{size}, more than the {max_pixels} that are allowed", header)


def _refuse_incomplete(encoded: bytes, file: Pillow.Image, picture: Pixels, header: Header) -> None:
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


def _eight_bit(file: Pillow.Image, header: Header) -> Pixels:
    """uint8 [height, width, 1 or 3]. What is transparent shows white behind it, as on a page."""
    if file.mode in SIXTEEN_BIT:
        return _high_byte(file)
    if file.mode in TRANSPARENT or (file.mode in ("L", "P", "RGB") and "transparency" in file.info):
        return _on_white(file)
    if file.mode in ONE_CHANNEL:
        return np.asarray(file if file.mode == "L" else file.convert("L"))[:, :, None]
    if file.mode in THREE_CHANNELS:
        return np.asarray(file if file.mode == "RGB" else file.convert("RGB"))
    raise BadImage("format", f"pixels of mode {file.mode} have no known range; 8 or 16 bits can be read", header)


def _high_byte(file: Pillow.Image) -> Pixels:
    # Pillow brings 16-bit colour to 8 bits in the same way, so grey and colour files agree.
    return (np.asarray(file) >> 8).astype(np.uint8)[:, :, None]


def _on_white(file: Pillow.Image) -> Pixels:
    """Colour times alpha plus white times the rest, rounded to the nearest integer."""
    grey = file.mode in ("L", "LA", "La")
    layers = np.asarray(file.convert("LA" if grey else "RGBA")).astype(np.uint16)
    colour, alpha = layers[:, :, :-1], layers[:, :, -1:]
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _orientation(file: Pillow.Image) -> int:
    """EXIF's orientation, 1 to 8. Unreadable EXIF counts as none: the pixels are no worse for it.

    Asked after loading, because Pillow turns TIFF files itself while it loads them and then drops the tag.
    """
    try:
        value: Any = file.getexif().get(274, 1)
    except BROKEN:
        return 1
    return value if isinstance(value, int) else 1


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Pixels as they are meant to be seen. Orientation as in EXIF 2.32, tag 0x0112; unknown values change nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _damage(encoded: bytes, error: BaseException, header: Header) -> BadImage:
    if _ends_early(encoded, header.format) or "truncated" in str(error).lower():
        return BadImage("truncated", f"the {header.format} file ends before the picture does", header)
    return BadImage("unreadable", f"the {header.format} file is damaged ({_reason(error)})", header)


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


def _reason(error: BaseException) -> str:
    # Pillow's own text for this one holds a memory address, and equal files must have equal facts.
    if isinstance(error, UnidentifiedImageError):
        return "its header makes no sense"
    text = " ".join(str(error).split())
    if "MAX_TEXT" in text:
        return "a text or profile in it unpacks to too much"
    return text[:120] or type(error).__name__
