"""What a report shows besides words: thumbnails of the images it names, and how the classes fared.

Only images that the page shows are decoded. Small ones go in as they are, enlarged by whoever looks; photographs are
scaled down to JPEG. An image with a mask is shown under it; one whose mask is no good, alone. All pictures of a page
together stay below `MOST_BYTES`.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from dataset.archive import ADMITTED
from dataset.batches import read_batch
from dataset.images import decode
from dataset.rows import Row, read_rows
from records.batch import BACKGROUND, IGNORED, Batch, classes_in
from records.errors import RetainError
from records.experience import Report
from records.formatting import plain
from reports.quarantine.overlay import PALETTE, UNKNOWN, overlaid
from reports.quarantine.page import UNKNOWN_NAME, ClassCount, Picture, ReportData, shown_violations
from tasks.workspace.local_data import facts_of
from tasks.workspace.workspace import Workspace

SIDE = 256
"""Longer side of a photograph's thumbnail in pixels: sharp on paper and on screens of twice the density."""
AS_IT_IS = 96
"""Up to this longer side an image is shown pixel by pixel."""
QUALITY = 72
NO_MASK = "no usable mask"
"""What stands for the class of such an image."""
MOST_BYTES = 1_500_000
"""Of all thumbnails of a page; in the page they take a third more."""


def data(workspace: Workspace, report: Report) -> ReportData:
    """All that the page on a report shows."""
    batch = read_batch(workspace.batches, report.batch)
    return ReportData(
        pictures=pictures(workspace, report),
        classes=class_counts(_by_class(facts_of(workspace, report.batch, ("label", "split")), batch), report),
        corrects=batch.corrects,
        accepted=batch.accepted,
        note=batch.note,
    )


def pictures(workspace: Workspace, report: Report) -> dict[str, Picture]:
    """`<batch>#<row>` to picture, for the images that the page shows and their counterparts."""
    wanted: dict[str, None] = {}
    for violation in shown_violations(report):
        wanted |= dict.fromkeys((f"{report.batch}#{violation.row}", violation.like))
    found = {name: (batch, rows) for name, rows in _by_batch(wanted).items() if (batch := _read(workspace, name))}
    colours = _colours(batch for batch, _ in found.values())
    made: dict[str, Picture] = {}
    for batch, rows in found.values():
        made |= _of_batch(workspace, batch, rows, colours)
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


def _by_class(facts: pd.DataFrame, batch: Batch) -> pd.DataFrame:
    """A row for each image and class that its mask shows."""
    if not batch.annotation:
        return facts
    return facts.assign(label=facts["label"].replace("", NO_MASK).map(classes_in)).explode("label")


def _read(workspace: Workspace, batch_id: str) -> Batch | None:
    try:
        return read_batch(workspace.batches, batch_id)
    except RetainError:
        return None  # An earlier batch may have left the archive since.


def _colours(batches: Iterable[Batch]) -> dict[str, str]:
    """Class to colour: the same in every picture of a page."""
    names = sorted({name for batch in batches for name in batch.mask_classes} - {BACKGROUND})
    return dict(zip(names, cycle(PALETTE), strict=False))


def _of_batch(workspace: Workspace, batch: Batch, rows: list[int], colours: Mapping[str, str]) -> dict[str, Picture]:
    columns = ("encoded", "problem", "label", "path", *(("annotation",) if batch.annotation else ()))
    images = read_rows(workspace.batches, batch, rows, columns)
    return {f"{batch.id}#{number}": _picture(row, batch.mask_classes, colours) for number, row in images}


def _picture(row: Row, mask_classes: Sequence[str], colours: Mapping[str, str]) -> Picture:
    intact = not row["problem"] or row["problem"].startswith(("label", "mask-"))
    if row["encoded"] is None or not intact:
        return Picture(row["label"], row["path"])
    if row.get("annotation") is None:
        return Picture(row["label"] or (NO_MASK if mask_classes else ""), row["path"], thumbnail(row["encoded"]))
    values = np.asarray(Image.open(io.BytesIO(row["annotation"])))
    seen = {name: colours[name] for name in classes_in(row["label"]) if name != BACKGROUND}
    unknown = {UNKNOWN_NAME: UNKNOWN} if (values == IGNORED).any() else {}
    by_value = tuple(colours.get(name, UNKNOWN) for name in mask_classes)
    picture = masked_thumbnail(row["encoded"], values, by_value)
    return Picture(row["label"], row["path"], picture, {**seen, **unknown})


def thumbnail(encoded: bytes) -> bytes:
    """A small PNG or JPEG of an image's file, which must be decodable."""
    picture = _decoded(encoded)
    if max(picture.size) <= AS_IT_IS:
        return _written(picture, "PNG")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2)
    return _written(picture, "JPEG", quality=QUALITY)


def masked_thumbnail(encoded: bytes, values: NDArray[np.uint8], colours: tuple[str, ...]) -> bytes:
    """The same under its mask; `values` [height, width] of the image's size, and each one's colour. A small image is
    enlarged, so that outlines are finer than its pixels."""
    picture = _decoded(encoded)
    small = max(picture.size) <= AS_IT_IS
    if small:
        times = max(1, SIDE // max(picture.size))
        picture = picture.resize((times * picture.width, times * picture.height), Image.Resampling.NEAREST)
    else:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2)
    mask = Image.fromarray(values).resize(picture.size, Image.Resampling.NEAREST)
    drawn = overlaid(picture, np.asarray(mask), colours)
    # Without halved colours, or outlines are smeared.
    return _written(drawn, "PNG") if small else _written(drawn, "JPEG", quality=QUALITY, subsampling=0)


def _decoded(encoded: bytes) -> Image.Image:
    pixels = decode(encoded, ADMITTED).pixels
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _written(picture: Image.Image, format: str, **options: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()
