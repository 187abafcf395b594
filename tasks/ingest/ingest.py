"""Ingest: a delivery of new images becomes an immutable batch, named by its content.

Images pass by once, in the order of their paths: each file is opened once, hashed, decoded and looked at, and its bytes
and facts go into a shard. Other processes do this, part by part, since a decoder may crash. What is held in memory does
not grow with the batch. A batch is built in a staging folder and moved into place when it is whole, so a kill at any
point leaves no half batch. The same content on the same day gives the same bytes in every file; on another day it is
found by its digest and nothing is written.
"""

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from datetime import date
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from dataset.batches import find_batch, number_of
from dataset.decoding.codecs import BadImage
from dataset.deliveries.allowance import Caps
from dataset.deliveries.delivery import LONGEST_LABEL, Delivery, Item, label_problem, read_delivery
from dataset.deliveries.handles import Root
from dataset.deliveries.reading import Reader, close_kept
from dataset.facts import Facts, facts_of
from dataset.images import ImageLimits
from dataset.processes import Limits, affordable, guarded, in_order, one_by_one
from dataset.shards import SHARD_SCHEMA, ShardWriter, column, shard_schema
from dataset.split import split_of
from records.batch import Arrival, Batch, Shard, id_of
from records.errors import Unavailable, UnreadableBatch
from records.formatting import plain
from records.pace import Progress
from tasks.ingest.readiness import is_folder
from tasks.ingest.settings import IngestParams
from tasks.ingest.staging import put_into_place, staged

SPLIT = SHARD_SCHEMA.get_field_index("split")
PART_ITEMS = 256
PART_BYTES = 8 * 2**20
"""A part of a delivery that one process examines at a time ends with the file that reaches one of these."""


LISTING_MEMORY = 2 * 2**30
"""Bytes that the list of a delivery may take; a million images take half a gigabyte."""
LISTING_SECONDS, MOST_LISTING_SECONDS = 120, 3600
"""Processor time for that, least and most."""
LISTED_BYTES = 16 * 2**20
"""For so many bytes directly in a delivery it may take a second more."""

LONGEST_PATH = 4096
"""Characters; no file has a longer one, so a row with a longer one names none."""


class ExaminedPart(NamedTuple):
    """Some images of a delivery."""

    rows: pa.RecordBatch
    """Columns as in `shard_schema`, less the split."""
    identity: bytes
    """What the batch's digest is made of."""
    crashed: tuple[str, ...] = ()
    """Paths of those at which their decoder failed."""


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
    writer = ShardWriter(folder, delivery.columns, params.shard_bytes)
    digest = hashlib.sha256()
    digest.update(_framed(delivery.columns))
    try:
        with closing(_examined(delivery, params, workers)) as parts:
            done = 0
            crashed: list[str] = []
            for part in parts:
                crashed += part.crashed
                _refuse_crashing(delivery, crashed, params.max_crashes)
                digest.update(part.identity)
                writer.add(_split(part.rows, params, key))
                done += part.rows.num_rows
                progress(done, len(delivery.items))
        shards = writer.finish()
    finally:
        writer.abandon()
        close_kept()
    batch = _batch(delivery, arrived, digest.hexdigest(), shards, number)
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


def _batch(delivery: Delivery, arrived: date, digest: str, shards: tuple[Shard, ...], number: int) -> Batch:
    return Batch(
        id=id_of(arrived, digest),
        digest=digest,
        arrived=arrived,
        number=number,
        source=delivery.name,
        images=len(delivery.items),
        classes=tuple(sorted({cut(item.label, LONGEST_LABEL) for item in delivery.items if item.label})),
        columns=delivery.columns,
        shards=shards,
    )


def cut(text: str, most: int) -> str:
    """A text that is kept: if it is longer than `most` characters, so many of them and an ellipsis. So it stays too
    long for whoever asks again."""
    return text if len(text) <= most else f"{text[:most]}…"


def _identity(item: Item, found: Facts) -> bytes:
    """What makes an image of a batch the same image: not what was found out about it."""
    # Bytes that were not read count by the reason and by their number, the best that is known of them.
    content = found.sha256 or found.problem
    return _framed((item.path, item.label, *item.columns, content, str(found.bytes)))


def _framed(texts: Sequence[str]) -> bytes:
    """Texts with their lengths in front, so that no two different lists give the same bytes."""
    encoded = [text.encode() for text in texts]
    return b"%d:" % len(texts) + b"".join([b"%d:%b" % (len(text), text) for text in encoded])


