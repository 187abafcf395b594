import hashlib
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from dataset import shards
from dataset.facts import Facts
from dataset.shards import SHARD_SCHEMA, ShardWriter, column


def rows_of(sizes):
    """A row an image; None is one whose bytes are not kept."""
    dice = np.random.default_rng(0)
    files = [None if size is None else dice.bytes(size) for size in sizes]
    values = dict(zip(Facts._fields, zip(*(Facts(f"{n:032x}") for n in range(len(files))), strict=True), strict=True))
    values |= {"path": [f"{n}" for n in range(len(files))], "label": ["a"] * len(files), "encoded": files}
    values["split"] = ["train", "test"] * (len(files) // 2) + ["train"] * (len(files) % 2)
    arrays = [column(values[field.name], field.type) for field in SHARD_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=SHARD_SCHEMA)


def test_a_shard_has_the_columns_that_batches_of_before_have():
    """What is on disk already is read for ever: a column that is gone or has another type would be a loss."""
    columns = {field.name: str(field.type) for field in SHARD_SCHEMA}
    text = dict.fromkeys(("sha256", "problem", "detail", "format", "mode"), "string")
    assert list(columns.items())[:5] == [
        ("image", "string"), ("path", "string"), ("label", "string"), ("split", "string"), ("encoded", "binary"),
    ]  # fmt: skip
    assert {name: columns[name] for name in text} == text
    assert {name: columns[name] for name in ("bytes", "width", "height", "frames")} == {
        "bytes": "int64", "width": "int32", "height": "int32", "frames": "int32",
    }  # fmt: skip
    greys = ("brightness", "contrast", "low", "high", "entropy", "sharpness")
    assert {name: columns[name] for name in greys} == dict.fromkeys(greys, "float")
    assert columns["phash"] == "string"
    assert [field.name for field in SHARD_SCHEMA if field.nullable] == ["encoded"]


def test_every_fact_is_a_column():
    assert {"encoded", "path", "label", "split", *Facts._fields} == set(SHARD_SCHEMA.names)


@pytest.mark.parametrize("part", [1, 7, 64, 5000])
def test_how_rows_are_parted_changes_no_byte(tmp_path, part, monkeypatch):
    monkeypatch.setattr(shards, "GROUP_BYTES", 10_000)
    rows = rows_of([*[3] * 3000, *[None] * 10, *[900] * 30, 20_000, 20_000, 1])
    written = []
    for name, step in (("whole", rows.num_rows), ("parted", part)):
        folder = tmp_path / name
        folder.mkdir()
        writer = ShardWriter(folder, (), shard_bytes=30_000)
        for start in range(0, rows.num_rows, step):
            writer.add(rows.slice(start, step))
        written.append((writer.finish(), [path.read_bytes() for path in sorted(folder.iterdir())]))
    assert written[0] == written[1]
    first, contents = written[0]
    assert [shard.sha256 for shard in first] == [hashlib.sha256(content).hexdigest() for content in contents]
    groups = [parquet.ParquetFile(io.BytesIO(content)).metadata for content in contents]
    sizes = [of.row_group(n).num_rows for of in groups for n in range(of.num_row_groups)]
    # 2,048 rows; 952 and 10 more, and 8 of 900 bytes; 12 of them; the last 10 and a large one; a large one; the last.
    assert sizes == [2048, 970, 12, 11, 1, 1]


@pytest.mark.parametrize(
    ("values", "type"),
    [
        (["", "a", "Käse", "日本語"], pa.string()),
        ([], pa.string()),
        ([b"", None, b"\0\1", None, None, b"x", b"y", b"z", None, b"more"], pa.binary()),
        ([-1, 2**31 - 1], pa.int32()),
        ([0, 2**40], pa.int64()),
        ([0.1, 3.5], pa.float32()),
    ],
)
def test_a_column_is_that_of_pyarrow(values, type):
    made = column(values, type)
    made.validate(full=True)
    assert made.equals(pa.array(values, type))
