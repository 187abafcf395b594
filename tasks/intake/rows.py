"""Reading single images of a batch: only the row groups that hold one of them are read."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from records.batch import Batch
from tasks.intake.shards import Row


def read_rows(
    batches: Path, batch: Batch, rows: Iterable[int], columns: Sequence[str] | None = None
) -> Iterator[tuple[int, Row]]:
    """The wanted rows of a batch with their numbers, in order; `columns` are all if left out."""
    wanted = sorted(set(rows))
    start = 0
    for shard in batch.shards:
        if any(start <= row < start + shard.rows for row in wanted):
            with parquet.ParquetFile(batches / batch.id / shard.name) as file:
                yield from _of_file(file, start, wanted, columns)
        start += shard.rows


def _of_file(
    file: parquet.ParquetFile, start: int, wanted: Sequence[int], columns: Sequence[str] | None
) -> Iterator[tuple[int, Row]]:
    for group in range(file.metadata.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        here = [row for row in wanted if start <= row < end]
        if here:
            table: pa.Table = file.read_row_group(group, columns=None if columns is None else list(columns))
            yield from zip(here, table.take([row - start for row in here]).to_pylist(), strict=True)
        start = end
