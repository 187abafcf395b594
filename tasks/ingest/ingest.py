"""Ingest: a delivery of new images becomes an immutable batch, named by its content.

Images pass by once, in the order of their paths: each file is opened once, hashed, decoded and looked at, and its bytes
and facts go into a shard. Other processes do this, part by part, since a decoder may crash. What is held in memory does
not grow with the batch. A batch is built in a staging folder and moved into place when it is whole, so a kill at any
point leaves no half batch. The same content on the same day gives the same bytes in every file; on another day it is
found by its digest and nothing is written.
"""

import hashlib
from collections.abc import Collection, Sequence
from contextlib import closing
from datetime import date
from functools import partial
from pathlib import Path

import pyarrow as pa

from dataset.batches import find_batch, number_of
from dataset.deliveries.allowance import Caps
from dataset.deliveries.delivery import read_delivery
from dataset.deliveries.items import Delivery
from dataset.deliveries.reading import close_kept
from dataset.processes import Limits, guarded
from dataset.shards import SHARD_SCHEMA, ShardWriter, column
from dataset.split import split_of
from records.batch import Arrival, Batch, Shard, classes_of, id_of
from records.errors import Unavailable, UnreadableBatch
from records.formatting import plain
from records.pace import Progress
from tasks.ingest.examine import SPLIT, examined, framed
from tasks.ingest.readiness import is_folder
from tasks.ingest.settings import IngestParams
from tasks.ingest.staging import put_into_place, staged

LISTING_MEMORY = 2 * 2**30
"""Bytes that the list of a delivery may take; a million images take half a gigabyte."""
LISTING_SECONDS, MOST_LISTING_SECONDS = 120, 3600
"""Processor time for that, least and most."""
LISTED_BYTES = 16 * 2**20
"""For so many bytes directly in a delivery it may take a second more."""


def ingest(
    batches: Path,
    staging: Path,
    source: Path,
    arrived: date,
    params: IngestParams,
    workers: int = 0,
    progress: Progress | None = None,
    key: str = "",
    held: int | None = None,
) -> Arrival:
    """Make a batch of a delivery below `batches`, or find the batch that has the same content already.

    `staging` lies on the same file system as `batches`. `workers` is the number of processes that examine images, each
    within limits; with 0 this one does, without any, and an image that crashes its decoder ends it. `progress` is told
    how many images of how many are done. `key` is the workspace's, see `split_of`; `held` is how many test images
    earlier batches hold, see `share_of_tests`, None if they are enough whatever their number. The source is only read.

    Raises `UnreadableBatch` if the delivery is none; `Unavailable` if it cannot be written, as on a full disk; `Busy`
    if another process has been ingesting for an hour. Nothing is left behind in any of these cases.
    """
    delivery = listed(source, params.caps) if workers else read_delivery(source, params.caps)
    return ingest_delivery(batches, staging, delivery, arrived, params, workers, progress, key, held)


def ingest_delivery(
    batches: Path,
    staging: Path,
    delivery: Delivery,
    arrived: date,
    params: IngestParams,
    workers: int = 0,
    progress: Progress | None = None,
    key: str = "",
    held: int | None = None,
) -> Arrival:
    """The same of a delivery that was listed already."""
    if held is not None:
        params = params.model_copy(update={"test_share": params.share_of_tests(len(delivery.items), held)})
    try:
        return _ingest(batches, staging, delivery, arrived, params, workers, progress, key)
    except Unavailable as error:
        raise Unavailable(f"{error} Nothing of {plain(delivery.name)} was taken.") from error


def _ingest(
    batches: Path,
    staging: Path,
    delivery: Delivery,
    arrived: date,
    params: IngestParams,
    workers: int,
    progress: Progress | None,
    key: str,
) -> Arrival:
    with staged(staging) as folder:
        number, report_progress = number_of(batches, arrived), progress or (lambda done, total: None)
        batch = _write(delivery, folder, arrived, params, workers, report_progress, key, number)
        known = find_batch(batches, batch.digest)
        if known is None:
            put_into_place(folder, batches / batch.id)
    return Arrival(batch=known or batch, known=known is not None, delivery=delivery.name)


def listed(source: Path, caps: Caps) -> Delivery:
    """What `read_delivery` gives, from another process: libraries that read a stranger's file may crash, too.

    Raises `UnreadableBatch` also for what that process does not survive.
    """
    return guarded(partial(read_delivery, caps=caps), source, _unlisted, _limits_of_listing(source))


def _unlisted(source: Path, why: str) -> Delivery:
    raise UnreadableBatch(
        f"{plain(str(source))} cannot be read: the process that lists it {why}. Write it again from its source, make "
        "several deliveries of it, or take it away."
    )


def _limits_of_listing(source: Path) -> Limits:
    """Files with images in them are gone through once, whole."""
    try:
        files = [source, *(source.iterdir() if is_folder(source) else ())]
        size = sum(file.lstat().st_size for file in files)
    except OSError:
        size = 0  # Whoever lists it says what is wrong.
    return Limits(LISTING_MEMORY, min(MOST_LISTING_SECONDS, LISTING_SECONDS + size / LISTED_BYTES))


def _write(
    delivery: Delivery,
    folder: Path,
    arrived: date,
    params: IngestParams,
    workers: int,
    progress: Progress,
    key: str,
    number: int,
) -> Batch:
    writer = ShardWriter(folder, delivery.columns, params.shard_bytes, delivery.annotation)
    digest = hashlib.sha256()
    digest.update(framed(delivery.columns))
    if delivery.masks:
        digest.update(framed((delivery.annotation, *delivery.masks.classes)))
    labels: set[str] = set()
    try:
        with closing(examined(delivery, params, workers)) as parts:
            done = 0
            crashed: list[str] = []
            for part in parts:
                crashed += part.crashed
                _refuse_crashing(delivery, crashed, params.max_crashes)
                digest.update(part.identity)
                labels.update(part.rows["label"].to_pylist())
                writer.add(_split(part.rows, params, key))
                done += part.rows.num_rows
                progress(done, len(delivery.items))
        shards = writer.finish()
    finally:
        writer.abandon()
        close_kept()
    batch = _batch(delivery, labels, arrived, digest.hexdigest(), shards, number)
    batch.write(folder / "batch.json")
    return batch


def _refuse_crashing(delivery: Delivery, crashed: Sequence[str], most: int) -> None:
    if len(crashed) > most:
        raise UnreadableBatch(
            f"{len(crashed)} images of {delivery.name} crash their decoder, or take more time or memory than is "
            f"allowed, the first of them {crashed[0]}; no more than {most} may (ingest.max_crashes). Take them out."
        )


def _split(rows: pa.RecordBatch, params: IngestParams, key: str) -> pa.RecordBatch:
    """With the split of each image. Here and not where images are examined: a decoder need not know the key."""
    images = rows["image"].to_pylist()
    splits = [split_of(image, params.test_share, params.validation_share, key) for image in images]
    return rows.add_column(SPLIT, SHARD_SCHEMA.field(SPLIT), column(splits, pa.string()))


def _batch(
    delivery: Delivery, labels: Collection[str], arrived: date, digest: str, shards: tuple[Shard, ...], number: int
) -> Batch:
    return Batch(
        id=id_of(arrived, digest),
        digest=digest,
        arrived=arrived,
        number=number,
        source=delivery.name,
        images=len(delivery.items),
        classes=classes_of(labels, delivery.annotation),
        columns=delivery.columns,
        shards=shards,
        annotation=delivery.annotation,
        mask_classes=delivery.masks.classes if delivery.masks else (),
    )
