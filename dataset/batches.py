"""The batches in a folder: which there are, and what their records say. A batch is never altered."""

import re
from collections import Counter
from collections.abc import Collection
from datetime import date
from pathlib import Path

import pyarrow.compute as compute
import pyarrow.parquet as parquet

from records.batch import DAY, FEWEST, Batch
from records.errors import WrongInput

BATCH_ID = re.compile(r"\d{4}-\d{2}-\d{2}-[0-9a-f]{8}(?:[0-9a-f]{24})?")


def read_batch(batches: Path, batch_id: str) -> Batch:
    """The record of a batch. Raises `WrongInput` for what cannot be an id, `DamagedState` if it is not there."""
    if not BATCH_ID.fullmatch(batch_id):
        raise WrongInput(f"'{batch_id}' is no batch id; an id looks like 2026-01-05-3f2a9c1b.")
    return Batch.read(batches / batch_id / "batch.json")


def list_batches(batches: Path) -> tuple[str, ...]:
    """Ids of all batches, oldest first, those of one day as they arrived."""
    names = sorted(path.name for path in _folders(batches))
    several = {day for day, number in Counter(name[:DAY] for name in names).items() if number > 1}
    # Read only where the names do not tell: there may be thousands.
    numbers = {name: Batch.read(batches / name / "batch.json").number for name in names if name[:DAY] in several}
    return tuple(sorted(names, key=lambda name: (name[:DAY], numbers.get(name, 0), name)))


def find_batch(batches: Path, digest: str) -> Batch | None:
    """The batch of that content, whatever its day and however long its id."""
    for folder in sorted(batches.glob(f"*-{digest[:FEWEST]}*")):
        batch = Batch.read(folder / "batch.json")
        if batch.digest == digest:
            return batch
    return None


def count_tests(batches: Path, left_out: Collection[str], enough: int) -> int:
    """How many test images the batches hold, or `enough` if that many are found; those `left_out` do not count."""
    found = 0
    for name in list_batches(batches):
        if found >= enough:
            return enough
        for shard in read_batch(batches, name).shards if name not in left_out else ():
            splits = parquet.read_table(batches / name / shard.name, columns=["split"])["split"]
            found += compute.sum(compute.equal(splits, "test")).as_py() or 0
    return min(found, enough)


def number_of(batches: Path, arrived: date) -> int:
    """Which of its day a batch is that is written next: one more than the last that is there."""
    numbers = [Batch.read(path / "batch.json").number for path in _folders(batches, arrived.isoformat())]
    return max(numbers, default=-1) + 1


def _folders(batches: Path, day: str = "") -> list[Path]:
    """Where batches lie, in no order."""
    found = batches.glob(f"{day}*") if batches.is_dir() else ()
    return [path for path in found if BATCH_ID.fullmatch(path.name) and (path / "batch.json").is_file()]
