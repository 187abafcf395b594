"""Random damage to good image files, put through the decoder: `python -m tests.corpus.fuzz --seconds 60 --seed 0`.

Whatever a file holds, `dataset.facts.facts` must give a problem or facts that the decoded pixels confirm. An input
follows from the seed and its number alone, so every finding can be made again. Inputs are examined as nights do it, in
the same processes with the same limits: that one takes too long or too much memory is found by these and is no finding,
a crash of a decoder is one. Findings go into a folder, with seed and number in their names; then the exit code is 1.
"""

import argparse
import os
import random
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

from dataset.decoding.formats import STARTS, BadImage
from dataset.facts import Facts, facts
from dataset.images import ImageLimits, decode
from dataset.processes import Limits, in_order
from dataset.split import content_id
from tasks.ingest.settings import IngestParams
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

PARAMS = IngestParams()
"""Those that ship."""
LIMITS = ImageLimits(max_pixels=PARAMS.max_pixels)
PROBLEMS = ("empty", "not-an-image", "format", "too-many-pixels", "truncated", "unreadable")
TELLING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers at whose borders lengths and sizes go wrong."""
MOST_FINDINGS = 20
REPORT_EVERY = 10_000
"""After so many inputs the command says how far it is."""

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


def input_of(seed: int, number: int) -> bytes:
    """The input with that number: a good file after one to four mutations."""
    dice = random.Random(f"{seed} {number}")
    encoded = dice.choice(good_files())
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        encoded = dice.choice(MUTATIONS)(encoded, dice)
    return encoded


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


def fault(encoded: bytes) -> str:
    """What is wrong with how a file is examined; empty if nothing is. Raises `MemoryError` as decoders do."""
    try:
        found = facts(encoded, LIMITS)
        if found != facts(encoded, LIMITS):
            return "the same bytes give different facts"
        return fault_in(encoded, found)
    except MemoryError:
        raise
    except Exception as error:  # it is for this that one looks
        return f"raised {type(error).__name__}: {error}"


def fault_in(encoded: bytes, found: Facts) -> str:
    """What is wrong with the facts of a file; empty if `decode` confirms them."""
    if max(found.width, found.height, found.frames) >= 2**31:
        return f"{found.width} x {found.height} pixels in {found.frames} frames, which no shard can hold"
    return _unusable(encoded, found) if found.problem else _usable(encoded, found)


def _unusable(encoded: bytes, found: Facts) -> str:
    if found.problem not in PROBLEMS or not found.detail.isprintable() or not found.detail:
        return f"the problem {found.problem!r} with the detail {found.detail!r}"
    if found.image != found.sha256[:32] or found.phash or found.brightness:
        return "facts of pixels without any"
    try:
        decode(encoded, LIMITS)
    except BadImage as bad:
        return "" if (bad.problem, bad.detail) == (found.problem, found.detail) else f"decode() says {bad.problem}"
    return f"{found.problem}, but it can be decoded"


def _usable(encoded: bytes, found: Facts) -> str:
    image = decode(encoded, LIMITS)
    height, width, channels = image.pixels.shape
    seen = (found.width, found.height, found.frames, found.mode, found.format, found.image)
    if seen != (width, height, image.frames, image.mode, image.format, content_id(image.pixels)):
        return f"facts {seen}, but pixels {image.pixels.shape}, {image.frames} frames"
    if not (0 < width * height <= LIMITS.max_pixels and channels in (1, 3) and found.frames >= 1):
        return f"{width} x {height} pixels of {channels} channels in {found.frames} frames"
    if not (0 <= found.brightness <= 1 and 0 <= found.contrast <= 0.5 and found.sharpness >= 0):
        return f"brightness {found.brightness}, contrast {found.contrast}, sharpness {found.sharpness}"
    return "" if len(found.phash) == 16 and not found.detail else f"hash {found.phash!r}, detail {found.detail!r}"


def fault_of(seed: int, number: int) -> str:
    """`fault` of the input with that number; called in a process of its own."""
    _silence_decoders()
    return fault(input_of(seed, number))


@cache
def _silence_decoders() -> None:
    """The TIFF library writes what it thinks of each damaged file to standard error, past Python."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stderr.fileno())


def unless_limited(number: int, why: str) -> str:
    """What to say of an input at which its process failed: nothing if a limit ended it, as it would in a night."""
    return "" if why.startswith("took more ") else f"its decoder {why}"


def keep(folder: Path, seed: int, number: int, encoded: bytes, fault_found: str) -> None:
    """Write a finding into the folder and say what it is."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"seed-{seed}-input-{number}"
    file.write_bytes(encoded)
    print(f"Input {number} of seed {seed} ({len(encoded)} bytes): {fault_found}. It is kept in {file}.", flush=True)


def fuzz(seed: int, seconds: float, inputs: int, folder: Path) -> int:
    """Examine inputs until time or number is up; gives the number of findings."""
    start, done, findings = time.monotonic(), 0, 0
    limits = Limits(PARAMS.image_memory, PARAMS.image_seconds)
    numbers = _numbers(inputs, start + seconds)
    for fault_found in in_order(partial(fault_of, seed), numbers, os.cpu_count() or 1, unless_limited, limits):
        if fault_found:
            keep(folder, seed, done, input_of(seed, done), fault_found)
            findings += 1
        done += 1
        if findings == MOST_FINDINGS:
            break
        if done % REPORT_EVERY == 0:
            print(f"{done:,} inputs, {done / (time.monotonic() - start):,.0f} a second", flush=True)
    spent = time.monotonic() - start
    pace = done / max(spent, 1e-9)
    print(f"{done:,} inputs of seed {seed} in {spent:.0f} s, {pace:,.0f} a second: {findings} findings.")
    return findings


def _numbers(inputs: int, until: float) -> Iterator[int]:
    for number in range(inputs):
        if time.monotonic() > until:
            return
        yield number


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus.fuzz", description=__doc__.partition(":")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--inputs", type=int, default=2**62, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, default=Path(".retain/fuzz"), help="folder for what it finds")
    wanted = parser.parse_args()
    return 1 if fuzz(wanted.seed, wanted.seconds, wanted.inputs, wanted.findings) else 0


if __name__ == "__main__":
    sys.exit(main())
