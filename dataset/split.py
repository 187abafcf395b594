"""Which split an image belongs to, for ever: decided by what it shows and a key of the workspace, so by nobody else."""

import hashlib

import numpy as np

from dataset.decoding.levels import Pixels
from records.batch import Split


def content_id(pixels: Pixels) -> str:
    """First 32 hex digits of SHA-256 over 'height x width x channels' and the pixels, row by row."""
    digest = hashlib.sha256("x".join(str(side) for side in pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()[:32]


def keyed_hash(text: str, key: str) -> str:
    """16 hex digits of `text` that cannot be predicted without `key` (hex digits, 64 bytes at most)."""
    return hashlib.blake2b(text.encode(), key=bytes.fromhex(key), digest_size=8).hexdigest()


def split_of(image: str, test: float, validation: float, key: str = "") -> Split:
    """The split of an image, for ever, by its content id and the workspace's key (hex digits; empty: the id alone).

    `test` and `validation` are shares, 0..1; `test` is larger for the first deliveries, see `share_of_tests` in
    `tasks/ingest/settings.py`. Without a key whoever sends an image can choose its split, by altering a
    pixel until it is as wished.
    """
    drawn = keyed_hash(image, key) if key else image
    place = int(drawn[:16], 16) / 2**64
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"
