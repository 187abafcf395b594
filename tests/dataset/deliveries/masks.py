"""Deliveries of images with masks, made by hand, for the tests of each format."""

import io
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
from PIL import Image as Pillow

from records.batch import Batch
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams

Rows = Sequence[Sequence[int]]


def picture(seed: int = 0, height: int = 3, width: int = 4) -> bytes:
    """A PNG file of coloured noise."""
    return png(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png(values: Any, mode: str | None = None, **options: Any) -> bytes:
    """A PNG file of these values, grey or coloured; `mode` "P" gives it a palette."""
    image = Pillow.fromarray(np.asarray(values, dtype=getattr(values, "dtype", np.uint8)))
    if mode == "P":
        image.putpalette([level for index in range(256) for level in (index, 255 - index, index // 2)])
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def lay_out(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    """Files by their path."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def taken(source: Path, home: Path, params: IngestParams | None = None) -> tuple[Batch, list[dict[str, Any]]]:
    """The batch that a delivery becomes, and its rows."""
    params = params or IngestParams()
    batch = ingest(home / "batches", home / "staging", source, date(2026, 1, 5), params).batch
    shards = [parquet.read_table(home / "batches" / batch.id / shard.name) for shard in batch.shards]
    return batch, [row for shard in shards for row in shard.to_pylist()]


def values_of(row: Mapping[str, Any]) -> list[list[int]]:
    """The mask that a row keeps."""
    values: list[list[int]] = np.asarray(Pillow.open(io.BytesIO(row["annotation"]))).tolist()
    return values
