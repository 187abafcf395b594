"""Deliveries whose images stand in files: tars of samples, and Parquet files.

An image within a file is called `<file>#<member>` or `<file>#<row, six digits>`; if the delivery is that one file, its
name is left out, so that the same content under another name is the same content.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from dataset.deliveries.allowance import Tally, is_sparse
from dataset.deliveries.handles import Tree
from dataset.deliveries.items import REPEATED, Container, Delivery, Item, in_order, label_of, printable
from dataset.deliveries.samples import CLASSES, Sample, read_classes, read_samples
from dataset.deliveries.tables import TableLayout, read_layout, read_pictures
from records.errors import UnreadableBatch

ROW_DIGITS = 6
MOST_COLUMNS = 100
"""Different keys in the .json files of a delivery; more would be a column for each image."""


def from_tars(tree: Tree, source: Path, shards: Sequence[Path], tally: Tally) -> Delivery:
    """`source` is the one shard, or the folder of all, which is `tree`."""
    found: list[tuple[Path, Sample]] = []
    keys: set[str] = set()
    containers: list[Container] = []
    classes: tuple[str, ...] = ()
    if source not in shards and tree.holds(CLASSES):
        with tree.reading(CLASSES) as file:
            containers.append(Container.of(file, CLASSES))
            classes = read_classes(file.fileno(), printable(str(source / CLASSES)))
    for shard in shards:
        unread: set[str] = set()
        with tree.reading(shard.name) as file:
            _admit(file, shard, tally)
            samples = read_samples(file.fileno(), classes, printable(str(shard)), unread)
            for sample in tally.rows(samples, lambda sample: (sample.name, sample.label, *sample.columns.values())):
                found.append((shard, sample))
                keys.update(map(printable, sample.columns))
                if len(keys) > MOST_COLUMNS:
                    raise UnreadableBatch(
                        f"The .json files in {printable(str(source))} have more than {MOST_COLUMNS} different keys. "
                        "Keep those that say something of every image."
                    )
            containers.append(Container.of(file, shard.name, unread))
    if not found:
        raise UnreadableBatch(f"{printable(str(source))} is empty: it holds no samples.")
    columns = tuple(sorted(keys))
    items = [_of_sample(sample, shard, _called(source, shard), columns) for shard, sample in found]
    return Delivery(printable(source.name), tree.root(), in_order(items), columns, tuple(containers))


def _admit(file: IO[bytes], shard: Path, tally: Tally) -> None:
    """Count a file with images in it."""
    if is_sparse(file.fileno()):
        raise UnreadableBatch(f"{printable(str(shard))} is nearly all holes (a sparse file). Copy it from its source.")
    tally.file(os.fstat(file.fileno()))


def _of_sample(sample: Sample, shard: Path, called: str, columns: Sequence[str]) -> Item:
    values = {printable(key): printable(value) for key, value in sample.columns.items()}
    return Item(
        path=called + printable(sample.name), label=label_of(printable(sample.label)), name=shard.name,
        bytes=sample.bytes, problem=sample.problem, detail=printable(sample.detail),
        columns=tuple(values.get(column, "") for column in columns), inside=sample.offset,
    )  # fmt: skip


def from_tables(tree: Tree, source: Path, shards: Sequence[Path], tally: Tally) -> Delivery:
    """`source` is the one file, or the folder of all, which is `tree`."""
    items: list[Item] = []
    containers: list[Container] = []
    first: TableLayout | None = None
    places: dict[tuple[str, str], str] = {}
    for shard in shards:
        shown = printable(str(shard))
        with tree.reading(shard.name) as file:
            _admit(file, shard, tally)
            layout = read_layout(file, shown, tally)
            first = first or layout
            if replace(layout, names={}, left_out=()) != replace(first, names={}, left_out=()):
                raise UnreadableBatch(f"{shown} has other columns than {shards[0].name}. Make two deliveries of them.")
            found = read_pictures(file, layout, shown)
            pictures = list(tally.rows(found, lambda picture: (picture.label, *picture.columns)))
            containers.append(Container.of(file, shard.name, layout.left_out))
        # As many digits as it takes for the order of the paths to be that of the rows, which are read forwards.
        digits = max(ROW_DIGITS, len(str(len(pictures))))
        for number, picture in enumerate(pictures):
            path = f"{_called(source, shard) or '#'}{number:0{digits}d}"
            item = Item(
                path, label_of(picture.label), shard.name, picture.bytes, picture.problem, picture.detail,
                picture.columns, picture.cell,
            )  # fmt: skip
            items.append(once(item, (picture.digest, item.label), places))
    if first is None or not items:
        raise UnreadableBatch(f"{printable(str(source))} is empty: its files have no rows.")
    return _without_empty_path(
        Delivery(printable(source.name), tree.root(), in_order(items), first.columns, tuple(containers))
    )


def once(item: Item, key: tuple[str, str], places: dict[tuple[str, str], str]) -> Item:
    """The item; `REPEATED` if one of the same `key`, its image and its label, is in `places` already."""
    if item.problem:
        return item
    if key in places:
        return item._replace(bytes=0, problem=REPEATED, detail=f"the same image and label as {places[key]}")
    places[key] = item.path
    return item


def _without_empty_path(delivery: Delivery) -> Delivery:
    """Many writers leave the path of every image empty; that is no column."""
    *others, last = delivery.columns or ("",)
    if not last.endswith(".path") or any(item.columns[-1] for item in delivery.items):
        return delivery
    items = tuple(item._replace(columns=item.columns[:-1]) for item in delivery.items)
    return replace(delivery, items=items, columns=tuple(others))


def _called(source: Path, shard: Path) -> str:
    """What stands before the name of an image within a shard."""
    return "" if shard == source else f"{printable(shard.name)}#"
