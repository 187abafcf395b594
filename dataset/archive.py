"""The archive as a learner sees it: decoded images of any admitted batch, by row, at the network's input size.

Decoding happens once. The decoded images are a cache, one memory-mapped file a batch and input size, outside version
control and rebuilt at will; a night therefore pays for decoding its own batch, not the archive. The labels have such a
file a batch beside them, so that what was learned long ago is not looked up in its shards every night. What no night
used for longest goes when the cache grows too large.
"""

import contextlib
import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray
from torch import Tensor

from dataset.annotations import Annotations, fit_mask, meaning
from dataset.decoding.fit import fit
from dataset.decoding.formats import BadImage
from dataset.images import ImageLimits, decode
from dataset.labels import Labels, admitted_rows, members, targets_of
from records.batch import BACKGROUND, IGNORED, Batch, Split
from records.errors import DamagedState
from records.experience import Experience
from records.snapshot import InputSpec

LOOK_AT_ONCE = 512
"""Decoded images looked at together when their mean is taken."""
PIXELS_AT_ONCE = 2**20
"""Pixels, over all channels, that a forward pass takes at a time when nothing is learned."""
ADMITTED = ImageLimits(max_pixels=2**40)
"""How large an image may be was decided when it was ingested."""


@dataclass(frozen=True)
class ImageDataset:
    """Images that can be drawn by position: n of them, from any number of batches."""

    batch: NDArray[np.int64]
    """[n] index into `batches`."""
    row: NDArray[np.int64]
    """[n] row in that batch."""
    image: NDArray[np.str_]
    """[n] content id."""
    target: Tensor
    """[n] int64 class index."""
    batches: tuple[str, ...]
    pixels: tuple[NDArray[np.uint8], ...]
    """For each batch, [rows, C, H, W]."""
    outputs: Tensor | None = None
    """[n, classes] what was answered when they were stored, if that was kept; NaN for classes that came later."""
    annotations: Annotations | None = None
    """What the images came with besides one class each; then `target` is the first class that an image shows."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image: C, H, W."""
        return self.pixels[0].shape[1:]

    @property
    def bytes(self) -> int:
        """Of all images, decoded."""
        return len(self) * int(np.prod(self.shape))

    @property
    def at_once(self) -> int:
        """Images to look at together when nothing is learned."""
        return max(1, PIXELS_AT_ONCE // int(np.prod(self.shape)))

    def parts(self, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """All images and targets in order, on the device, a part at a time."""
        for positions in torch.split(torch.arange(len(self)), self.at_once):
            yield self.images(positions).to(device), self.target[positions].to(device)

    def targets(self, positions: Tensor) -> Tensor:
        """What the images at `positions` [k] shall be answered with: int64 [k] class indices, or uint8 [k, H, W]."""
        if self.annotations is None:
            return self.target[positions]
        chosen = positions.numpy()
        return self.annotations.masks(self.batch[chosen], self.row[chosen])

    @property
    def labelled_for(self) -> Tensor | None:
        """bool [n, classes] which classes were looked for in each image; None if every class was."""
        return None if self.annotations is None else torch.from_numpy(self.annotations.labelled_for)

    def all_images(self) -> Tensor:
        """Every image, uint8 [n, C, H, W]."""
        return self.images(torch.arange(len(self)))

    def images(self, positions: Tensor) -> Tensor:
        """The images at `positions` [k], as uint8 [k, C, H, W]."""
        chosen = positions.numpy()
        batch, row = self.batch[chosen], self.row[chosen]
        if len(self.pixels) == 1:
            return torch.from_numpy(self.pixels[0][row])
        drawn = np.empty((len(chosen), *self.pixels[0].shape[1:]), dtype=np.uint8)
        for index in np.unique(batch):
            of_batch = batch == index
            drawn[of_batch] = self.pixels[index][row[of_batch]]
        return torch.from_numpy(drawn)

    def at(self, positions: NDArray[np.int64]) -> "ImageDataset":
        """Only the images at `positions`, in that order."""
        return replace(
            self,
            batch=self.batch[positions],
            row=self.row[positions],
            image=self.image[positions],
            target=self.target[torch.from_numpy(positions)],
            outputs=None if self.outputs is None else self.outputs[torch.from_numpy(positions)],
            annotations=None if self.annotations is None else self.annotations.at(positions),
        )

    def loaded(self) -> "ImageDataset":
        """The same with its images in one array in working memory: for small datasets that are drawn from often."""
        return replace(
            self,
            batch=np.zeros(len(self), dtype=np.int64),
            row=np.arange(len(self)),
            batches=("memory",),
            pixels=(self.all_images().numpy(),),
            annotations=None if self.annotations is None else self.annotations.loaded(self.batch, self.row),
        )


class Archive:
    """Batches below `batches`, decoded into `cache`."""

    def __init__(self, batches: Path, cache: Path) -> None:
        self.batches = batches
        self.cache = cache

    def labels(self, batch_id: str) -> Labels:
        """Content id, label and split of every row. Raises `DamagedState` if the batch is not there."""
        record = self.batches / batch_id / "batch.json"
        if not record.exists():
            raise DamagedState(f"{record} is missing.")
        # Named by all that the record says, so another batch under the same id is another file.
        path = self.cache / f"{batch_id}-{hashlib.sha256(record.read_bytes()).hexdigest()[:16]}.safetensors"
        if not path.exists():
            annotated = bool(Batch.read(record).annotation)
            Labels.of(self._shards(batch_id), annotated).write(path)
        _mark_used(path)
        return Labels.read(path)

    def dataset(
        self, experiences: Sequence[Experience], split: Split, classes: Sequence[str], spec: InputSpec
    ) -> ImageDataset:
        """The admitted images of one split of some experiences, as a dataset. `classes` gives names their index."""
        index = {name: position for position, name in enumerate(classes)}
        batch, row, image, target = [], [], [], []
        annotations: list[Annotations] = []
        for number, experience in enumerate(experiences):
            labels = self.labels(experience.batch)
            rows = admitted_rows(labels, experience, split)
            batch.append(np.full(len(rows), number))
            row.append(rows)
            image.append(labels.image[rows].astype(str))
            if labels.labelled_for is None:
                target.append(targets_of(labels.label, rows, index))
            else:
                annotations.append(self._annotations(experience.batch, labels, rows, index, spec))
                target.append(annotations[-1].shows.argmax(axis=1))
        return ImageDataset(
            batch=np.concatenate(batch),
            row=np.concatenate(row),
            image=np.concatenate(image),
            target=torch.from_numpy(np.concatenate(target)),
            batches=tuple(e.batch for e in experiences),
            pixels=tuple(self.pixels(e.batch, spec) for e in experiences),
            annotations=Annotations.together(annotations) if annotations else None,
        )

    def _annotations(
        self, batch_id: str, labels: Labels, rows: NDArray[np.int64], index: Mapping[str, int], spec: InputSpec
    ) -> Annotations:
        assert labels.labelled_for is not None
        shows, labelled_for = members(labels.label, rows, index), members(labels.labelled_for, rows, index)
        labelled_for[labels.labelled_for.equal("")[rows]] = np.isin(list(index), self.mask_classes(batch_id))
        labelled_for[:, index[BACKGROUND]] = True
        return Annotations(
            shows=shows,
            labelled_for=labelled_for,
            values=(self.masks(batch_id, spec),),
            meaning=self.meaning(batch_id, list(index))[None],
        )

    def mask_classes(self, batch_id: str) -> tuple[str, ...]:
        """Names of the values in the masks of a batch."""
        return Batch.read(self.batches / batch_id / "batch.json").mask_classes

    def meaning(self, batch_id: str, classes: Sequence[str]) -> NDArray[np.uint8]:
        """[256] the place in `classes` of what each value of a batch's masks means, 255 for those that mean none."""
        return meaning(self.mask_classes(batch_id), {name: place for place, name in enumerate(classes)})

    def masks(self, batch_id: str, spec: InputSpec) -> NDArray[np.uint8]:
        """Masks of all rows of a batch, uint8 [rows, H, W] with the batch's own values, memory-mapped; where a row has
        none, all of it is ignored."""
        path = self.cache / f"{batch_id}-mask-{spec.height}x{spec.width}.npy"
        if not path.exists():
            shape = (spec.height, spec.width)
            encoded = self._encoded(self._shards(batch_id), "annotation")
            self._write_array(batch_id, path, shape, (e and fit_mask(e, *shape) for e in encoded), IGNORED)
        _mark_used(path)
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]

    def pixels(self, batch_id: str, spec: InputSpec) -> NDArray[np.uint8]:
        """All rows of a batch as uint8 [rows, C, H, W], memory-mapped; rows that cannot be decoded are black."""
        path = self._pixels_path(batch_id, spec)
        if not path.exists():
            self._decode(batch_id, spec, path)
        _mark_used(path)
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]

    def some(self, batch_id: str, rows: Sequence[int], spec: InputSpec) -> NDArray[np.uint8]:
        """Some rows of a batch, ascending, as uint8 [n, C, H, W]. The whole batch is decoded only if most is wanted."""
        batch = Batch.read(self.batches / batch_id / "batch.json")
        if self._pixels_path(batch_id, spec).exists() or 2 * len(rows) > batch.images:
            return self.pixels(batch_id, spec)[np.asarray(rows, dtype=np.int64)]
        wanted, chosen = set(rows), np.zeros((len(rows), spec.channels, spec.height, spec.width), dtype=np.uint8)
        drawn = (encoded for row, encoded in enumerate(self._encoded(self._shards(batch_id))) if row in wanted)
        for place, encoded in enumerate(drawn):
            if encoded is not None:
                chosen[place] = _fitted(encoded, spec, f"Row {rows[place]} of batch {batch_id}")
        return chosen

    def _pixels_path(self, batch_id: str, spec: InputSpec) -> Path:
        return self.cache / f"{batch_id}-{spec.channels}x{spec.height}x{spec.width}.npy"

    def trim(self, limit: int, began: int) -> None:
        """Remove files of the cache, those used longest ago first, until it holds at most `limit` bytes.

        What was used since `began`, in nanoseconds since 1970, stays, whatever the limit.
        """
        found = [(path, path.stat()) for path in self.cache.glob("*") if path.is_file()]
        excess = sum(facts.st_size for _, facts in found) - limit
        for path, facts in sorted(found, key=lambda file: _last_used(file[1])):
            if excess <= 0 or _last_used(facts) >= began:
                return
            with contextlib.suppress(OSError):  # It is only a cache; no night shall fail for it.
                path.unlink()
            excess -= facts.st_size

    def _decode(self, batch_id: str, spec: InputSpec, path: Path) -> None:
        shape = (spec.channels, spec.height, spec.width)
        rows = enumerate(self._encoded(self._shards(batch_id)))
        fitted = (encoded and _fitted(encoded, spec, f"Row {row} of batch {batch_id}") for row, encoded in rows)
        self._write_array(batch_id, path, shape, fitted, 0)

    def _write_array(
        self,
        batch_id: str,
        path: Path,
        shape: tuple[int, ...],
        rows: Iterable[NDArray[np.uint8] | bytes | None],
        absent: int,
    ) -> None:
        """An array [rows, *shape] in one motion; rows that are None hold `absent` everywhere."""
        self.cache.mkdir(parents=True, exist_ok=True)
        number = sum(parquet.read_metadata(shard).num_rows for shard in self._shards(batch_id))
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        array = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=(number, *shape))
        for row, values in enumerate(rows):
            if values is not None:
                array[row] = values
            elif absent:
                array[row] = absent
        array.flush()
        os.replace(unfinished, path)

    @staticmethod
    def _encoded(shards: Sequence[Path], column: str = "encoded") -> Iterator[bytes | None]:
        """The bytes of every row, None for rows that could not be decoded when they came."""
        for shard in shards:
            file = parquet.ParquetFile(shard)
            # Row group by row group: they are bounded in bytes, whatever the size of an image.
            for group in range(file.num_row_groups):
                part = file.read_row_group(group, columns=[column, "problem"])
                for encoded, problem in zip(part[column], part["problem"], strict=True):
                    yield None if problem.as_py() else encoded.as_py()

    def input_spec(self, experiences: Sequence[Experience], size: int | None, channels: int | None) -> InputSpec:
        """What a fresh network should see, from the training images of its first experiences.

        The size is the most frequent one if it is at most 64 pixels, else 64; three channels if any image has colour.
        Mean and standard deviation are per channel over those images.
        """
        sizes: Counter[tuple[int, int]] = Counter()
        colour = False
        for experience in experiences:
            labels, start = self.labels(experience.batch), 0
            admitted = np.isin(np.arange(len(labels.image)), admitted_rows(labels, experience, "train"))
            for shard in self._shards(experience.batch):
                facts = self._table(shard, ["width", "height", "mode"])
                fine = admitted[start : start + len(facts["mode"])]
                start += len(fine)
                sizes.update(zip(facts["height"][fine].tolist(), facts["width"][fine].tolist(), strict=True))
                colour |= not set(facts["mode"][fine]) <= {"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L"}
        height, width = sizes.most_common(1)[0][0]
        if size is not None or max(height, width) > 64:
            height = width = size or 64
        shape = {"channels": channels or (3 if colour else 1), "height": height, "width": width}
        blank = (0.0,) * shape["channels"], (1.0,) * shape["channels"]
        unnormalised = InputSpec(**shape, mean=blank[0], std=blank[1])
        mean, std = self._moments(experiences, unnormalised)
        return InputSpec(**shape, mean=mean, std=std)

    def _moments(
        self, experiences: Sequence[Experience], spec: InputSpec
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        count, total, squares = 0, np.zeros(spec.channels), np.zeros(spec.channels)
        for experience in experiences:
            rows = admitted_rows(self.labels(experience.batch), experience, "train")
            pixels = self.pixels(experience.batch, spec)
            for start in range(0, len(rows), LOOK_AT_ONCE):
                part = pixels[rows[start : start + LOOK_AT_ONCE]].astype(np.float64) / 255
                count += part[:, 0].size
                total += part.sum(axis=(0, 2, 3))
                squares += (part**2).sum(axis=(0, 2, 3))
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 1e-4))
        return tuple(mean.round(6).tolist()), tuple(std.round(6).tolist())

    def _shards(self, batch_id: str) -> list[Path]:
        folder = self.batches / batch_id
        batch = Batch.read(folder / "batch.json")
        shards = [folder / shard.name for shard in batch.shards]
        missing = [shard for shard in shards if not shard.exists()]
        if missing:
            raise DamagedState(f"{missing[0]} is missing: run `dvc pull` to fetch the data that this workspace names.")
        return shards

    @staticmethod
    def _table(path: Path, columns: list[str]) -> dict[str, NDArray[np.generic]]:
        table = parquet.read_table(path, columns=columns)
        return {name: table[name].to_numpy(zero_copy_only=False) for name in columns}


def _mark_used(path: Path) -> None:
    """Set the time of the last access, which many file systems do not keep by themselves."""
    with contextlib.suppress(OSError):  # A cache that may only be read is as good.
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def _last_used(facts: os.stat_result) -> int:
    return max(facts.st_atime_ns, facts.st_mtime_ns)


def _fitted(encoded: bytes, spec: InputSpec, where: str) -> NDArray[np.uint8]:
    """An image that was decodable when it came, [C, H, W]."""
    try:
        return fit(decode(encoded, ADMITTED).pixels, spec.channels, spec.height, spec.width)
    except BadImage as error:
        raise DamagedState(f"{where} was decodable once and is not now: {error}") from error
