"""Random damage to good images and masks, put through ingest: `python -m tests.corpus.fuzz --seconds 60 --seed 0`.

Whatever a file holds, `dataset.facts.facts` must give a problem or facts that the decoded pixels confirm. Every third
input is a delivery of images with masks, whose masks, outlines or lists of classes are damaged: `mask_faults.py` says
what it must become. An input follows from the seed and its number alone, so every finding can be made again. Inputs are
examined as nights do it, in the same processes with the same limits: that one takes too long or too much memory is
found by these and is no finding, a crash of a decoder is one. Findings go into a folder, with seed and number in their
names; then the exit code is 1.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from dataset.decoding.formats import BadImage
from dataset.facts import Facts, facts
from dataset.images import ImageLimits, decode
from dataset.processes import Limits, in_order
from dataset.split import content_id
from tasks.ingest.settings import IngestParams
from tests.corpus.mask_deliveries import delivery_of
from tests.corpus.mask_faults import fault_in_delivery, lay_out
from tests.corpus.mutations import MUTATIONS, good_files

PARAMS = IngestParams()
"""Those that ship."""
LIMITS = ImageLimits(max_pixels=PARAMS.max_pixels)
PROBLEMS = ("empty", "not-an-image", "format", "too-many-pixels", "truncated", "unreadable")
EVERY = 3
"""One of so many inputs is a delivery of images with masks, the others are image files."""
MOST_FINDINGS = 20
REPORT_EVERY = 10_000
"""After so many inputs the command says how far it is."""


def input_of(seed: int, number: int) -> bytes:
    """The input with that number: a good file after one to four mutations."""
    dice = random.Random(f"{seed} {number}")
    encoded = dice.choice(good_files())
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        encoded = dice.choice(MUTATIONS)(encoded, dice)
    return encoded


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


def fault_of(seed: int, home: Path, number: int) -> str:
    """The fault of the input with that number; called in a process of its own. Deliveries are laid out in `home`."""
    _silence_decoders()
    if is_delivery(number):
        return fault_in_delivery(delivery_of(seed, number), home / str(number))
    return fault(input_of(seed, number))


def is_delivery(number: int) -> bool:
    """Whether the input with that number is a delivery, and no image file."""
    return number % EVERY == EVERY - 1


@cache
def _silence_decoders() -> None:
    """The TIFF library writes what it thinks of each damaged file to standard error, past Python."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stderr.fileno())


def unless_limited(number: int, why: str) -> str:
    """What to say of an input at which its process failed: nothing if a limit ended it, as it would in a night."""
    return "" if why.startswith("took more ") else f"its decoder {why}"


def keep(folder: Path, seed: int, number: int, fault_found: str) -> None:
    """Write the input of a finding into the folder, as a file or a delivery, and say what it is."""
    place = folder / f"seed-{seed}-input-{number}"
    if is_delivery(number):
        lay_out(delivery_of(seed, number), place)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(input_of(seed, number))
    print(f"Input {number} of seed {seed}: {fault_found[:400]}. It is kept in {place}.", flush=True)


def fuzz(seed: int, seconds: float, inputs: int, folder: Path) -> int:
    """Examine inputs until time or number is up; gives the number of findings."""
    start, done, findings = time.monotonic(), 0, 0
    limits = Limits(PARAMS.image_memory, PARAMS.image_seconds)
    numbers = _numbers(inputs, start + seconds)
    with tempfile.TemporaryDirectory() as home:
        examine = partial(fault_of, seed, Path(home))
        for fault_found in in_order(examine, numbers, os.cpu_count() or 1, unless_limited, limits):
            if fault_found:
                keep(folder, seed, done, fault_found)
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
