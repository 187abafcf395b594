"""Writing the shards of a batch: Parquet files of bounded size, the same bytes for the same rows on every machine."""

import hashlib
import io
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet
from typing_extensions import Buffer

from dataset.facts import Facts
from dataset.masks import MaskFacts
from records.batch import Annotation, Shard

GROUP_ROWS = 2048
GROUP_BYTES = 16 * 2**20
"""A row group ends with the image that reaches one of these: what is held in memory, and read at a time later on."""

NUMBERS = {pa.int32(): np.int32, pa.int64(): np.int64, pa.float32(): np.float32}
KINDS = {str: pa.string(), int: pa.int32(), float: pa.float32()}
WIDE = {"bytes": pa.int64()}
"""A file may be larger than what 32 bits can count."""
FACTS_OF_FILES = [
    pa.field(name, WIDE.get(name, KINDS[kind]), nullable=False) for name, kind in get_type_hints(Facts).items()
]
SHARD_SCHEMA = pa.schema(
    [
        FACTS_OF_FILES[0],  # the image's id
        pa.field("path", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("encoded", pa.binary()),
        *FACTS_OF_FILES[1:],
    ]
)
"""One row an image. What is known of its mask follows, if it comes with one, then a manifest's further columns, each as
a string `user.<name>`."""
KNOWN = tuple(name for name in SHARD_SCHEMA.names if name != "encoded")
"""Columns that tell of an image without its bytes, which are nearly all that a shard weighs."""
COUNTS = pa.list_(pa.field("element", pa.int32(), nullable=False))
MASK_KINDS = {"annotation": pa.binary(), "class_pixels": COUNTS}
MASK_FIELDS = [
    pa.field(name, MASK_KINDS.get(name) or KINDS[kind], nullable=name == "annotation")
    for name, kind in get_type_hints(MaskFacts).items()
]
"""Columns of a batch whose images come with masks, see `MaskFacts`."""
KNOWN_OF_MASKS = tuple(field.name for field in MASK_FIELDS if field.name != "annotation")
"""Those that tell of a mask without its values."""
FILES = ("encoded", "annotation")
"""Columns of files: compressed already, and nearly all that a shard weighs."""
FEW_VALUES = ("label", "split", "problem", "detail", "format", "mode", "labelled_for")


def shard_schema(columns: Sequence[str], annotation: Annotation = "") -> pa.Schema:
    """`SHARD_SCHEMA`, what is known of masks, and the manifest's further columns, each as a string `user.<name>`."""
    further = [pa.field(f"user.{name}", pa.string(), nullable=False) for name in columns]
    return pa.schema([*SHARD_SCHEMA, *(MASK_FIELDS if annotation else ()), *further])


def column(values: Sequence[Any], type: pa.DataType) -> pa.Array:
    """A column of texts, bytes (2 GiB together at most), numbers or lists of counts; texts and bytes may be None, for
    no value.

    Laid out here, because `pyarrow.array` first imports pandas, which takes longer than to start a process.
    """
    if type == COUNTS:
        ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
        counts = column([count for row in values for count in row], pa.int32())
        return pa.Array.from_buffers(type, len(values), [None, pa.py_buffer(ends)], children=[counts])
    if type in NUMBERS:
        return pa.Array.from_buffers(type, len(values), [None, pa.py_buffer(np.array(values, NUMBERS[type]))])
    parts = [value.encode() if isinstance(value, str) else value or b"" for value in values]
    ends = np.cumsum([0, *map(len, parts)], dtype=np.int32)
    validity = np.packbits([value is not None for value in values], bitorder="little") if None in values else None
    buffers = [None if validity is None else pa.py_buffer(validity), pa.py_buffer(ends), pa.py_buffer(b"".join(parts))]
    return pa.Array.from_buffers(type, len(values), buffers)


class ShardWriter:
    """Takes rows in order and writes `images-00000.parquet`, `images-00001.parquet`, ... into a folder."""

    def __init__(self, folder: Path, columns: Sequence[str], shard_bytes: int, annotation: Annotation = "") -> None:
        self._folder = folder
        self._schema = shard_schema(columns, annotation)
        self._shard_bytes = shard_bytes
        self._group: list[pa.RecordBatch] = []
        self._group_rows = 0
        self._group_bytes = 0
        self._open: _OpenShard | None = None
        self._done: list[Shard] = []

    def add(self, rows: pa.RecordBatch) -> None:
        """Take some images; how they are parted changes nothing. Raises `OSError` if the disk does not take them."""
        for size in _sizes(rows):
            self._group_bytes += size
            self._group_rows += 1
            if self._group_rows == GROUP_ROWS or self._group_bytes >= GROUP_BYTES:
                taken = self._group_rows - sum(part.num_rows for part in self._group)
                self._group.append(rows.slice(0, taken))
                rows = rows.slice(taken)
                self._write_group()
        if rows.num_rows:
            self._group.append(rows)

    def finish(self) -> tuple[Shard, ...]:
        """Write what is left; gives all shards in order."""
        if self._group:
            self._write_group()
        self._close_shard()
        return tuple(self._done)

    def abandon(self) -> None:
        """Close the open file, whatever state it is in."""
        if self._open is not None:
            self._open.sink.close()

    def _write_group(self) -> None:
        if self._open is None:
            name = f"images-{len(self._done):05d}.parquet"
            self._open = _OpenShard(self._folder / name, self._schema)
        # In one piece: where the pages of a column end would follow from its pieces.
        self._open.write(pa.Table.from_batches(self._group, self._schema).combine_chunks())
        self._group, self._group_rows, self._group_bytes = [], 0, 0
        if self._open.sink.bytes >= self._shard_bytes:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._open is not None:
            self._done.append(self._open.finish())
            self._open = None


def _sizes(rows: pa.RecordBatch) -> list[int]:
    """Bytes of each image file that is kept, and of its mask."""
    kept = [compute.fill_null(compute.binary_length(rows[name]), 0) for name in FILES if name in rows.schema.names]
    sizes: list[int] = reduce(compute.add, kept).to_pylist()
    return sizes


class _OpenShard:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.sink = _HashingFile(path)
        self._name = path.name
        self._rows = 0
        files = [name for name in schema.names if name in FILES]
        known = [field for field in schema if field.name not in FILES]
        # Of a list, Parquet keeps what stands in it as a column.
        facts = [f"{field.name}.list.element" if field.type == COUNTS else field.name for field in known]
        # Image files are compressed already. No statistics of them either: those would copy whole images.
        self._writer = parquet.ParquetWriter(
            self.sink,
            schema,
            compression={**dict.fromkeys(files, "none"), **dict.fromkeys(facts, "zstd")},
            use_dictionary=[name for name in facts if name in FEW_VALUES or name.startswith("user.")],
            write_statistics=facts,
        )

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._rows += table.num_rows

    def finish(self) -> Shard:
        self._writer.close()
        self.sink.close()
        return Shard(name=self._name, rows=self._rows, bytes=self.sink.bytes, sha256=self.sink.digest.hexdigest())


class _HashingFile(io.RawIOBase):
    """A file that is hashed while it is written, so that no shard has to be read again."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.digest = hashlib.sha256()
        self.bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        written = self._file.write(data)
        self.digest.update(data)
        self.bytes += written
        return written

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        self._file.close()
        super().close()
