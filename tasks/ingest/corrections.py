"""A correction: images of a batch, released from quarantine by a person, become a new immutable batch.

Nothing of the batch that is corrected changes. Bytes and facts are copied from its shards, as they are pure functions
of what was delivered; labels are those that the person gave. It is built and put into its place as any other batch.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa

from dataset.batches import find_batch, number_of
from dataset.deliveries.items import label_problem
from dataset.masks import in_canonical_order
from dataset.rows import read_parts, read_rows
from dataset.shards import FILES, ShardWriter
from records.batch import Batch, classes_of, id_of
from records.errors import WrongInput
from tasks.ingest.renamed_masks import with_names
from tasks.ingest.staging import put_into_place, staged


@dataclass(frozen=True)
class Correction:
    """What a person decided about images of a batch."""

    labels: Mapping[int, str]
    """Row of the batch to label, for each image that is released; others stay behind."""
    replaces: bool
    """True if nothing of the batch was admitted, so that it is never to be learned itself."""
    accepted: tuple[str, ...] = ()
    """Names of checks, sorted."""
    note: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Of images with masks: old to new name of a class in them."""


def correct(
    batches: Path, staging: Path, original: Batch, correction: Correction, arrived: date, shard_bytes: int
) -> Batch:
    """Make a batch of the released images of `original`; `arrived` is the day it is filed under.

    Raises `WrongInput` if no image is released; `Unavailable` and `Busy` as `ingest` does. Nothing is left behind in
    any of these cases.
    """
    if original.annotation:
        _refuse_labels(batches, original, correction)
    if not correction.labels:
        raise WrongInput(f"No image of {original.id} would be left. To give all of them up, drop it.")
    with staged(staging) as folder:
        batch = _write(batches, folder, original, correction, arrived, shard_bytes)
        known = find_batch(batches, batch.digest)
        if known is not None and known.arrived == arrived:
            return known
        put_into_place(folder, batches / batch.id)
    return batch


def _write(
    batches: Path, folder: Path, original: Batch, correction: Correction, arrived: date, shard_bytes: int
) -> Batch:
    digest = hashlib.sha256()
    _add(digest, [original.digest, correction.replaces, *correction.accepted, *original.columns])
    writer = ShardWriter(folder, original.columns, shard_bytes, original.annotation)
    names = [correction.renamed.get(name, name) for name in original.mask_classes]
    labels: set[str] = set()
    try:
        for numbers, table in read_parts(batches, original, correction.labels):
            if not original.annotation:
                rows = _relabelled(table, [correction.labels[n] for n in numbers])
            else:
                rows = with_names(table, original.mask_classes, names) if correction.renamed else table
            for row in rows.drop_columns([name for name in FILES if name in rows.column_names]).to_pylist():
                content = row["sha256"] or row["problem"]
                mask = [row["annotation_id"], row["labelled_for"]] if original.annotation else []
                further = [row[f"user.{name}"] for name in original.columns]
                _add(digest, [row["path"], row["label"], content, *mask, *further])
                labels.add(row["label"])
            for part in rows.combine_chunks().to_batches():
                writer.add(part)
        shards = writer.finish()
    finally:
        writer.abandon()
    batch = Batch(
        id=id_of(arrived, digest.hexdigest()),
        digest=digest.hexdigest(),
        arrived=arrived,
        number=number_of(batches, arrived),
        source=original.source,
        images=len(correction.labels),
        classes=classes_of(labels, original.annotation),
        columns=original.columns,
        shards=shards,
        annotation=original.annotation,
        mask_classes=in_canonical_order(names) if original.annotation else (),
        corrects=original.id,
        replaces=correction.replaces,
        accepted=correction.accepted,
        note=correction.note,
    )
    batch.write(folder / "batch.json")
    return batch


def _refuse_labels(batches: Path, original: Batch, correction: Correction) -> None:
    """Raises `WrongInput` if an image is to get another label than its mask gives it."""
    for number, row in read_rows(batches, original, correction.labels, ["path", "label"]):
        if correction.labels[number] != row["label"]:
            raise WrongInput(
                f"{row['path']} of {original.id} has a mask, and its label says what is in it. Correct the mask and "
                "deliver the image again, or rename a class in all masks: --relabel OLD=NEW."
            )


def _relabelled(table: pa.Table, labels: list[str]) -> pa.Table:
    """The rows with these labels. What was wrong with a label goes with it; what is wrong with a file stays."""
    problems, details = [], []
    for label, problem, detail in zip(
        labels, *(table[name].to_pylist() for name in ("problem", "detail")), strict=True
    ):
        readable = not problem or problem.startswith("label")
        problem, detail = label_problem(label) if readable else (problem, detail)
        problems.append(problem)
        details.append(detail)
    for name, values in (("label", labels), ("problem", problems), ("detail", details)):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.array(values, pa.string()))
    return table


def _add(digest: "hashlib._Hash", values: Sequence[object]) -> None:
    digest.update(json.dumps(values).encode())
