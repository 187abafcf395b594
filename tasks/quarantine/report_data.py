"""What a report shows besides words: thumbnails of the images it names, and how the classes fared.

Only images that the page shows are decoded. Small ones go in as they are, enlarged by whoever looks; photographs are
scaled down to JPEG. All pictures of a page together stay below `MOST_BYTES`.
"""

import io
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd
from PIL import Image

from dataset.archive import ADMITTED
from dataset.batches import read_batch
from dataset.images import decode
from dataset.rows import Row, read_rows
from records.errors import RetainError
from records.experience import Report
from records.formatting import plain
from reports.quarantine.page import ClassCount, Picture, ReportData, shown_violations
from tasks.workspace.local_data import facts_of
from tasks.workspace.workspace import Workspace

SIDE = 256
"""Longer side of a photograph's thumbnail in pixels: sharp on paper and on screens of twice the density."""
AS_IT_IS = 96
"""Up to this longer side an image is shown pixel by pixel."""
QUALITY = 72
MOST_BYTES = 1_500_000
"""Of all thumbnails of a page; in the page they take a third more."""


def data(workspace: Workspace, report: Report) -> ReportData:
    """All that the page on a report shows."""
    batch = read_batch(workspace.batches, report.batch)
    return ReportData(
        pictures=pictures(workspace, report),
        classes=class_counts(facts_of(workspace, report.batch, ("label", "split")), report),
        corrects=batch.corrects,
        accepted=batch.accepted,
        note=batch.note,
    )


def pictures(workspace: Workspace, report: Report) -> dict[str, Picture]:
    """`<batch>#<row>` to picture, for the images that the page shows and their counterparts."""
    wanted: dict[str, None] = {}
    for violation in shown_violations(report):
        wanted |= dict.fromkeys((f"{report.batch}#{violation.row}", violation.like))
    made: dict[str, Picture] = {}
    for batch, rows in _by_batch(wanted).items():
        made |= _of_batch(workspace, batch, rows)
    # The first of every reason come first; for what is too much, words must do.
    room = MOST_BYTES
    for name in filter(made.__contains__, wanted):
        room -= len(made[name].thumbnail)
        if room < 0:
            made[name] = replace(made[name], thumbnail=b"")
    return made


def class_counts(facts: pd.DataFrame, report: Report) -> tuple[ClassCount, ...]:
    """How many images of each class were delivered, refused and left; largest class first. `facts`: label and split."""
    table = facts.assign(
        refused=facts.index.isin(list(report.faulty_rows())), good=~facts.index.isin(list(report.refused_rows()))
    )
    for split in ("train", "validation", "test"):
        table[split] = table["good"] & (table["split"] == split)
    numbers = ["good", "refused", "train", "validation", "test"]
    counts = table.groupby("label")[numbers].sum().assign(images=table.groupby("label").size())
    counts = counts.sort_values("images", ascending=False, kind="stable")
    return tuple(
        ClassCount(
            label=plain(str(label)),
            images=int(row["images"]),
            admitted=int(row["good"]),
            refused=int(row["refused"]),
            train=int(row["train"]),
            validation=int(row["validation"]),
            test=int(row["test"]),
        )
        for label, row in counts.iterrows()
    )


def _by_batch(names: Iterable[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for name in names:
        batch, _, row = name.rpartition("#")
        if batch and row.isdecimal():
            rows.setdefault(batch, []).append(int(row))
    return rows


def _of_batch(workspace: Workspace, batch_id: str, rows: list[int]) -> dict[str, Picture]:
    try:
        batch = read_batch(workspace.batches, batch_id)
    except RetainError:
        return {}  # An earlier batch may have left the archive since.
    images = read_rows(workspace.batches, batch, rows, ("encoded", "problem", "label", "path"))
    return {f"{batch_id}#{number}": _picture(row) for number, row in images}


def _picture(row: Row) -> Picture:
    decodable = row["encoded"] is not None and (not row["problem"] or row["problem"].startswith("label"))
    return Picture(row["label"], row["path"], thumbnail(row["encoded"]) if decodable else b"")


def thumbnail(encoded: bytes) -> bytes:
    """A small PNG or JPEG of an image's file, which must be decodable."""
    pixels = decode(encoded, ADMITTED).pixels
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    out = io.BytesIO()
    if max(picture.size) <= AS_IT_IS:
        picture.save(out, "PNG")
        return out.getvalue()
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2)
    picture.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
