"""Image files made by hand: whole ones in every format, and the parts of which odd ones are put together."""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image as Pillow

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
SIDE = 24
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def picture(seed: int | str, width: int = SIDE, height: int = SIDE, channels: int = 3) -> Pillow.Image:
    """Noise: different seeds give different pixels, and pixels that no format can compress to nothing."""
    generator = np.random.default_rng(list(str(seed).encode()))
    pixels = generator.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Pillow.fromarray(pixels[:, :, 0] if channels == 1 else pixels)


def sixteen_bit(seed: int | str) -> Pillow.Image:
    """Grey noise of 16 bits."""
    levels = np.asarray(picture(seed, 2 * SIDE, SIDE, 1))
    return Pillow.fromarray(np.ascontiguousarray(levels).view(np.uint16))


def save(image: Pillow.Image, kind: str, **options: Any) -> bytes:
    """The image as a file of that format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def whole(kind: str, seed: int | str = 0) -> bytes:
    """A good file of one of `FORMATS`."""
    return save(picture(f"{kind} {seed}"), kind)


# PNG


def chunk(name: bytes, content: bytes) -> bytes:
    """A PNG chunk with the checksum it must have."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of a PNG file's chunks, as far as their lengths make sense."""
    place = len(SIGNATURE)
    while place + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, place)
        yield png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        place += 12 + length


def png_of(parts: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A PNG file of chunks by name and content."""
    return SIGNATURE + b"".join(chunk(name, content) for name, content in parts)


def png_with(png: bytes, *further: tuple[bytes, bytes]) -> bytes:
    """The PNG file with further chunks behind its header."""
    header, *others = chunks(png)
    return png_of([header, *further, *others])


def png_header(width: int, height: int, bits: int = 8, colour: int = 2, interlaced: int = 0) -> tuple[bytes, bytes]:
    """The chunk that says how large a PNG file is."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)


def hollow_png(width: int, height: int, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG file whose header claims any size, with almost nothing behind it."""
    return png_of([png_header(width, height, bits, colour), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")])


def interlaced_png(seed: str) -> bytes:
    """Eight grey rows of eight pixels in the seven passes of Adam7 (PNG specification, section 8.2)."""
    levels = np.asarray(picture(seed, 8, 8, 1))
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = [row for top, left, down, right in passes for row in levels[top::down, left::right]]
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return png_of([png_header(8, 8, 8, 0, interlaced=1), (b"IDAT", packed), (b"IEND", b"")])


# TIFF

SHORT, LONG = 3, 4


def tiff(entries: Sequence[tuple[int, int, int, int]], pixels: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF file: pixels at byte 8, then one directory of (tag, type, count, value or place).

    `following` is where the next directory lies; 0 is none.
    """
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    directory = struct.pack("<H", len(entries)) + body + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory


def grey_tiff(pixels: bytes, width: int, *further: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A grey TIFF file of one strip; further entries replace those with the same tag."""
    height = len(pixels) // width
    entries = {
        256: (256, LONG, 1, width), 257: (257, LONG, 1, height), 258: (258, SHORT, 1, 8), 259: (259, SHORT, 1, 1),
        262: (262, SHORT, 1, 1), 273: (273, LONG, 1, 8), 277: (277, SHORT, 1, 1), 278: (278, LONG, 1, height),
        279: (279, LONG, 1, len(pixels)),
    }  # fmt: skip
    entries |= {entry[0]: entry for entry in further}
    return tiff(list(entries.values()), pixels, following)


# GIF


def gif(screen: tuple[int, int], frames: Sequence[bytes]) -> bytes:
    """A GIF file with a palette of black and white, a logical screen (width, height) of any size, and frames."""
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + b"".join(frames) + b";"


def gif_frame(width: int = 1, height: int = 1) -> bytes:
    """A frame at the upper left corner, whose packed pixels are those of a single one."""
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2\x44\1\0"


# EXIF


def exif(orientation: int) -> Pillow.Exif:
    """What a camera says of how it was held."""
    found = Pillow.Exif()
    found[274] = orientation
    return found
