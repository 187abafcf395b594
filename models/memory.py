"""What a learner remembers of the images it has seen: references to a bounded, class-balanced, uniform sample.

Of each class it keeps the k images with the smallest rank, where an image's rank is a hash of the seed, its content id
and the workspace's key, if there is one. That is the same uniform sample as a reservoir (Vitter, 1985), and more: it
does not depend on the order in which images arrived nor on how many workers looked, taking it twice changes nothing,
two memories merge into the one that would have seen both, and ranked anew without a deleted image the next takes its
place. (Bottom-k sampling: Cohen and Kaplan, 2007, "Summarizing data using bottom-k sketches".) With weights the rank is
an exponential clock that runs as fast as the image is important, which makes the same a weighted sample without
replacement (Efraimidis and Spirakis, 2006, "Weighted random sampling with a reservoir").
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray

from dataset.annotations import Annotations
from dataset.archive import Archive, ImageDataset
from dataset.split import keyed_hash
from models.columns import stacked, widened
from records.snapshot import InputSpec

Share = Literal["balanced", "proportional"]
"""How the places are shared: evenly by the classes, or as the classes occur."""
Outputs = NDArray[np.float32]
Members = NDArray[np.bool_]


def rank(seed: int, image: str, key: str = "") -> int:
    """The rank of an image, uniform over 0..2**63-1, from its content id, the seed and the workspace's key alone.

    `key` is hex digits. Without one, whoever sends an image can alter a pixel until it is kept rather than others.
    """
    text = f"{seed}:{image}"
    if key:
        return int(keyed_hash(text, key), 16) >> 1
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Memory:
    """References to n images, sorted by class and rank."""

    image: NDArray[np.str_]
    batch: NDArray[np.str_]
    row: NDArray[np.int64]
    target: NDArray[np.int64]
    rank: NDArray[np.int64]
    weight: NDArray[np.float64]
    """How much rather an image is kept than another; 1 for a uniform sample."""
    outputs: Outputs | None = None
    """[n, classes] what was answered when they were stored; NaN for classes that came later, and where nothing was."""
    shows: Members | None = None
    """[n, classes] which classes each image shows, where it may be several; `target` is the first of them."""
    labelled_for: Members | None = None
    """[n, classes] which classes were looked for in it; None where `shows` is."""

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def empty(cls) -> "Memory":
        """A memory of nothing."""
        text, number = np.array([], dtype=str), np.array([], dtype=np.int64)
        return cls(image=text, batch=text, row=number, target=number, rank=number, weight=np.array([]))

    @classmethod
    def of(cls, dataset: ImageDataset, seed: int, weight: NDArray[np.float64] | None = None, key: str = "") -> "Memory":
        """Every image of a dataset, ranked; `weight` [n], positive, makes some likelier to be kept."""
        ranks = np.array([rank(seed, image, key) for image in dataset.image], dtype=np.int64)
        batch = np.array(dataset.batches, dtype=str)[dataset.batch]
        return cls(
            image=dataset.image.astype(str),
            batch=batch,
            row=dataset.row,
            target=dataset.target.numpy(),
            rank=ranks,
            weight=np.ones(len(dataset)) if weight is None else weight,
            shows=None if dataset.annotations is None else dataset.annotations.shows,
            labelled_for=None if dataset.annotations is None else dataset.annotations.labelled_for,
        )

    def merge(self, other: "Memory") -> "Memory":
        """Both together, each image once; of an image that both hold, this one's."""
        columns = {c: np.concatenate([getattr(self, c), getattr(other, c)]) for c in COLUMNS}
        shows = _both(self.shows, other.shows, len(self), len(other))
        labelled_for = _both(self.labelled_for, other.labelled_for, len(self), len(other))
        both = Memory(**columns, outputs=_joined(self, other), shows=shows, labelled_for=labelled_for)
        _, first = np.unique(both.image, return_index=True)
        return both._take(first)

    def keep(self, size: int, share: Share = "balanced") -> "Memory":
        """At most `size` images, those of smallest rank: as evenly over the classes as they allow, or regardless.

        An image that is kept for two classes costs one place.
        """
        if share == "proportional":
            return self._take(self._by_rank()[:size])
        if self.shows is not None:
            by_rank = self._by_rank()
            return self._take(by_rank[evenly(self.shows[by_rank], size)])
        sorted_ = self._take(np.arange(len(self)))
        counts = np.bincount(sorted_.target) if len(self) else np.array([], dtype=np.int64)
        quotas = even_quotas(counts.tolist(), size)
        start = np.concatenate([[0], np.cumsum(counts)])
        kept = [np.arange(start[c], start[c] + quota) for c, quota in enumerate(quotas)]
        return sorted_._take(np.concatenate(kept).astype(np.int64)) if kept else self

    def forget(self, images: Sequence[str]) -> "Memory":
        """Without the given images. No command calls it yet."""
        return self._take(np.flatnonzero(~np.isin(self.image, list(images))))

    def like(self, other: "Memory") -> "Memory":
        """With the weights and outputs that `other` has of the same images."""
        _, own, others = np.intersect1d(self.image, other.image, return_indices=True)
        weight, outputs = self.weight.copy(), self.outputs
        weight[own] = other.weight[others]
        if other.outputs is not None:
            outputs = _widened(outputs, len(self), other.outputs.shape[1])
            outputs[own] = other.outputs[others]
        return replace(self, weight=weight, outputs=outputs)._take(np.arange(len(self)))

    def unanswered(self) -> "Memory":
        """The images that no outputs are stored with, in the same order."""
        positions = self._without_outputs()
        return replace(self, outputs=None)._at(positions)

    def answered(self, outputs: Outputs) -> "Memory":
        """With `outputs` [k, classes] for the images that `unanswered` gives; what was stored earlier stays."""
        stored = _widened(self.outputs, len(self), outputs.shape[1])
        stored[self._without_outputs()] = outputs
        return replace(self, outputs=stored)

    def _without_outputs(self) -> NDArray[np.int64]:
        if self.outputs is None:
            return np.arange(len(self))
        return np.flatnonzero(np.isnan(self.outputs).all(axis=1))

    def _by_rank(self) -> NDArray[np.int64]:
        """Positions by time of an exponential clock that runs at the image's weight; equal weights leave the ranks."""
        clock = -np.log1p(-(self.rank + 0.5) / 2.0**63) / self.weight
        return np.lexsort((self.image, self.rank, clock))

    def _take(self, positions: NDArray[np.int64]) -> "Memory":
        chosen = self._at(positions)
        by_rank = chosen._by_rank()
        return chosen._at(by_rank[np.argsort(chosen.target[by_rank], kind="stable")])

    def _at(self, positions: NDArray[np.int64]) -> "Memory":
        """The images at `positions`, in that order."""
        columns = {name: getattr(self, name) for name in (*COLUMNS, "outputs", *MEMBERS)}
        chosen: dict[str, Any] = {name: None if one is None else one[positions] for name, one in columns.items()}
        return Memory(**chosen)

    def recall(self, archive: Archive, classes: Sequence[str], spec: InputSpec) -> ImageDataset | None:
        """The remembered images themselves, held in working memory; None if nothing is remembered. `classes` are those
        of the learner, in the order of its head."""
        if not len(self):
            return None
        batches, index = np.unique(self.batch, return_inverse=True)
        dataset = ImageDataset(
            batch=index,
            row=self.row,
            image=self.image,
            target=torch.from_numpy(self.target.copy()),
            batches=tuple(batches.tolist()),
            pixels=tuple(archive.pixels(batch, spec) for batch in batches.tolist()),
            outputs=None if self.outputs is None else torch.from_numpy(self.outputs.copy()),
            annotations=self._annotations(archive, batches.tolist(), classes, spec),
        )
        return dataset.loaded()

    def _annotations(
        self, archive: Archive, batches: Sequence[str], classes: Sequence[str], spec: InputSpec
    ) -> Annotations | None:
        if self.shows is None or self.labelled_for is None:
            return None
        return Annotations(
            shows=widened(self.shows, len(classes)),
            labelled_for=widened(self.labelled_for, len(classes)),
            values=tuple(archive.masks(batch, spec) for batch in batches),
            meaning=np.stack([archive.meaning(batch, classes) for batch in batches]),
        )

    def write(self, path: Path) -> None:
        """Write as Parquet; equal memories give equal files."""
        table = {c: pa.array(getattr(self, c)) for c in COLUMNS}
        if self.outputs is not None:
            flat = pa.array(self.outputs.ravel())
            table["outputs"] = pa.FixedSizeListArray.from_arrays(flat, self.outputs.shape[1])
        for name in MEMBERS:
            if (members := getattr(self, name)) is not None:
                table[name] = pa.FixedSizeListArray.from_arrays(pa.array(members.ravel()), members.shape[1])
        parquet.write_table(pa.table(table), path, compression="NONE")

    @classmethod
    def read(cls, path: Path) -> "Memory":
        """Read what `write` wrote."""
        table = parquet.read_table(path)
        columns = {c: table[c].to_numpy(zero_copy_only=False) for c in COLUMNS}
        text = {c: column.astype(str) for c, column in columns.items() if column.dtype == object}
        further: dict[str, Any] = {name: _lists(table, name) for name in ("outputs", *MEMBERS)}
        return cls(**(columns | text), **further)


