"""Random damage to the bytes of a file, and the good image files that it is done to."""

import random
import struct
import zlib
from collections.abc import Callable
from functools import cache

from dataset.decoding.formats import STARTS
from tests.corpus.files import (
    FORMATS,
    chunks,
    exif,
    interlaced_png,
    picture,
    png_of,
    png_with,
    save,
    sixteen_bit,
    whole,
)

TELLING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers at whose borders lengths and sizes go wrong."""

Mutation = Callable[[bytes, random.Random], bytes]


@cache
def good_files() -> tuple[bytes, ...]:
    """Small whole files of all formats, in the kinds that are decoded in different ways."""
    colour, grey = picture(0), picture(1, channels=1)
    frames = {"save_all": True, "append_images": [picture(2), picture(3)]}
    return (
        *(whole(kind) for kind in FORMATS),
        *(save(colour, kind, **frames) for kind in ("PNG", "GIF", "WEBP", "TIFF")),
        *(save(colour, kind, exif=exif(6)) for kind in ("PNG", "JPEG", "WEBP", "TIFF")),
        *(save(colour, "TIFF", compression=way) for way in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        save(grey.convert("1"), "TIFF", compression="group4"),
        save(colour.convert("CMYK"), "TIFF"),
        save(colour.convert("CMYK"), "JPEG"),
        save(colour, "JPEG", progressive=True, icc_profile=b"profile" * 40),
        save(colour, "WEBP", lossless=True),
        save(colour.convert("RGBA"), "WEBP", lossless=True),
        save(colour.convert("RGBA"), "PNG"),
        save(grey, "PNG", transparency=9),
        save(grey.convert("1"), "PNG"),
        save(sixteen_bit(0), "PNG"),
        save(sixteen_bit(0), "TIFF"),
        save(colour.quantize(16), "PNG", transparency=b"\0\x80"),
        save(colour.quantize(16), "BMP"),
        save(grey.convert("1"), "BMP"),
        save(colour, "MPO", save_all=True, append_images=[picture(4)]),
        interlaced_png("0"),
        png_with(whole("PNG"), (b"iTXt", b"key\0\1\0\0\0" + zlib.compress(b"text")), (b"gAMA", b"\0\0\xb1\x8f")),
    )  # fmt: skip


def _flip_bits(encoded: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(encoded)
    reach = dice.choice((32, 200, len(damaged)))
    for _ in range(dice.choice((1, 2, 8, 32)) if damaged else 0):
        damaged[dice.randrange(min(reach, len(damaged)))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def _overwrite(encoded: bytes, dice: random.Random) -> bytes:
    """A telling number in place of whatever stands somewhere: most often a length, a size or a place."""
    size = dice.choice("HI")
    place = _place(encoded[: dice.choice((64, 400, len(encoded)))], dice)
    number = struct.pack(dice.choice("<>") + size, dice.choice(TELLING) & (0xFFFF if size == "H" else 0xFFFFFFFF))
    return encoded[:place] + number + encoded[place + len(number) :]


def _cut(encoded: bytes, dice: random.Random) -> bytes:
    return encoded[: _place(encoded, dice)]


def _leave_out(encoded: bytes, dice: random.Random) -> bytes:
    start, end = _part(encoded, dice)
    return encoded[:start] + encoded[end:]


def _repeat(encoded: bytes, dice: random.Random) -> bytes:
    start, end = _part(encoded, dice)
    return encoded[:end] + encoded[start:end] * dice.choice((1, 1, 3, 50)) + encoded[end:]


def _splice(encoded: bytes, dice: random.Random) -> bytes:
    """The start of this file, then a part of another one."""
    other = dice.choice(good_files())
    start, end = _part(other, dice)
    return encoded[: _place(encoded, dice)] + other[start:end] + encoded[_place(encoded, dice) :]


def _append(encoded: bytes, dice: random.Random) -> bytes:
    return encoded + dice.choice((dice.randbytes(40), b"\0" * 1000, dice.choice(good_files())))


def _change_chunks(encoded: bytes, dice: random.Random) -> bytes:
    """For PNG files: chunks changed, repeated, lost, exchanged or taken from another one, with the right checksums."""
    parts = list(chunks(encoded))
    if not encoded.startswith(STARTS["PNG"]) or not parts:
        return _flip_bits(encoded, dice)
    place = dice.randrange(len(parts))
    name, content = parts[place]
    others = [part for file in good_files() if file.startswith(STARTS["PNG"]) for part in chunks(file)]
    match dice.randrange(6):
        case 0:
            parts[place] = (name, dice.choice((_flip_bits, _overwrite, _cut, _repeat))(content, dice))
        case 1:
            parts.insert(dice.randrange(len(parts)), parts[place])
        case 2:
            del parts[place]
        case 3:
            parts.insert(place, dice.choice(others))
        case 4:
            parts[place] = (dice.choice(others)[0], content)
        case _:
            dice.shuffle(parts)
    return png_of(parts)


def _place(encoded: bytes, dice: random.Random) -> int:
    return dice.randrange(len(encoded) + 1)


def _part(encoded: bytes, dice: random.Random) -> tuple[int, int]:
    start = _place(encoded, dice)
    return start, min(len(encoded), start + dice.choice((1, 4, 16, 100, len(encoded))))


MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits, _flip_bits, _overwrite, _overwrite, _cut, _leave_out, _repeat, _splice, _append,
    _change_chunks, _change_chunks,
)  # fmt: skip
