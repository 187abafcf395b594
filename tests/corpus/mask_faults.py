"""What is wrong with how a damaged delivery of images with masks is read: for `tests/corpus/fuzz.py`.

It is refused with a sentence, or each image has a mask that is one, or a problem with a clause.
"""

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from dataset.deliveries.delivery import read_delivery
from dataset.masks import label_of_mask
from records.batch import IGNORED
from records.errors import UnreadableBatch
from tasks.ingest.examine import examined
from tasks.ingest.settings import IngestParams
from tests.corpus.mask_deliveries import Files

Rows = list[tuple[dict[str, Any], tuple[str, ...]]]

PARAMS = IngestParams()
PROBLEMS = ("mask-missing", "mask-size", "mask-mode", "mask-index", "mask-unreadable")
MOST_CHARACTERS = 1000
"""Of the sentence with which a delivery is refused, or that says what is wrong with an image."""


def fault_in_delivery(files: Files, folder: Path) -> str:
    """What is wrong with how these files are read, laid out in `folder`; empty if nothing is."""
    try:
        lay_out(files, folder)
        found = _answer(folder)
        if found != _answer(folder):
            return "the same files give different rows"
        if isinstance(found, str):
            return fault_in_sentence(found)
        return next((fault for row, classes in found if (fault := fault_in_row(row, classes))), "")
    except MemoryError:
        raise
    except Exception as error:  # it is for this that one looks
        return f"raised {type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lay_out(files: Files, folder: Path) -> None:
    """Write files by their paths; where the name of one is a folder of another, the first stays."""
    for name, content in files.items():
        path = folder / name
        if not path.is_dir() and not any(parent.is_file() for parent in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _answer(folder: Path) -> str | Rows:
    """What the images of a delivery become, or the sentence that refuses it."""
    try:
        return rows_of(folder)
    except UnreadableBatch as refused:
        return str(refused)


def rows_of(folder: Path) -> Rows:
    """The row of each image with the classes in the masks of its batch. Raises `UnreadableBatch`."""
    delivery = read_delivery(folder, PARAMS.caps)
    classes = delivery.masks.classes if delivery.masks else ()
    return [(row, classes) for part in examined(delivery, PARAMS, workers=0) for row in part.rows.to_pylist()]


def fault_in_sentence(sentence: str) -> str:
    """What is wrong with the sentence that refuses a delivery."""
    if not sentence.isprintable() or not sentence or len(sentence) > MOST_CHARACTERS:
        return f"refused with {sentence!r}"
    return ""


def fault_in_row(row: dict[str, Any], classes: tuple[str, ...]) -> str:
    """What is wrong with the row of an image, of a batch with these classes in its masks."""
    if not classes:
        return ""
    masked = row["annotation"] is not None
    if row["problem"]:
        detail = row["detail"]
        if (
            not 0 < len(detail) <= MOST_CHARACTERS
            or masked
            or row["label"]
            or row["annotation_id"]
            or row["class_pixels"]
        ):
            return f"the problem {row['problem']!r}, detail {detail!r}, label {row['label']!r}"
        return "" if row["problem"] in PROBLEMS or not row["problem"].startswith("mask") else row["problem"]
    if not masked:
        return "neither a mask nor a problem"
    return _fault_in_mask(row, classes)


def _fault_in_mask(row: dict[str, Any], classes: tuple[str, ...]) -> str:
    values = np.asarray(Pillow.open(io.BytesIO(row["annotation"])))
    counts = np.bincount(values.ravel(), minlength=256)
    if values.dtype != np.uint8 or values.shape != (row["height"], row["width"]):
        return f"a mask of {values.shape} for {row['width']} x {row['height']} pixels"
    if counts[len(classes) : IGNORED].any() or tuple(row["class_pixels"]) != tuple(counts[: len(classes)]):
        return f"values that are none, or counts {row['class_pixels']} that are not theirs"
    if row["label"] != label_of_mask(row["class_pixels"], classes) or len(row["annotation_id"]) != 32:
        return f"label {row['label']!r}, id {row['annotation_id']!r}"
    fine = 0 <= row["ignored"] <= 1 and 0 <= row["background"] <= 1
    return "" if fine else f"ignored {row['ignored']}, background {row['background']}"
