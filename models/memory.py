"""What a learner remembers of the images it has seen: references to a bounded, class-balanced, uniform sample.

Of each class it keeps the k images with the smallest rank, where an image's rank is a hash of the seed and its content
id. That is the same uniform sample as a reservoir (Vitter, 1985), and more: it does not depend on the order in which
images arrived nor on how many workers looked, taking it twice changes nothing, two memories merge into the one that
would have seen both, and ranked anew without a deleted image the next takes its place. (Bottom-k sampling: Cohen and
Kaplan, 2007, "Summarizing data using bottom-k sketches".)
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray

from models.archive import Archive, Pool
from records.snapshot import InputSpec


def rank(seed: int, image: str) -> int:
    """The rank of an image, uniform over 0..2**63-1, from its content id and the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{image}".encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Memory:
    """References to n images, sorted by class and rank."""

    image: NDArray[np.str_]
    batch: NDArray[np.str_]
    row: NDArray[np.int64]
    target: NDArray[np.int64]
    rank: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def empty(cls) -> "Memory":
        """A memory of nothing."""
        text, number = np.array([], dtype=str), np.array([], dtype=np.int64)
        return cls(image=text, batch=text, row=number, target=number, rank=number)

    @classmethod
    def of(cls, pool: Pool, seed: int) -> "Memory":
        """Every image of a pool, ranked."""
        ranks = np.array([rank(seed, image) for image in pool.image], dtype=np.int64)
        batch = np.array(pool.batches, dtype=str)[pool.batch]
        return cls(image=pool.image.astype(str), batch=batch, row=pool.row, target=pool.target.numpy(), rank=ranks)

    def merge(self, other: "Memory") -> "Memory":
        """Both together, each image once."""
        columns = [np.concatenate([getattr(self, c), getattr(other, c)]) for c in _COLUMNS]
        both = Memory(*columns)
        _, first = np.unique(both.image, return_index=True)
        return both._take(first)

    def keep(self, size: int) -> "Memory":
        """At most `size` images: of each class those of smallest rank, as evenly over the classes as they allow."""
        sorted_ = self._take(np.arange(len(self)))
        counts = np.bincount(sorted_.target) if len(self) else np.array([], dtype=np.int64)
        quotas = even_quotas(counts.tolist(), size)
        start = np.concatenate([[0], np.cumsum(counts)])
        kept = [np.arange(start[c], start[c] + quota) for c, quota in enumerate(quotas)]
        return sorted_._take(np.concatenate(kept).astype(np.int64)) if kept else self

    def forget(self, images: Sequence[str]) -> "Memory":
        """Without the given images."""
        return self._take(np.flatnonzero(~np.isin(self.image, list(images))))

    def _take(self, positions: NDArray[np.int64]) -> "Memory":
        chosen = [getattr(self, c)[positions] for c in _COLUMNS]
        order = np.lexsort((chosen[0], chosen[4], chosen[3]))
        return Memory(*(column[order] for column in chosen))

    def recall(self, archive: Archive, spec: InputSpec) -> Pool | None:
        """The remembered images themselves, held in working memory; None if nothing is remembered."""
        if not len(self):
            return None
        batches, index = np.unique(self.batch, return_inverse=True)
        pool = Pool(
            batch=index,
            row=self.row,
            image=self.image,
            target=torch.from_numpy(self.target.copy()),
            batches=tuple(batches.tolist()),
            pixels=tuple(archive.pixels(batch, spec) for batch in batches.tolist()),
        )
        return pool.loaded()

    def write(self, path: Path) -> None:
        """Write as Parquet; equal memories give equal files."""
        parquet.write_table(pa.table({c: pa.array(getattr(self, c)) for c in _COLUMNS}), path, compression="NONE")

    @classmethod
    def read(cls, path: Path) -> "Memory":
        """Read what `write` wrote."""
        table = parquet.read_table(path)
        columns = [table[c].to_numpy(zero_copy_only=False) for c in _COLUMNS]
        return cls(*(column.astype(str) if column.dtype == object else column for column in columns))


_COLUMNS = ("image", "batch", "row", "target", "rank")


def even_quotas(counts: Sequence[int], size: int) -> list[int]:
    """How many of each class fit into `size`, as evenly as `counts` allow; spare places go to the lower index first."""
    quotas = [0] * len(counts)
    left = min(size, sum(counts))
    while left:
        open_ = [c for c, count in enumerate(counts) if quotas[c] < count]
        share = max(1, left // len(open_))
        for c in open_:
            given = min(share, counts[c] - quotas[c], left)
            quotas[c] += given
            left -= given
    return quotas
