"""What became of a delivery: its batch, and the rows of its shards."""

import io
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from records.batch import Batch
from tasks.intake.ingest import IngestParams, ingest


@dataclass(frozen=True)
class Taken:
    """A delivery that was ingested."""

    batch: Batch
    known: bool
    rows: list[dict]

    def told(self, *columns: str) -> list[tuple]:
        """Some columns, row by row."""
        return [tuple(row[name] for name in columns) for row in self.rows]


@pytest.fixture
def taken(tmp_path):
    """`taken(source)` ingests into a workspace of its own."""

    def take(source: Path, workers: int = 1, where: str = "workspace", **params: object) -> Taken:
        home = tmp_path / where
        arrival = ingest(home / "batches", home / "staging", source, date(2026, 3, 2), IngestParams(**params), workers)
        shards = [home / "batches" / arrival.batch.id / shard.name for shard in arrival.batch.shards]
        rows = pa.concat_tables([parquet.read_table(shard) for shard in shards]).to_pylist()
        return Taken(arrival.batch, arrival.known, rows)

    take.batches = tmp_path / "workspace" / "batches"
    return take


@pytest.fixture(scope="session")
def picture():
    """`picture(1, 2)` is a PNG file of one row of grey levels."""

    def write(*levels: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(np.array([levels], dtype=np.uint8)).save(file, "PNG")
        return file.getvalue()

    return write
