"""From the bytes of an image file to pixels, without trusting the file.

One rule for every format, so that equal pictures become equal pixels: 8 bit, one channel for grey files and three (red,
green, blue) for all others, those with a palette included; turned as EXIF says; first frame only. Pillow decodes. Which
of its decoders may run, how many pixels they may make, and what their many exceptions mean is decided here.

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
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

# Relative: these files go into every logged model, where there is no package `models`.
from . import jpeg, png, tiff

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
# That memory runs out says nothing against a file: whoever sets a limit tells of it.
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

LARGEST = 2**31 - 1
"""What a column of a shard can hold of a width or height; a file may claim more."""

BMP_HEADERS = 26
"""Bytes of the two smallest headers with which a BMP file begins."""

MOST_EXIF_PARTS = 64
"""Segments of a JPEG file in which EXIF lies, 64 KB each; one is usual, and one more for each preview."""

MOST_SCANS = 5_000
"""Of a JPEG file; ten are usual. By chance, their marker may also stand in what a camera puts behind a picture."""

MOST_PASSES = 5_000_000_000
"""Pixels of a JPEG file times its scans; about four seconds. A hundred scans of the largest picture that is allowed."""

MOST_CHUNKS = 1_000
"""Of a PNG file, those of its pixels and frames left out; a handful is usual, and some take a decoder a millisecond."""
MOST_PIECES = 500_000
"""Of a PNG file, all of its chunks: its pixels stand in pieces of 8 KB and more, a picture of 64 MB has 8,000."""

STRIPE = 2**20
"""Pixels that are laid on white at a time: on the way they take 16 bytes each."""

ONE_CHANNEL = ("L", "1")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
THREE_CHANNELS = ("RGB", "RGBX", "CMYK", "YCbCr", "P")
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")

MOST_FRAMES = 1000
"""Frames or pages are counted so far: to count on costs time, and that a file has several is all that matters."""

PLAIN_PNG = {0: "L", 2: "RGB"}
"""Pillow's mode by the colour type of a PNG file that is decoded without Pillow's reader of files."""
PNG_HEADER = struct.Struct(">IIBBBBBII4s")
"""What follows the first chunk's name: its content, its checksum, and length and name of the second chunk."""
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"

# Kept by Pillow itself: a process that has loaded several versions has this file as often, and Pillow's rules once.
_PILLOW: threading.RLock = vars(Pillow).setdefault("_one_at_a_time", threading.RLock())


class Header(NamedTuple):
    """What a file says of itself before it is decoded. `format`: a key of `STARTS`; `mode`: Pillow's name."""

    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    """As the picture is seen, that is after turning; 0 if unknown."""
    frames: int = 0


class Decoded(NamedTuple):
    """What a file shows."""

    pixels: Pixels
    header: Header
    picture: Pillow.Image | None = None
    """The same as Pillow holds it, mode L or RGB; None if it is not at hand in this form."""


class BadImage(ValueError):
    """A file that is no usable image. `problem` is one word for programs, `detail` one clause for a person."""

    def __init__(self, problem: str, detail: str, header: Header | None = None) -> None:
        super().__init__(f"{problem}: {detail}")
        self.problem = problem
        self.detail = detail
        self.header = header or Header()


