"""What is measured of each image once, when it arrives: what the checks of new images look at instead of its pixels."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataset.decoding.codecs import Decoded, pillow_on_our_terms, read_pixels
from dataset.decoding.fit import picture_of
from dataset.decoding.formats import BadImage
from dataset.images import ImageLimits
from dataset.split import content_id

LOOK_SIDE = 512
"""Grey levels are looked at in a copy whose longer side has at most so many pixels, so that large files cost little."""

GREY_BYTES = 2**18
"""Grey copies are looked at in stacks of about this size, which stay in the processor's cache."""

LEVELS = np.arange(256, dtype=np.int64)
LARGEST = 2**31 - 1
"""Of a width or height that a column can hold; a damaged header may claim more."""

Greys = NDArray[np.uint8]
"""Grey levels of several images of one size, [images, height, width]."""


class Facts(NamedTuple):
    """What is known of one image file. The fields are columns of a shard, see `shards.SHARD_SCHEMA`: to add one, add it
    here, in order."""

    image: str
    """First 32 hex digits of SHA-256: of size, channels and pixels; of the file's bytes if it cannot be decoded."""
    sha256: str = ""
    """Of the file's bytes; empty if they were not read."""
    bytes: int = 0
    problem: str = ""
    """Empty, or one word as in `BadImage`."""
    detail: str = ""
    format: str = ""
    mode: str = ""
    width: int = 0
    """In pixels, after turning as EXIF says; 0 if unknown."""
    height: int = 0
    frames: int = 0
    """Frames or pages in the file, counted no further than `costly.MOST_FRAMES`."""
    brightness: float = 0.0
    """Mean grey level, 0 (black) to 1 (white). From here on it is what the grey levels are like, see `LOOK`."""
    contrast: float = 0.0
    """Standard deviation of the grey levels scaled to 0..1, so 0 to 0.5."""
    low: float = 0.0
    """Grey level, 0..1, that 5% of the pixels do not exceed (nearest rank)."""
    high: float = 0.0
    """Grey level, 0..1, that 95% of the pixels do not exceed (nearest rank)."""
    entropy: float = 0.0
    """Shannon entropy of the 256 grey levels' frequencies, 0 (plain) to 8 bits, rounded to 4 decimals."""
    sharpness: float = 0.0
    """Variance of the Laplacian of the grey levels 0..255 (Pech-Pacheco et al. 2000): low means blurred."""
    phash: str = ""
    """Perceptual hash of 64 bits, 16 hex digits: images that look the same differ in few. Empty if not decodable."""


LOOK = slice(Facts._fields.index("brightness"), None)
"""Those facts that the grey levels give. All of it follows from sums and ranks of whole numbers."""


def facts(encoded: bytes, limits: ImageLimits) -> Facts:
    """Everything that a shard says of a file's bytes. A file that is no usable image is a fact too: it never raises."""
    return facts_of([encoded], limits)[0]


def facts_of(files: Iterable[bytes], limits: ImageLimits) -> list[Facts]:
    """Facts of several files, the same as one by one but sooner. No more than one file's pixels are held at a time."""
    found: list[Facts] = []
    waiting: list[tuple[int, NDArray[np.uint8]]] = []
    size = 0
    with pillow_on_our_terms():
        for encoded in files:
            known, grey = _facts_but_look(encoded, limits)
            if grey is not None:
                waiting.append((len(found), grey))
                size += grey.size
            found.append(known)
            if size >= GREY_BYTES:
                _add_looks(found, waiting)
                waiting, size = [], 0
    _add_looks(found, waiting)
    return found


def _facts_but_look(encoded: bytes, limits: ImageLimits) -> tuple[Facts, NDArray[np.uint8] | None]:
    """Facts without those of `LOOK`, and the grey copy [height, width] that has these; None if nothing can be seen."""
    sha256 = hashlib.sha256(encoded).hexdigest()
    try:
        decoded = read_pixels(encoded, limits.max_pixels)
    except BadImage as bad:
        format, mode, width, height, frames = bad.header
        size = min(width, LARGEST), min(height, LARGEST)
        return Facts(sha256[:32], sha256, len(encoded), bad.problem, bad.detail, format, mode, *size, frames), None
    image = content_id(decoded.pixels)
    return Facts(image, sha256, len(encoded), "", "", *decoded.header), _grey_copy(decoded)


