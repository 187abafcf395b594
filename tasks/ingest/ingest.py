"""Ingest: a delivery of new images becomes an immutable batch, named by its content.

Images pass by once, in the order of their paths: each file is opened once, hashed, decoded and looked at, and its bytes
and facts go into a shard. Other processes do this, part by part, since a decoder may crash. What is held in memory does
not grow with the batch. A batch is built in a staging folder and moved into place when it is whole, so a kill at any
point leaves no half batch. The same content on the same day gives the same bytes in every file; on another day it is
found by its digest and nothing is written.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from datetime import date
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet
from pydantic import Field, model_validator

from dataset.decoding.codecs import BadImage
from dataset.deliveries.allowance import USUAL, Caps
from dataset.deliveries.delivery import LONGEST_LABEL, Delivery, Item, label_problem, read_delivery
from dataset.deliveries.handles import Root
from dataset.deliveries.reading import Reader, close_kept
from dataset.facts import Facts, facts_of
from dataset.images import SHARD_SCHEMA, ImageLimits
from dataset.processes import Limits, affordable, guarded, in_order, one_by_one
from dataset.shards import ShardWriter, column, shard_schema
from dataset.split import split_of
from records.batch import DAY, FEWEST, Arrival, Batch, Shard, id_of
from records.errors import Unavailable, UnreadableBatch, WrongInput
from records.formatting import plain
from records.record import Record
from records.registration import Beginning
from tasks.ingest.readiness import is_folder
from tasks.ingest.staging import put_into_place, staged

Progress = Callable[[int, int], None]

BATCH_ID = re.compile(r"\d{4}-\d{2}-\d{2}-[0-9a-f]{8}(?:[0-9a-f]{24})?")
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


class Examined(NamedTuple):
    """Some images of a delivery."""

    rows: pa.RecordBatch
    """Columns as in `shard_schema`, less the split."""
    identity: bytes
    """What the batch's digest is made of."""
    crashed: tuple[str, ...] = ()
    """Paths of those at which their decoder failed."""


class IngestParams(Record):
    """Section `ingest` of params.yaml."""

    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of all images that are only ever used to test; of the first deliveries more, see `enough_test_images`."""
    enough_test_images: int = Field(default=300, ge=0)
    """As long as earlier batches hold fewer test images, up to half of a delivery is for tests: a verdict on few is
    none. 0: `test_share` from the beginning."""
    min_test_images: int = Field(default=200, ge=0)
    """Test images that a first version waits for: with fewer, those that follow could be compared with it only by
    chance. Until then deliveries wait for each other, and are learned together. 0: it waits for none."""
    validation_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of all images that are kept for choosing settings."""
    max_pixels: int = Field(default=50_000_000, ge=1)
    """Images with more pixels, by their header, are not decoded."""
    max_bytes: int = Field(default=64 * 2**20, ge=1, le=2**30)
    """Larger files are not read."""
    image_seconds: float = Field(default=10, ge=1, le=3600)
    """Processor time that one image may take; more ends the process at work on it, and the image is refused."""
    image_memory: int = Field(default=2**30, ge=2**27)
    """Bytes that one image may take while it is decoded. Fewer processes decode at a time where all would not fit."""
    max_rows: int = Field(default=USUAL.rows, ge=1)
    """Of a delivery, or files. What goes beyond this, or one of the five that follow, is not taken as a whole."""
    max_columns: int = Field(default=USUAL.columns, ge=2)
    """Of a manifest, or of a Parquet file; each becomes a column of every shard."""
    max_row_text: int = Field(default=USUAL.row_text, ge=1)
    """Bytes of text that a row may take: its path, its label, its further columns, and 8 bytes for each of them."""
    max_text: int = Field(default=USUAL.text, ge=1)
    """Bytes of text that all rows together may take."""
    max_missing: int = Field(default=USUAL.missing, ge=0)
    """Rows that may name what is not there, must not be read, or was named before: each is told of in a report."""
    max_expansion: float = Field(default=USUAL.expansion, ge=1)
    """So many times as many bytes as its files have a delivery's images may have, in all its rows."""
    max_crashes: int = Field(default=20, ge=0)
    """A delivery with more images at which their decoder fails, or goes beyond these two, is not taken."""
    settle_seconds: float = Field(default=10, ge=0, le=3600)
    """A delivery in the inbox is taken once nothing in it has changed for so long, or once it is marked; 0: at once."""
    shard_bytes: int = Field(default=128 * 2**20, ge=1)
    """A shard ends with the row group that reaches this size."""

    @property
    def caps(self) -> Caps:
        """What a delivery may hold."""
        return Caps(
            self.max_rows, self.max_columns, self.max_row_text, self.max_text, self.max_missing, self.max_expansion
        )

    @model_validator(mode="after")
    def _leaves_images_to_learn(self) -> "IngestParams":
        if self.test_share + self.validation_share >= 1:
            raise ValueError("test_share and validation_share together must be less than 1")
        return self

    def share_of_tests(self, images: int, held: int) -> float:
        """The share of a delivery of so many images that is for tests; `held`: test images of earlier batches."""
        most = (1 - self.validation_share) / 2
        return max(self.test_share, min((self.enough_test_images - held) / images, most))

    def beginning(self, batches: int, tests: int) -> Beginning | None:
        """What a first version still waits for if so many batches hold so many test images; None if for nothing."""
        missing = self.min_test_images - tests
        if missing <= 0:
            return None
        more = math.ceil(missing / self.share_of_tests(missing, tests))
        return Beginning(batches=batches, tests=tests, wanted=self.min_test_images, more=more)


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
        number, tell = number_of(batches, arrived), progress or (lambda done, total: None)
        batch = _write(delivery, folder, arrived, params, workers, tell, key, number)
        known = find_batch(batches, batch.digest)
        if known is None:
            put_into_place(folder, batches / batch.id)
    return Arrival(batch=known or batch, known=known is not None, delivery=delivery.name)


