"""Perceptual hashes that differ in few bits, without comparing every pair.

Two hashes of 64 bits that differ in at most three agree in at least one of four bands of 16 bits (the pigeonhole
principle, as in multi-index hashing: Norouzi, Punjani and Fleet, 2012). So only those that share a band are compared.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

BANDS = 4
LEAST_BITS = 12
"""A hash with fewer bits set, or fewer left unset, is that of a plain surface, of stripes or of something symmetric in
both directions, which have few waves: such hashes agree by chance."""
CROWD = 256
"""Of so many hashes that share a band each is compared with so many others by it, not with all: they are of one scene,
seen again and again, and other bands tell them apart."""


def numbers_of(looks: Iterable[str]) -> NDArray[np.uint64]:
    """Hashes of 16 hex digits as numbers."""
    return np.frombuffer(bytes.fromhex("".join(looks)), dtype=">u8").astype(np.uint64)


def are_informative(looks: Iterable[str]) -> NDArray[np.bool_]:
    """Which hashes say something about their image."""
    bits = np.bitwise_count(numbers_of(looks))
    informative: NDArray[np.bool_] = (bits >= LEAST_BITS) & (bits <= 64 - LEAST_BITS)
    return informative


def bands_of(numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    """[n, 4] the bands of each hash, each a number below 2^18 that also says which band it is."""
    shift = np.arange(BANDS, dtype=np.uint64) * np.uint64(16)
    parts = (numbers[:, None] >> shift) & np.uint64(0xFFFF)
    banded: NDArray[np.int64] = parts.astype(np.int64) + (np.arange(BANDS) << 16)
    return banded


def bits_between(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """In how many bits they differ, pair by pair."""
    differing: NDArray[np.uint8] = np.bitwise_count(one ^ other)
    return differing


def looks_within(looks: "pd.Series[str]", distance: int) -> pd.DataFrame:
    """Every pair of the hashes that differ in at most `distance` (0..3) bits, both ways and each with itself.

    Columns `look` and `other_look`.
    """
    unique = looks.unique().astype(str)
    numbers = numbers_of(unique)
    itself = np.arange(len(unique))
    pairs = [np.stack([itself, itself])]
    if distance > 0 and len(unique) > 1:
        banded = bands_of(numbers)
        for band in range(BANDS):
            order = np.lexsort((numbers, banded[:, band]))
            sorted_band = banded[order, band]
            # Each with the next one of the same band, then with the one after it, until none has such a one.
            for step in range(1, min(CROWD, len(order) - 1) + 1):
                shares = sorted_band[step:] == sorted_band[:-step]
                if not shares.any():
                    break
                first, second = order[:-step][shares], order[step:][shares]
                near = bits_between(numbers[first], numbers[second]) <= distance
                pairs += [np.stack([first[near], second[near]]), np.stack([second[near], first[near]])]
    first, second = np.unique(np.concatenate(pairs, axis=1), axis=1)
    return pd.DataFrame({"look": unique[first], "other_look": unique[second]})