def _add_looks(found: list[Facts], greys: Sequence[tuple[int, NDArray[np.uint8]]]) -> None:
    """Complete those facts whose place in the list stands beside a grey copy."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for number, (_, grey) in enumerate(greys):
        by_size.setdefault(grey.shape, []).append(number)
    for numbers in by_size.values():
        for number, look in zip(numbers, _looks(np.stack([greys[n][1] for n in numbers])), strict=True):
            place = greys[number][0]
            found[place] = Facts._make((*found[place][: LOOK.start], *look))


def _grey_copy(decoded: Decoded) -> NDArray[np.uint8]:
    """Grey levels [height, width] of a copy that is small enough to be looked at."""
    height, width, channels = decoded.pixels.shape
    shrink = math.ceil(max(height, width) / LOOK_SIDE)
    if shrink == 1 and channels == 1:
        return decoded.pixels[:, :, 0]
    grey = (decoded.picture or picture_of(decoded.pixels)).convert("L")
    return np.asarray(grey.reduce(shrink) if shrink > 1 else grey)


def _looks(greys: Greys) -> Iterator[tuple[float | str, ...]]:
    """The facts of `LOOK`, in their order."""
    counts = _counts(greys)
    mean, variance = _moments(greys[0].size, counts @ LEVELS, counts @ LEVELS**2)
    low, high = (_level_at(counts, percent) / 255 for percent in (5, 95))
    columns = mean / 255, np.sqrt(variance) / 255, low, high, _entropy(counts), _sharpness(greys)
    return zip(*(column.tolist() for column in columns), _look_hashes(greys), strict=True)


def _counts(greys: Greys) -> NDArray[np.int64]:
    """How many pixels of each image have each of the 256 levels."""
    images = len(greys)
    levels = greys.reshape(images, -1) + np.arange(0, 256 * images, 256)[:, None]
    counts: NDArray[np.int64] = np.bincount(levels.ravel(), minlength=256 * images)
    return counts.reshape(images, 256)


def _level_at(counts: NDArray[np.int64], percent: int) -> NDArray[np.int64]:
    """The lowest level that at least so many percent of an image's pixels do not exceed."""
    upto = counts.cumsum(axis=1)
    level: NDArray[np.int64] = (100 * upto >= percent * upto[:, -1:]).argmax(axis=1)
    return level


def _entropy(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shannon entropy in bits; the logarithm's last digits, which differ among processors, are rounded away."""
    pixels = counts[0].sum()
    bits: NDArray[np.float64] = math.log2(pixels) - _times_log()[counts].sum(axis=1) / pixels
    return np.abs(bits.round(4))  # no negative zero


@cache
def _times_log() -> NDArray[np.float64]:
    """n times its binary logarithm for every number of pixels that a grey copy can have."""
    numbers = np.arange(LOOK_SIDE**2 + 1, dtype=np.float64)
    return numbers * np.log2(np.maximum(numbers, 1))


def _sharpness(greys: Greys) -> NDArray[np.float64]:
    """Variance of the Laplacian over inner pixels; 0 for images too small to have any."""
    if min(greys.shape[1:]) < 3:
        return np.zeros(len(greys))
    grey = greys.astype(np.int16)
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    laplacian = (around - 4 * grey[:, 1:-1, 1:-1]).reshape(len(greys), -1).astype(np.int32)
    total, squares = laplacian.sum(axis=1, dtype=np.int64), np.square(laplacian).sum(axis=1, dtype=np.int64)
    return _moments(laplacian.shape[1], total, squares)[1]


def _moments(
    count: int, total: NDArray[np.int64], squares: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance from whole-number sums: the same bits on every processor, so equal files have equal facts."""
    return total / count, (count * squares - total * total) / (count * count)


def _look_hashes(greys: Greys) -> list[str]:
    """A perceptual hash each: the signs of the 8 x 8 lowest waves of its cosine transform, constant ones left out.

    After Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010; signs instead of a
    comparison with the median, because pictures of like objects then share fewer bits by chance. Measured against a
    difference hash in docs/decisions/0007-validation.md.
    """
    along, down = _waves(greys.shape[2]), _waves(greys.shape[1])
    strength = np.tensordot(greys @ along, down, axes=(1, 0))
    bits = np.packbits(strength.reshape(len(greys), 64) > FAINTEST, axis=1)
    return [row.tobytes().hex() for row in bits]


FAINTEST = 2.0**28
"""A wave of one grey level has this strength for each pixel; a fainter one than in a single pixel counts as none."""


@lru_cache(maxsize=64)
def _waves(side: int) -> NDArray[np.float64]:
    """[side, 8] what each pixel of a line gives to waves 1 to 8 of a copy of 32 pixels, in whole units.

    Whole, and small enough that sums of products stay below 2^53: so they are exact in whatever order a processor adds
    them up, and equal images have equal hashes everywhere.
    """
    place = np.pi / 64 * (2 * np.arange(32) + 1)
    waves: NDArray[np.float64] = np.round(2**14 * _weights(side, 32) @ np.cos(place[:, None] * np.arange(1, 9)))
    return waves


@lru_cache(maxsize=64)
def _weights(before: int, after: int) -> NDArray[np.float64]:
    """What each of `before` pixels in a line gives to each of `after`, if resized bilinearly without aliasing."""
    scale = before / after
    reach = max(scale, 1.0)
    centre = (np.arange(after) + 0.5) * scale
    place = np.arange(before)[:, None]
    first, last = np.floor(centre - reach + 0.5), np.floor(centre + reach + 0.5)
    weights = np.maximum(1 - np.abs((place - centre + 0.5) * (1 / reach)), 0) * ((place >= first) & (place < last))
    shares: NDArray[np.float64] = weights / weights.sum(axis=0)
    return shares
