"""Ingest: a folder or manifest of new images becomes an immutable batch, named by its content.

Images pass by once, in the order of their paths: each file is opened once, hashed, decoded and looked at, and its bytes
and facts go into a shard. What is held in memory does not grow with the batch. A batch is built in a staging folder and
moved into place when it is whole, so a kill at any point leaves no half batch. The same content on the same day
gives the same bytes in every file; on another day it is found by its digest and nothing is written.
"""

import hashlib
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

from pydantic import Field, model_validator

from models.codecs import BadImage
from models.images import Facts, ImageLimits, facts, split_of
from records.batch import Arrival, Batch, Shard
from records.errors import WrongInput
from records.record import Record
from tasks.intake.deliveries import Delivery, Item, label_problem, read_bytes, read_delivery
from tasks.intake.processes import in_order
from tasks.intake.shards import Row, ShardWriter
from tasks.intake.staging import put_into_place, staged

Progress = Callable[[int, int], None]

BATCH_ID = re.compile(r"\d{4}-\d{2}-\d{2}-[0-9a-f]{8}")
PART_ITEMS = 64
PART_BYTES = 8 * 2**20
"""A part of a delivery that one process examines at a time ends with the file that reaches one of these."""
POOL_FROM = 2_000
"""With fewer files, starting processes takes longer than they save."""


class IngestParams(Record):
    """Section `ingest` of params.yaml."""

    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of all images that are only ever used to test."""
    validation_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of all images that are kept for choosing settings."""
    max_pixels: int = Field(default=50_000_000, ge=1)
    """Images with more pixels, by their header, are not decoded."""
    max_bytes: int = Field(default=64 * 2**20, ge=1, le=2**30)
    """Larger files are not read."""
    shard_bytes: int = Field(default=128 * 2**20, ge=1)
    """A shard ends with the row group that reaches this size."""

    @model_validator(mode="after")
    def _leaves_images_to_learn(self) -> "IngestParams":
        if self.test_share + self.validation_share >= 1:
            raise ValueError("test_share and validation_share together must be less than 1")
        return self


def ingest(
    batches: Path,
    staging: Path,
    source: Path,
    arrived: date,
    params: IngestParams,
    workers: int = 1,
    progress: Progress | None = None,
) -> Arrival:
    """Make a batch of a folder or manifest below `batches`, or find the batch that has the same content already.

    `staging` lies on the same file system as `batches`. `workers` is the number of processes for large deliveries.
    `progress` is told how many images of how many are done. The source is only read.

    Raises `UnreadableBatch` if the delivery is none; `Unavailable` if it cannot be written, as on a full disk; `Busy`
    if another process has been ingesting for an hour. Nothing is left behind in any of these cases.
    """
    delivery = read_delivery(source)
    with staged(staging) as folder:
        batch = _write(delivery, folder, arrived, params, workers, progress or (lambda done, total: None))
        known = _find(batches, batch.digest)
        if known is None:
            put_into_place(folder, batches / batch.id)
    return Arrival(batch=known or batch, known=known is not None)


def read_batch(batches: Path, batch_id: str) -> Batch:
    """The record of a batch. Raises `WrongInput` for what cannot be an id, `DamagedState` if it is not there."""
    if not BATCH_ID.fullmatch(batch_id):
        raise WrongInput(f"'{batch_id}' is no batch id; an id looks like 2026-01-05-3f2a9c1b.")
    return Batch.read(batches / batch_id / "batch.json")


def list_batches(batches: Path) -> tuple[str, ...]:
    """Ids of all batches, oldest first."""
    if not batches.is_dir():
        return ()
    return tuple(
        sorted(p.name for p in batches.iterdir() if BATCH_ID.fullmatch(p.name) and (p / "batch.json").is_file())
    )