COLUMNS = ("image", "batch", "row", "target", "rank", "weight")
MEMBERS = ("shows", "labelled_for")


def _lists(table: pa.Table, name: str) -> NDArray[Any] | None:
    """[n, k] a column of lists of one length; None if there is none."""
    if name not in table.column_names:
        return None
    lists = table[name].combine_chunks()
    values: NDArray[Any] = lists.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(table), lists.type.list_size)


def _both(one: Members | None, other: Members | None, first: int, second: int) -> Members | None:
    """Of two memories of so many images, one of which may be empty."""
    if one is None and other is None:
        return None
    one, other = (np.zeros((n, 0), np.bool_) if m is None else m for m, n in ((one, first), (other, second)))
    return stacked([one, other])


def _joined(one: Memory, other: Memory) -> Outputs | None:
    if one.outputs is None and other.outputs is None:
        return None
    classes = max(m.outputs.shape[1] for m in (one, other) if m.outputs is not None)
    return np.concatenate([_widened(m.outputs, len(m), classes) for m in (one, other)])


def _widened(outputs: Outputs | None, rows: int, classes: int) -> Outputs:
    """[rows, classes], NaN where nothing is known."""
    wide = np.full((rows, classes), np.nan, dtype=np.float32)
    if outputs is not None:
        wide[:, : outputs.shape[1]] = outputs
    return wide


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


def evenly(shows: Members, size: int) -> NDArray[np.int64]:
    """Positions of at most `size` images, ascending, that show the classes as evenly as they allow.

    `shows` [n, classes] is in the order of preference. Each class is given its first q images, with the largest q for
    which all of them together fit; spare places go to the next image of each class, the lower index first.
    """
    place = np.cumsum(shows, axis=0)  # Of an image that shows the class: how many have done so, this one included.

    def chosen(quota: int) -> NDArray[np.bool_]:
        return np.asarray((shows & (place <= quota)).any(axis=1))

    low, high = 0, len(shows) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if chosen(middle).sum() <= size else (low, middle)
    kept = chosen(low)
    for column in range(shows.shape[1]):
        following = np.flatnonzero(shows[:, column] & (place[:, column] > low) & ~kept)[:1]
        if kept.sum() < size:
            kept[following] = True
    return np.flatnonzero(kept)
