"""Reading some images of a batch: only the row groups that hold one of them are read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from records.batch import Batch

Row = Mapping[str, Any]
"""Values of one image by the names of `shard_schema`."""


def read_rows(
    batches: Path, batch: Batch, rows: Iterable[int], columns: Sequence[str] | None = None
) -> Iterator[tuple[int, Row]]:
    """The wanted rows of a batch with their numbers, in order; `columns` are all if left out."""
    for numbers, table in read_parts(batches, batch, rows, columns):
        yield from zip(numbers, table.to_pylist(), strict=True)


def read_parts(
    batches: Path, batch: Batch, rows: Iterable[int], columns: Sequence[str] | None = None
) -> Iterator[tuple[list[int], pa.Table]]:
    """The same as tables, one for each row group that holds any: no more of them is in memory at a time."""
    wanted = sorted(set(rows))
    start = 0
    for shard in batch.shards:
        if any(start <= row < start + shard.rows for row in wanted):
            with parquet.ParquetFile(batches / batch.id / shard.name) as file:
                yield from _of_file(file, start, wanted, columns)
        start += shard.rows


def _of_file(
    file: parquet.ParquetFile, start: int, wanted: Sequence[int], columns: Sequence[str] | None
) -> Iterator[tuple[list[int], pa.Table]]:
    for group in range(file.metadata.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        in_group = [row for row in wanted if start <= row < end]
        if in_group:
            table: pa.Table = file.read_row_group(group, columns=None if columns is None else list(columns))
            yield in_group, table.take([row - start for row in in_group])
        start = end
