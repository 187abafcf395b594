"""What is known of a batch's images beside their pixels: content id, label and split, row by row, in one quick file."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from records.batch import Split, classes_in
from records.experience import Experience

NAMED = ("label", "split", "labelled_for")


@dataclass(frozen=True)
class Names:
    """A column of names, of which few differ: a code for each row, and what the codes mean."""

    code: NDArray[np.int32]
    """[rows] position in `names`."""
    names: tuple[str, ...]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> "Names":
        """From a column that is encoded as a dictionary."""
        parts = column.unify_dictionaries().chunks
        code = np.concatenate([part.indices.to_numpy() for part in parts])
        return cls(code, tuple(parts[0].dictionary.to_pylist()))

    def at(self, rows: NDArray[np.int64]) -> NDArray[np.str_]:
        """The names in these rows."""
        return np.array(self.names, dtype=object)[self.code[rows]]

    def equal(self, name: str) -> NDArray[np.bool_]:
        """[rows] whether it is this name."""
        same: NDArray[np.bool_] = self.code == (self.names.index(name) if name in self.names else -1)
        return same


@dataclass(frozen=True)
class Labels:
    """Facts of a batch that learning needs, row by row. At rest they are one file, quick to read."""

    image: NDArray[np.bytes_]
    """[rows] content ids, as ASCII."""
    label: Names
    split: Names
    labelled_for: Names | None = None
    """Of a batch with masks: the classes that were looked for, with slashes between them; empty if all of the batch."""

    @classmethod
    def of(cls, shards: Sequence[Path], annotated: bool = False) -> "Labels":
        """From the shards of a batch, which may have masks."""
        names = ["label", "split", *(["labelled_for"] if annotated else [])]
        parts = [parquet.read_table(shard, columns=["image", *names], read_dictionary=names) for shard in shards]
        table = pa.concat_tables(parts)
        return cls(np.array(table["image"].to_pylist(), dtype=np.bytes_), *(Names.of(table[name]) for name in names))

    def write(self, path: Path) -> None:
        """Write as safetensors, in one motion."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        image = self.image.view(np.uint8).reshape(len(self.image), -1)
        named = {"label": self.label, "split": self.split}
        if self.labelled_for is not None:
            named["labelled_for"] = self.labelled_for
        columns: dict[str, NDArray[Any]] = {"image": image, **{name: one.code for name, one in named.items()}}
        save_file(columns, unfinished, {name: json.dumps(one.names) for name, one in named.items()})
        os.replace(unfinished, path)

    @classmethod
    def read(cls, path: Path) -> "Labels":
        """Read what `write` wrote."""
        with safe_open(path, "numpy") as file:
            image, names = file.get_tensor("image"), file.metadata()
            named = {c: Names(file.get_tensor(c), tuple(json.loads(names[c]))) for c in sorted({*names} & set(NAMED))}
        return cls(image.view(f"S{image.shape[1]}")[:, 0], **named)


def admitted_rows(labels: Labels, experience: Experience, split: Split) -> NDArray[np.int64]:
    """Rows of `split` that validation left in, ascending."""
    admitted = labels.split.equal(split)
    admitted[list(experience.left_out)] = False
    return np.flatnonzero(admitted)


def targets_of(label: Names, rows: NDArray[np.int64], index: Mapping[str, int]) -> NDArray[np.int64]:
    """[rows] class index. Only labels that occur in `rows` need one: others may have been left out."""
    targets = np.array([index.get(name, -1) for name in label.names], dtype=np.int64)[label.code[rows]]
    if (targets < 0).any():
        raise KeyError(str(label.at(rows[targets < 0])[0]))
    return targets


def members(names: Names, rows: NDArray[np.int64], index: Mapping[str, int]) -> NDArray[np.bool_]:
    """[rows, classes] which classes each row names, with slashes between them; names without an index are left out."""
    table = np.zeros((len(names.names), len(index)), dtype=np.bool_)
    for code, text in enumerate(names.names):
        table[code, [index[name] for name in classes_in(text) if name in index]] = True
    return table[names.code[rows]]
