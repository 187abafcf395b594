"""Image files that cost a decoder far more than they have bytes: minutes, or gigabytes, where nothing limits it.

All are made when they are asked for: some have 60 MB.
"""

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image as Pillow

from tests.corpus.cases import File, file_of
from tests.corpus.files import (
    LONG,
    SHORT,
    chunk,
    exif,
    gif,
    gif_frame,
    picture,
    png_header,
    png_of,
    png_with,
    save,
    tiff,
    whole,
)

SIDE = 7000
"""Pixels of a side of the largest pictures: 49 million, nearly as many as are allowed."""
BLANK_PARTS = 60_000_000
"""Bytes of what is no picture in the largest files."""


# JPEG


def progressive(side: int, scans: int) -> bytes:
    """A grey JPEG file in so many scans, the last of which is repeated; each goes over every pixel."""
    encoded = save(Pillow.new("L", (side, side), 128), "JPEG", progressive=True, quality=10)
    places = [place for place in range(len(encoded)) if encoded[place : place + 2] == b"\xff\xda"]
    return encoded[:-2] + encoded[places[-1] : -2] * (scans - len(places)) + b"\xff\xd9"


def behind_start(name: str, *parts: tuple[bytes, int]) -> Callable[[], bytes]:
    """A JPEG file with parts, each so many times, between its first two bytes and the rest."""
    return lambda: whole("JPEG", name)[:2] + b"".join(part * times for part, times in parts) + whole("JPEG", name)[2:]