def _write(
    delivery: Delivery, folder: Path, arrived: date, params: IngestParams, workers: int, progress: Progress
) -> Batch:
    writer = ShardWriter(folder, delivery.columns, params.shard_bytes)
    digest = hashlib.sha256()
    _add_texts(digest, delivery.columns)
    try:
        with closing(_rows(delivery, params, workers)) as parts:
            done = 0
            for part in parts:
                for row in part:
                    _add_texts(digest, _identity(row, delivery.columns))
                    writer.add(row)
                done += len(part)
                progress(done, len(delivery.items))
        shards = writer.finish()
    finally:
        writer.abandon()
    batch = _batch(delivery, arrived, digest.hexdigest(), shards)
    batch.write(folder / "batch.json")
    return batch


def _batch(delivery: Delivery, arrived: date, digest: str, shards: tuple[Shard, ...]) -> Batch:
    return Batch(
        id=f"{arrived.isoformat()}-{digest[:8]}",
        digest=digest,
        arrived=arrived,
        source=delivery.name,
        images=len(delivery.items),
        classes=tuple(sorted({item.label for item in delivery.items if item.label})),
        columns=delivery.columns,
        shards=shards,
    )


def _identity(row: Row, columns: Sequence[str]) -> tuple[str, ...]:
    """What makes an image of a batch the same image: not what was found out about it."""
    # Bytes that were not read count by the reason and by their number, the best that is known of them.
    content = row["sha256"] or row["problem"]
    return (row["path"], row["label"], *(row[f"user.{name}"] for name in columns), content, str(row["bytes"]))


def _add_texts(digest: "hashlib._Hash", texts: Sequence[str]) -> None:
    # Lengths in front, so that no two different lists give the same bytes.
    digest.update(f"{len(texts)}:".encode())
    for text in texts:
        encoded = text.encode()
        digest.update(f"{len(encoded)}:".encode() + encoded)


def _find(batches: Path, digest: str) -> Batch | None:
    for folder in sorted(batches.glob(f"*-{digest[:8]}")):
        batch = Batch.read(folder / "batch.json")
        if batch.digest == digest:
            return batch
    return None


def _rows(delivery: Delivery, params: IngestParams, workers: int) -> Generator[list[Row], None, None]:
    """The rows of a delivery in its order, part by part."""
    examine = partial(_examine, delivery.folder, delivery.columns, params)
    if workers > 1 and len(delivery.items) > POOL_FROM:
        return in_order(examine, _parts(delivery.items), workers)
    return (examine(part) for part in _parts(delivery.items))


def _parts(items: Sequence[Item]) -> Iterator[list[Item]]:
    part: list[Item] = []
    size = 0
    for item in items:
        part.append(item)
        size += item.bytes
        if len(part) == PART_ITEMS or size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _examine(folder: Path, columns: Sequence[str], params: IngestParams, items: list[Item]) -> list[Row]:
    """The rows of some items, columns as in `shard_schema(columns)`. It never raises because of an image."""
    return [_row(folder, columns, params, item) for item in items]


def _row(folder: Path, columns: Sequence[str], params: IngestParams, item: Item) -> Row:
    encoded, found = _read(folder, params, item)
    further = {f"user.{name}": value for name, value in zip(columns, item.columns, strict=True)}
    split = split_of(found.image, params.test_share, params.validation_share)
    return {**vars(found), **further, "path": item.path, "label": item.label, "split": split, "encoded": encoded}


def _read(folder: Path, params: IngestParams, item: Item) -> tuple[bytes | None, Facts]:
    try:
        encoded = read_bytes(folder, item, params.max_bytes)
    except BadImage as bad:
        # No bytes to name it by: the path, so that two missing files are not taken for the same image.
        image = hashlib.sha256(item.path.encode()).hexdigest()[:32]
        return None, Facts(image=image, bytes=item.bytes, problem=bad.problem, detail=bad.detail)
    found = facts(encoded, ImageLimits(max_pixels=params.max_pixels))
    problem, detail = label_problem(item.label)
    return encoded, replace(found, problem=problem, detail=detail) if problem and not found.problem else found
