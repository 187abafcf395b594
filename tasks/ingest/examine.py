"""The images of a delivery, each read, decoded and looked at once, in processes that may crash.

A part of a delivery goes to one process at a time. If that process ends over it, each image of the part is examined
alone, and fails alone if it does again.
"""

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from dataset.decoding.formats import BadImage
from dataset.deliveries.handles import Root
from dataset.deliveries.items import LONGEST_LABEL, Delivery, Item, label_problem
from dataset.deliveries.reading import Reader
from dataset.facts import Facts, facts_of
from dataset.images import ImageLimits
from dataset.masks import MaskFacts, MaskFormat
from dataset.processes import Limits, affordable, in_order, one_by_one
from dataset.shards import SHARD_SCHEMA, column, shard_schema
from tasks.ingest.masks import Mask, masks_of, unknown_mask
from tasks.ingest.settings import IngestParams

SPLIT = SHARD_SCHEMA.get_field_index("split")
PART_ITEMS = 256
PART_BYTES = 8 * 2**20
"""A part of a delivery that one process examines at a time ends with the file that reaches one of these."""
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


class Layout(NamedTuple):
    """What the rows of a delivery hold besides what those of all do."""

    columns: tuple[str, ...]
    masks: MaskFormat | None


def examined(delivery: Delivery, params: IngestParams, workers: int) -> Generator[ExaminedPart, None, None]:
    """What a delivery holds, in its order, part by part."""
    examine = partial(_examine, delivery.folder, Layout(delivery.columns, delivery.masks), params)
    if workers == 0:
        return (examine(part) for part in _parts(delivery.items))
    alone = partial(_examine_alone, examine, Layout(delivery.columns, delivery.masks), params)
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
        size += item.bytes + (item.mask.bytes if item.mask else 0)
        if len(part) == PART_ITEMS or size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _examine(folder: Root, layout: Layout, params: IngestParams, items: Sequence[Item]) -> ExaminedPart:
    """Read, decode and look at some items. It never raises because of an image."""
    with Reader(folder, params.max_bytes) as reader:
        contents = [_read(reader, item) for item in items]
        seen = iter(facts_of([c for c in contents if isinstance(c, bytes)], ImageLimits(max_pixels=params.max_pixels)))
        # The label of an image with a mask is not what somebody wrote.
        labels = {label: ("", "") if layout.masks else label_problem(label) for label in {item.label for item in items}}
        found = [
            _labelled(next(seen), item, *labels[item.label]) if isinstance(content, bytes) else _unread(item, content)
            for item, content in zip(items, contents, strict=True)
        ]
        masks = masks_of(items, found, reader, layout.masks, params.max_pixels) if layout.masks else None
    encoded = [content if isinstance(content, bytes) else None for content in contents]
    return _examined_part(items, found, encoded, layout, masks)


def _read(reader: Reader, item: Item) -> bytes | BadImage:
    try:
        return reader.read(item)
    except BadImage as bad:
        return bad


def _labelled(found: Facts, item: Item, problem: str, detail: str) -> Facts:
    """A problem of the label is reported only of an image that is intact: first what the delivery's reader found."""
    if item.problem:
        problem, detail = item.problem, item.detail
    return found._replace(problem=problem, detail=detail) if problem and not found.problem else found


def _unread(item: Item, bad: BadImage) -> Facts:
    # No bytes to name it by: the path, so that two missing files are not taken for the same image.
    image = hashlib.sha256(item.path.encode()).hexdigest()[:32]
    return Facts(image=image, bytes=item.bytes, problem=bad.problem, detail=bad.detail)


def _examine_alone(
    examine: Callable[[Sequence[Item]], ExaminedPart],
    layout: Layout,
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
        masks = [unknown_mask(item) for item in alone] if layout.masks else None
        part = _examined_part(alone, found, [None] * len(alone), layout, masks)
        return part._replace(crashed=tuple(item.path for item in alone))

    parts = list(one_by_one(examine, [[item] for item in items], crashed, _limits(params)))
    rows = pa.concat_batches([part.rows for part in parts])
    return ExaminedPart(
        rows, b"".join(part.identity for part in parts), tuple(path for part in parts for path in part.crashed)
    )


def _examined_part(
    items: Sequence[Item],
    found: Sequence[Facts],
    encoded: Sequence[bytes | None],
    layout: Layout,
    masks: Sequence[Mask] | None,
) -> ExaminedPart:
    if masks is not None:
        found = [one.judged(facts) for one, facts in zip(masks, found, strict=True)]
    values: dict[str, Sequence[object]] = dict(zip(Facts._fields, zip(*found, strict=True), strict=True))
    further = zip(*(item.columns for item in items), strict=True)
    values |= {f"user.{name}": column for name, column in zip(layout.columns, further, strict=True)}
    # What is longer names no class and no file. A table compresses it to nothing, and whoever reads the batch would
    # hold it once a row.
    values |= {
        "path": [cut(item.path, LONGEST_PATH) for item in items],
        "label": [cut(item.label, LONGEST_LABEL) for item in items],
        "encoded": encoded,
    }
    identities = [_identity(item, facts) for item, facts in zip(items, found, strict=True)]
    if masks is not None:
        known = zip(*(one.facts for one in masks), strict=True)
        values |= {"label": [one.label for one in masks], **dict(zip(MaskFacts._fields, known, strict=True))}
        identities = [(*texts, *one.identity) for texts, one in zip(identities, masks, strict=True)]
    schema = shard_schema(layout.columns, "mask" if layout.masks else "").remove(SPLIT)
    arrays = [column(values[field.name], field.type) for field in schema]
    rows = pa.RecordBatch.from_arrays(arrays, schema=schema)
    return ExaminedPart(rows, b"".join(map(framed, identities)))


def cut(text: str, most: int) -> str:
    """A text that is kept: if it is longer than `most` characters, so many of them and an ellipsis. So it stays too
    long for whoever asks again."""
    return text if len(text) <= most else f"{text[:most]}…"


def _identity(item: Item, found: Facts) -> tuple[str, ...]:
    """What makes an image of a batch the same image: not what was found out about it."""
    # Bytes that were not read count by the reason and by their number, the best that is known of them.
    content = found.sha256 or found.problem
    return item.path, item.label, *item.columns, content, str(found.bytes)


def framed(texts: Sequence[str]) -> bytes:
    """Texts with their lengths in front, so that no two different lists give the same bytes."""
    encoded = [text.encode() for text in texts]
    return b"%d:" % len(texts) + b"".join([b"%d:%b" % (len(text), text) for text in encoded])