def segment(marker: int, content: bytes) -> bytes:
    """A JPEG segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def _jpeg_claiming(width: int, height: int) -> bytes:
    encoded = bytearray(whole("JPEG", "claims"))
    place = encoded.index(b"\xff\xc0")
    encoded[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(encoded)


TABLE = segment(0xDB, b"\3" + bytes(range(1, 65)))
PROFILE = segment(0xE2, b"ICC_PROFILE\0\1\xff" + bytes(65_000))
UNREADABLE, LARGE = "file-unreadable", "file-too-large"

JPEG = (
    file_of("JPEG of 49 MP in 500 scans", lambda: progressive(SIDE, 500), UNREADABLE, "500 scans of 7000 x 7000"),
    file_of("JPEG of 49 MP in 5000 scans", lambda: progressive(SIDE, 5000), UNREADABLE, "5000 scans of 7000 x 7000"),
    file_of("JPEG of 49 MP in 100 scans", lambda: progressive(SIDE, 100)),
    file_of("JPEG of 49 MP in 6 scans", lambda: progressive(SIDE, 6)),
    file_of("JPEG of 1 MP in 2000 scans", lambda: progressive(1000, 2000)),
    file_of("JPEG of 60 MB of fill bytes", behind_start("fill", (b"\xff", BLANK_PARTS)), UNREADABLE, "in no segment"),
    file_of(
        "JPEG of 60 MB of nothing",
        behind_start("zeros", (segment(0xFE, b"x"), 1), (b"\0", BLANK_PARTS)),
        UNREADABLE,
        "in no segment",
    ),
    file_of(
        "JPEG of 60 MB of markers that stand alone",
        behind_start("alone", (b"\xff\xd0", BLANK_PARTS // 2)),
        UNREADABLE,
        "in no segment",
    ),
    file_of(
        "JPEG of 16 million empty segments",
        behind_start("empty", (segment(0xFE, b""), 16_000_000)),
        UNREADABLE,
        "10000 segments",
    ),
    file_of("JPEG of 20000 comments", behind_start("comments", (segment(0xFE, b"x"), 20_000)), UNREADABLE, "segments"),
    file_of("JPEG of 900 comments of 64 KB", behind_start("comment", (segment(0xFE, b"x" * 65_533), 900))),
    file_of("JPEG of 900 parts of a profile", behind_start("profile", (PROFILE, 900))),
    file_of("JPEG of 9000 tables", behind_start("tables", (TABLE, 9000))),
    file_of("JPEG that claims 65500 x 65500", _jpeg_claiming(65_500, 65_500), LARGE, "65500 x 65500"),
    file_of("JPEG of 49 MP that is turned", lambda: save(Pillow.new("RGB", (SIDE, SIDE)), "JPEG", exif=exif(6))),
    file_of("JPEG of 49 MP of CMYK", lambda: save(Pillow.new("CMYK", (SIDE, SIDE)), "JPEG")),
)


# PNG


def large_png(bits: int, colour: int, samples: int, *further: tuple[bytes, bytes]) -> Callable[[], bytes]:
    """A black PNG file of 49 MP; `samples` is the number of bits of a pixel."""
    return lambda: png_of(
        [
            png_header(SIDE, SIDE, bits, colour),
            *further,
            (b"IDAT", zlib.compress(bytes((SIDE * samples // 8 + 1) * SIDE), 9)),
            (b"IEND", b""),
        ]
    )


def crowded_png(name: str, times: int, part: tuple[bytes, bytes]) -> Callable[[], bytes]:
    """A PNG file with a chunk so many times behind its header."""
    encoded = whole("PNG", name)
    return lambda: encoded[:33] + chunk(*part) * times + encoded[33:]


MEGABYTE = zlib.compress(bytes(1_000_000), 9)

PNG = (
    file_of(
        "PNG of 50000 profiles",
        crowded_png("iccp", 50_000, (b"iCCP", b"n\0\0" + zlib.compress(bytes(99)))),
        UNREADABLE,
        "chunks",
    ),
    file_of(
        "PNG of 50000 texts",
        crowded_png("ztxt", 50_000, (b"zTXt", b"n\0\0" + zlib.compress(bytes(99)))),
        UNREADABLE,
        "chunks",
    ),
    file_of("PNG of 5000 parts of EXIF", crowded_png("exif", 5000, (b"eXIf", b"II*\0" * 9)), UNREADABLE, "chunks"),
    file_of("PNG of a million chunks", crowded_png("chunks", 1_000_000, (b"prVt", b"")), UNREADABLE, "chunks"),
    file_of("PNG of a million pieces", crowded_png("pieces", 1_000_000, (b"IDAT", b"")), UNREADABLE, "pieces"),
    file_of(
        "PNG of 900 megabytes of text",
        crowded_png("megabytes", 900, (b"zTXt", b"n\0\0" + MEGABYTE)),
        UNREADABLE,
        "unpacks to too much",
    ),
    file_of("PNG of 900 megabytes of profiles", crowded_png("profiles", 900, (b"iCCP", b"n\0\0" + MEGABYTE))),
    file_of("PNG of 49 MP of 64 bits", large_png(16, 6, 64)),
    file_of("PNG of 49 MP with alpha", large_png(8, 6, 32)),
    file_of("PNG of 49 MP of 16 bits of grey", large_png(16, 0, 16)),
    file_of("PNG of 49 MP of one bit", large_png(1, 0, 1)),
    file_of("PNG of 49 MP with transparent colours", large_png(8, 3, 8, (b"PLTE", bytes(6)), (b"tRNS", b"\x80"))),
    file_of(
        "PNG of 100000 frames that are none",
        lambda: png_with(
            whole("PNG", "frames"), (b"acTL", struct.pack(">II", 100_000, 0)), *[(b"fcTL", bytes(26))] * 99_999
        ),
        UNREADABLE,
        "makes no sense",
    ),
)


# TIFF


def tiled(compression: int, side: int = 40_000) -> bytes:
    """A TIFF file of 24 x 24 grey pixels in one tile of any size."""
    content = zlib.compress(bytes(1_000_000))
    return tiff(
        [
            (256, LONG, 1, 24), (257, LONG, 1, 24), (258, SHORT, 1, 8), (259, SHORT, 1, compression),
            (262, SHORT, 1, 1), (277, SHORT, 1, 1), (322, LONG, 1, side), (323, LONG, 1, side),
            (324, LONG, 1, 8), (325, LONG, 1, len(content)),
        ],
        content,
    )  # fmt: skip


def _entries(number: int) -> bytes:
    """A TIFF file whose directory has so many entries besides those of a picture."""
    pixels = picture("entries", channels=1).tobytes()
    usual = [
        (256, LONG, 1, 24), (257, LONG, 1, 24), (258, SHORT, 1, 8), (259, SHORT, 1, 1), (262, SHORT, 1, 1),
        (273, LONG, 1, 8), (277, SHORT, 1, 1), (278, LONG, 1, 24), (279, LONG, 1, len(pixels)),
    ]  # fmt: skip
    return tiff([*usual, *[(40_000, LONG, 1, 0)] * number], pixels)


TIFF = (
    *(
        file_of(f"TIFF of 24 x 24 in a tile of 40000 x 40000, {name}", tiled(number), LARGE, "a tile of 1600000000")
        for name, number in {"deflated": 8, "LZW": 5, "PackBits": 32773, "JPEG": 7}.items()
    ),
    file_of("TIFF of 24 x 24 in a tile of 7000 x 7000", tiled(8, SIDE), UNREADABLE, ""),
    *(
        file_of(
            f"TIFF of 49 MP, {way}",
            lambda way=way: save(Pillow.new("RGB", (SIDE, SIDE)), "TIFF", compression=way),
        )
        for way in ("tiff_adobe_deflate", "tiff_lzw", "packbits", "jpeg")
    ),
    file_of("TIFF of 49 MP of CMYK", lambda: save(Pillow.new("CMYK", (SIDE, SIDE)), "TIFF", compression="tiff_lzw")),
    file_of("TIFF of 60000 entries", lambda: _entries(60_000)),
)


# WebP, BMP, GIF


def run_lengths(side: int, runs: bytes) -> bytes:
    """A BMP file of two colours in run lengths (BI_RLE8)."""
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 2, 0)
    start = 14 + len(header) + 8
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + header + b"\0\0\0\0\xff\xff\xff\0" + runs


def _whole_runs(side: int) -> bytes:
    """Every row in runs of 250 pixels."""
    return (b"\xfa\1" * (side // 250) + b"\0\0") * side + b"\0\1"


def commented_gif(size: int, blocks: int) -> bytes:
    """A GIF file with a comment in so many blocks of so many bytes."""
    return gif((24, 24), [b"!\xfe" + (bytes([size]) + b"x" * size) * blocks + b"\0", gif_frame()])


def _animated_webp(side: int, frames: int) -> bytes:
    file = io.BytesIO()
    more = [Pillow.new("RGB", (side, side), (number % 256, 9, 9)) for number in range(1, frames)]
    Pillow.new("RGB", (side, side)).save(file, "WEBP", save_all=True, append_images=more, lossless=True, method=0)
    return file.getvalue()


OTHERS = (
    file_of("WEBP of 49 MP without loss", lambda: save(Pillow.new("RGB", (SIDE, SIDE)), "WEBP", lossless=True)),
    file_of("WEBP of 49 MP", lambda: save(Pillow.new("RGB", (SIDE, SIDE)), "WEBP", method=0)),
    file_of(
        "WEBP of 49 MP with alpha", lambda: save(Pillow.new("RGBA", (SIDE, SIDE), (9, 9, 9, 9)), "WEBP", lossless=True)
    ),
    file_of("WEBP of 20 frames of 4 MP", lambda: _animated_webp(2000, 20), "animation", "20 frames"),
    file_of("BMP of 49 MP in run lengths", lambda: run_lengths(SIDE, _whole_runs(SIDE))),
    file_of("BMP of 30 million empty runs", lambda: run_lengths(SIDE, b"\0\1" * 30_000_000), UNREADABLE, ""),
    file_of(
        "BMP of 30 million runs of nothing",
        lambda: run_lengths(SIDE, b"\0\0" * 30_000_000),
        UNREADABLE,
        "damaged|took more than",
    ),
    file_of("GIF of 49 MP", lambda: save(Pillow.new("P", (SIDE, SIDE)), "GIF")),
    file_of("GIF of 60 MB of comment", lambda: commented_gif(255, 230_000)),
    file_of(
        "GIF of 20 million blocks of comment", lambda: commented_gif(1, 20_000_000), UNREADABLE, "its decoder took more"
    ),
    file_of("GIF of 900 frames of 49 MP", lambda: gif((SIDE, SIDE), [gif_frame()] * 900), "animation", "900 frames"),
)

COSTLY: tuple[File, ...] = (*JPEG, *PNG, *TIFF, *OTHERS)
