"""A correction is a batch like any other, made of the shards of the one that it corrects."""

import hashlib
from datetime import date

import pyarrow.parquet as parquet
import pytest

from dataset.batches import list_batches, read_batch
from dataset.rows import read_rows
from records.errors import WrongInput
from tasks.ingest.corrections import Correction, correct
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams

DAY = date(2026, 3, 9)
ROWS = (("b.png", "bad/label", "12"), ("a.png", "cat", "7"), ("gone.png", "cat", ""), ("c.png", "", "9"))


@pytest.fixture
def original(tmp_path, deliver):
    """A batch of a manifest with a further column: a slash in a label, a missing file, an empty label."""
    folder = deliver(tmp_path / "in", {"bar": 3}) / "bar"
    for name, file in zip(("a.png", "b.png", "c.png"), sorted(folder.iterdir()), strict=True):
        file.rename(tmp_path / "in" / name)
    folder.rmdir()
    lines = "".join(f"{path},{label},{age}\n" for path, label, age in ROWS)
    (tmp_path / "in" / "manifest.csv").write_text(f"path,label,age\n{lines}")
    return ingest(tmp_path / "data", tmp_path / "staging", tmp_path / "in", date(2026, 3, 2), IngestParams()).batch


@pytest.fixture
def make(tmp_path, original):
    def run(labels, day=DAY, shard_bytes=2**20, **values):
        correction = Correction(labels, replaces=values.pop("replaces", True), **values)
        return correct(tmp_path / "data", tmp_path / "staging", original, correction, day, shard_bytes)

    return run


def rows_of(folder, batch):
    return [row for shard in batch.shards for row in parquet.read_table(folder / batch.id / shard.name).to_pylist()]


def test_rows_are_copied_and_labels_are_those_given(tmp_path, original, make):
    made = make({0: "cat", 1: "dog", 2: "", 3: "cat"})
    before, after = rows_of(tmp_path / "data", original), rows_of(tmp_path / "data", made)
    assert [row["path"] for row in after] == ["a.png", "b.png", "c.png", "gone.png"]
    assert [row["label"] for row in after] == ["cat", "dog", "", "cat"]
    # What was wrong with a label goes with it; what is wrong with the file or the label stays.
    assert [row["problem"] for row in before] == ["", "label-slash", "label-empty", "missing"]
    assert [row["problem"] for row in after] == ["", "", "label-empty", "missing"]
    changed = ("label", "problem", "detail")
    assert [{k: v for k, v in row.items() if k not in changed} for row in before] == [
        {k: v for k, v in row.items() if k not in changed} for row in after
    ]
    assert (made.classes, made.columns, made.images, made.corrects) == (("cat", "dog"), ("age",), 4, original.id)


def test_the_record_fits_the_files(tmp_path, make):
    made = make({0: "cat", 3: "cat"}, note="by ada: seen")
    assert read_batch(tmp_path / "data", made.id) == made
    (shard,) = made.shards
    content = (tmp_path / "data" / made.id / shard.name).read_bytes()
    assert (shard.rows, shard.bytes, shard.sha256) == (2, len(content), hashlib.sha256(content).hexdigest())
    assert made.id == f"{DAY}-{made.digest[:32]}"
    assert not (tmp_path / "staging" / "batch").exists()


def test_the_same_correction_is_the_same_batch_and_another_one_is_not(tmp_path, original, make):
    labels = {0: "cat", 1: "cat"}
    made = make(labels)
    assert make(labels) == made
    others = [
        make(labels, accepted=("dark",)),
        make(labels, replaces=False),
        make({0: "cat"}),
        make({0: "cat", 1: "d"}),
    ]
    assert len({original.digest, made.digest, *(other.digest for other in others)}) == 6
    assert len(list_batches(tmp_path / "data")) == 6


def test_nothing_is_no_batch(tmp_path, original, make):
    with pytest.raises(WrongInput, match=f"No image of {original.id} would be left. To give all of them up, drop it."):
        make({})
    assert list_batches(tmp_path / "data") == (original.id,)


def test_rows_are_read_one_by_one_from_any_shard(tmp_path, deliver):
    params = IngestParams(shard_bytes=1)
    folder = deliver(tmp_path / "many", {"bar": 2100}, side=8)
    batch = ingest(tmp_path / "batches", tmp_path / "staging", folder, DAY, params).batch
    assert [shard.rows for shard in batch.shards] == [2048, 52]
    wanted = (2099, 3, 2047, 2048, 3)
    found = dict(read_rows(tmp_path / "batches", batch, wanted, ("path",)))
    assert found == {row: {"path": f"bar/{row:04d}.png"} for row in (3, 2047, 2048, 2099)}