def listed(source: Path, caps: Caps) -> Delivery:
    """What `read_delivery` gives, from another process: libraries that read a stranger's file may crash, too.

    Raises `UnreadableBatch` also for what that process does not survive.
    """
    return guarded(partial(read_delivery, caps=caps), source, _unlisted, _limits_of_listing(source))


def read_batch(batches: Path, batch_id: str) -> Batch:
    """The record of a batch. Raises `WrongInput` for what cannot be an id, `DamagedState` if it is not there."""
    if not BATCH_ID.fullmatch(batch_id):
        raise WrongInput(f"'{batch_id}' is no batch id; an id looks like 2026-01-05-3f2a9c1b.")
    return Batch.read(batches / batch_id / "batch.json")


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


def list_batches(batches: Path) -> tuple[str, ...]:
    """Ids of all batches, oldest first, those of one day as they arrived."""
    names = sorted(path.name for path in _folders(batches))
    several = {day for day, number in Counter(name[:DAY] for name in names).items() if number > 1}
    # Read only where the names do not tell: there may be thousands.
    numbers = {name: Batch.read(batches / name / "batch.json").number for name in names if name[:DAY] in several}
    return tuple(sorted(names, key=lambda name: (name[:DAY], numbers.get(name, 0), name)))


def _folders(batches: Path, day: str = "") -> list[Path]:
    """Where batches lie, in no order."""
    found = batches.glob(f"{day}*") if batches.is_dir() else ()
    return [path for path in found if BATCH_ID.fullmatch(path.name) and (path / "batch.json").is_file()]


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


def find_batch(batches: Path, digest: str) -> Batch | None:
    """The batch of that content, whatever its day and however long its id."""
    for folder in sorted(batches.glob(f"*-{digest[:FEWEST]}*")):
        batch = Batch.read(folder / "batch.json")
        if batch.digest == digest:
            return batch
    return None


def number_of(batches: Path, arrived: date) -> int:
    """Which of its day a batch is that is written next: one more than the last that is there."""
    there = [Batch.read(path / "batch.json").number for path in _folders(batches, arrived.isoformat())]
    return max(there, default=-1) + 1


def _examined(delivery: Delivery, params: IngestParams, workers: int) -> Generator[Examined, None, None]:
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


def _examine(folder: Root, columns: Sequence[str], params: IngestParams, items: Sequence[Item]) -> Examined:
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
    examine: Callable[[Sequence[Item]], Examined],
    columns: Sequence[str],
    params: IngestParams,
    items: Sequence[Item],
    why: str,
) -> Examined:
    """What a part holds at which its process failed: each image is examined alone, and fails alone if it does again.

    `why` the part did is not told: each image has its own reason.
    """

    def crashed(alone: Sequence[Item], why: str) -> Examined:
        # Its bytes are left out: nobody who reads the batch later on shall stumble over them.
        found = [_unread(item, BadImage("crash", f"its decoder {why}")) for item in alone]
        part = _examined_part(alone, found, [None] * len(alone), columns)
        return part._replace(crashed=tuple(item.path for item in alone))

    parts = list(one_by_one(examine, [[item] for item in items], crashed, _limits(params)))
    rows = pa.concat_batches([part.rows for part in parts])
    return Examined(
        rows, b"".join(part.identity for part in parts), tuple(path for part in parts for path in part.crashed)
    )


def _examined_part(
    items: Sequence[Item], found: Sequence[Facts], encoded: Sequence[bytes | None], columns: Sequence[str]
) -> Examined:
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
    return Examined(pa.RecordBatch.from_arrays(arrays, schema=schema), identity)
