"""Masks as files for a person to mend: a folder of images with masks, as it can be delivered again."""

from collections.abc import Sequence
from pathlib import Path

from dataset.deliveries.legends import LABELLED_FOR
from dataset.deliveries.mask_folders import MASKS
from dataset.deliveries.samples import CLASSES
from records.batch import BACKGROUND, classes_in

OF_MASKS = ("annotation", "labelled_for")
"""Columns that are read for it."""


def write_mask(folder: Path, stem: str, annotation: bytes | None) -> None:
    """A grey PNG file whose values are lines of `classes.txt`, from 0; none where no mask could be used."""
    if annotation is not None:
        (folder / MASKS).mkdir(exist_ok=True)
        (folder / MASKS / f"{stem}.png").write_bytes(annotation)


def write_legend(folder: Path, mask_classes: Sequence[str], labelled_for: Sequence[str]) -> None:
    """What the values mean, and what was looked for in every image (`labelled_for` of each), if that is not all."""
    (folder / MASKS).mkdir(exist_ok=True)
    (folder / CLASSES).write_text("\n".join([*mask_classes, ""]), encoding="utf-8")
    wanted = set(mask_classes).intersection(*(classes_in(text) for text in labelled_for if text))
    if wanted != set(mask_classes):
        names = sorted(wanted - {BACKGROUND}) or [BACKGROUND]
        (folder / LABELLED_FOR).write_text("\n".join([*names, ""]), encoding="utf-8")