@contextmanager
def pillow_on_our_terms() -> Iterator[None]:
    """For as many files as one likes: no warnings, and no pixel limit but ours, as Pillow's raises before it is told.

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
    _refuse_bombs(encoded, header)
    try:
        with Pillow.open(BytesIO(encoded), formats=[kind]) as file:
            header = _header(file, kind, encoded)
            _refuse_too_many(file, header, max_pixels)
            _refuse_slow(file, header, encoded, max_pixels)
            file.load()
            decoded = _decoded(file, header, encoded)
    except BadImage:
        raise
    except BROKEN as error:
        raise _damage(encoded, error, header) from None
    return decoded


def _decoded(file: Pillow.Image, header: Header, encoded: bytes) -> Decoded:
    levels, orientation = _eight_bit(file, header), _orientation(file)
    if header.format == "PNG":
        _refuse_incomplete(encoded, file, levels, header)
    pixels = np.ascontiguousarray(_turned(levels, orientation))
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
        return np.ascontiguousarray(_turned(_eight_bit(picture, header), _orientation(picture)))
    except BadImage:
        raise
    except BROKEN as error:
        raise BadImage("unreadable", f"its pixels cannot be read ({_reason(error)})", header) from None


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


def _header(file: Pillow.Image, kind: str, encoded: bytes) -> Header:
    width, height = min(file.width, LARGEST), min(file.height, LARGEST)
    return Header(format=kind, mode=file.mode, width=width, height=height, frames=_frames(file, encoded))


def _refuse_bombs(encoded: bytes, header: Header) -> None:
    """Refuse what keeps a decoder busy for hours or fills the memory, however few its pixels or bytes are."""
    if header.format == "JPEG":
        # Pillow appends one part of EXIF to the others, which takes time that grows with their number squared.
        _refuse_more(encoded.count(b"Exif\0\0"), MOST_EXIF_PARTS, "parts of EXIF", header)
        # Each scan, of a few bytes, passes over every pixel.
        _refuse_more(encoded.count(b"\xff\xda"), MOST_SCANS, "scans", header)
        if excess := jpeg.excess(encoded):
            raise BadImage("unreadable", f"the JPEG file is damaged ({excess})", header)
    if header.format == "PNG":
        others, pieces = png.count_chunks(encoded, MOST_PIECES)
        _refuse_more(others, MOST_CHUNKS, "chunks", header)
        _refuse_more(pieces, MOST_PIECES - 1, "pieces", header)
    if header.format == "TIFF":
        _refuse_more(tiff.pieces(encoded), tiff.MOST_PIECES, "strips or tiles", header)


def _refuse_more(number: int, most: int, what: str, header: Header) -> None:
    if number > most:
        raise BadImage("unreadable", f"the {header.format} file is damaged ({number} {what})", header)


def _frames(file: Pillow.Image, encoded: bytes) -> int:
    """Number of frames or pages, counted no further than `MOST_FRAMES`."""
    # A camera's MPO file is a JPEG with previews or depth behind it; those are no frames of an animation.
    if file.format == "MPO":
        return 1
    # For these two Pillow walks through the whole file; of a million pages it makes as many lists.
    if file.format == "TIFF":
        return min(tiff.pages(encoded), MOST_FRAMES)
    if file.format == "GIF" and _has_many_frames(encoded):
        return MOST_FRAMES
    return min(int(getattr(file, "n_frames", 1)), MOST_FRAMES)


def _has_many_frames(gif: bytes) -> bool:
    """True if a GIF file has `MOST_FRAMES` frames or more (GIF89a, sections 15 to 24), found without unpacking any."""
    place, frames = 13 + _colours(gif, 10), 0
    while place < len(gif) and gif[place] != 0x3B and frames < MOST_FRAMES:
        if gif[place] == 0x2C:
            frames += 1
            place = _behind_blocks(gif, place + 11 + _colours(gif, place + 9))
        else:
            place = _behind_blocks(gif, place + 2) if gif[place] == 0x21 else place + 1
    return frames >= MOST_FRAMES


def _colours(gif: bytes, place: int) -> int:
    """Bytes of the colour table that the flags at `place` announce."""
    flags = gif[place] if place < len(gif) else 0
    return 3 << ((flags & 7) + 1) if flags & 128 else 0


def _behind_blocks(gif: bytes, place: int) -> int:
    while place < len(gif) and gif[place]:
        place += 1 + gif[place]
    return place + 1


def _refuse_too_many(file: Pillow.Image, header: Header, max_pixels: int) -> None:
    if file.width * file.height > max_pixels:
        size = f"{file.width} x {file.height} pixels"
        raise BadImage("too-many-pixels", f"{size}, more than the {max_pixels} that are allowed", header)


def _refuse_slow(file: Pillow.Image, header: Header, encoded: bytes, max_pixels: int) -> None:
    """Refuse what takes far more work or memory than its picture has pixels."""
    if header.format == "JPEG" and file.info.get("progressive"):
        scans = encoded.count(b"\xff\xda")
        if scans * file.width * file.height > MOST_PASSES:
            passes = f"{scans} scans of {file.width} x {file.height} pixels"
            raise BadImage("unreadable", f"the JPEG file is damaged ({passes})", header)
    if header.format == "TIFF" and (tile := tiff.packed_tile(encoded)) > max_pixels:
        raise BadImage(
            "too-many-pixels", f"a tile of {tile} pixels, more than the {max_pixels} that are allowed", header
        )


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
    """Colour times alpha plus white times the rest, rounded to the nearest integer; some rows at a time."""
    mode = "LA" if file.mode in ("L", "LA", "La") else "RGBA"
    pixels = np.empty((file.height, file.width, len(mode) - 1), np.uint8)
    rows = max(1, STRIPE // file.width)
    for top in range(0, file.height, rows):
        stripe = file.crop((0, top, file.width, min(top + rows, file.height)))
        layers = np.asarray(stripe.convert(mode)).astype(np.uint16)
        colour, alpha = layers[:, :, :-1], layers[:, :, -1:]
        pixels[top : top + rows] = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return pixels


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