def _examined(delivery: Delivery, params: IngestParams, workers: int) -> Generator[ExaminedPart, None, None]:
    """What a delivery holds, in its order, part by part."""
    examine = partial(_examine, delivery.folder, delivery.columns, params)
    if workers == 0:
        return (examine(part) for part in _parts(delivery.items))
    alone = partial(_examine_alone, examine, delivery.columns, params)
    limits = _limits(params)
    return in_order(examine, _parts(delivery.items), affordable(workers, limits), alone, limits)


def _limits(params: IngestParams) -> Limits:
    # Of a whole part as well: it takes less than a second, and if one image spoils it, each is looked at alone.
    return Limits(params.image_memory, params.image_seconds)


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


def _examine(folder: Root, columns: Sequence[str], params: IngestParams, items: Sequence[Item]) -> ExaminedPart:
    """Read, decode and look at some items. It never raises because of an image."""
    contents = _read(folder, items, params.max_bytes)
    seen = iter(facts_of([c for c in contents if isinstance(c, bytes)], ImageLimits(max_pixels=params.max_pixels)))
    labels = {label: label_problem(label) for label in {item.label for item in items}}
    found = [
        _labelled(next(seen), item, *labels[item.label]) if isinstance(content, bytes) else _unread(item, content)
        for item, content in zip(items, contents, strict=True)
    ]
    encoded = [content if isinstance(content, bytes) else None for content in contents]
    return _examined_part(items, found, encoded, columns)


def _read(folder: Root, items: Sequence[Item], max_bytes: int) -> list[bytes | BadImage]:
    contents: list[bytes | BadImage] = []
    with Reader(folder, max_bytes) as reader:
        for item in items:
            try:
                contents.append(reader.read(item))
            except BadImage as bad:
                contents.append(bad)
    return contents


def _labelled(found: Facts, item: Item, problem: str, detail: str) -> Facts:
    """What is wrong with the label is told of an image that is whole: first what the delivery's reader found."""
    if item.problem:
        problem, detail = item.problem, item.detail
    return found._replace(problem=problem, detail=detail) if problem and not found.problem else found


def _unread(item: Item, bad: BadImage) -> Facts:
    # No bytes to name it by: the path, so that two missing files are not taken for the same image.
    image = hashlib.sha256(item.path.encode()).hexdigest()[:32]
    return Facts(image=image, bytes=item.bytes, problem=bad.problem, detail=bad.detail)


def _examine_alone(
    examine: Callable[[Sequence[Item]], ExaminedPart],
    columns: Sequence[str],
    params: IngestParams,
    items: Sequence[Item],
    why: str,
) -> ExaminedPart:
    """What a part holds at which its process failed: each image is examined alone, and fails alone if it does again.

    `why` the part did is not told: each image has its own reason.
    """

    def crashed(alone: Sequence[Item], why: str) -> ExaminedPart:
        # Its bytes are left out: nobody who reads the batch later on shall stumble over them.
        found = [_unread(item, BadImage("crash", f"its decoder {why}")) for item in alone]
        part = _examined_part(alone, found, [None] * len(alone), columns)
        return part._replace(crashed=tuple(item.path for item in alone))

    parts = list(one_by_one(examine, [[item] for item in items], crashed, _limits(params)))
    rows = pa.concat_batches([part.rows for part in parts])
    return ExaminedPart(
        rows, b"".join(part.identity for part in parts), tuple(path for part in parts for path in part.crashed)
    )


def _examined_part(
    items: Sequence[Item], found: Sequence[Facts], encoded: Sequence[bytes | None], columns: Sequence[str]
) -> ExaminedPart:
    values: dict[str, Sequence[object]] = dict(zip(Facts._fields, zip(*found, strict=True), strict=True))
    further = zip(*(item.columns for item in items), strict=True)
    values |= {f"user.{name}": column for name, column in zip(columns, further, strict=True)}
    # What is longer names no class and no file. A table compresses it to nothing, and whoever reads the batch would
    # hold it once a row.
    values |= {
        "path": [cut(item.path, LONGEST_PATH) for item in items],
        "label": [cut(item.label, LONGEST_LABEL) for item in items],
        "encoded": encoded,
    }
    schema = shard_schema(columns).remove(SPLIT)
    arrays = [column(values[field.name], field.type) for field in schema]
    identity = b"".join(map(_identity, items, found))
    return ExaminedPart(pa.RecordBatch.from_arrays(arrays, schema=schema), identity)
