"""Masks whose classes get other names: what is kept and known of each is made anew, as if it had been delivered so."""

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image as Pillow

from dataset.masks import MaskFacts, Values, in_canonical_order, label_of_mask, looked_for, mask_facts
from records.batch import IGNORED, classes_in

CHANGED = ("label", *MaskFacts._fields)


def with_names(table: pa.Table, old: Sequence[str], new: Sequence[str]) -> pa.Table:
    """The rows of a batch with masks in which `old[i]` is called `new[i]`; what gets one name becomes one class."""
    classes = in_canonical_order(new)
    means = np.full(IGNORED + 1, IGNORED, np.uint8)
    means[: len(new)] = [classes.index(name) for name in new]
    called = dict(zip(old, new, strict=True))
    rows = [_renamed(row, means, called, classes) for row in table.select(CHANGED).to_pylist()]
    for name in CHANGED:
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        table = table.set_column(at, field, pa.array([row[name] for row in rows], field.type))
    return table


def _renamed(
    row: Mapping[str, Any], means: Values, called: Mapping[str, str], classes: Sequence[str]
) -> Mapping[str, Any]:
    labelled_for = _looked_for(classes_in(row["labelled_for"]), called, classes) if row["labelled_for"] else ""
    if row["annotation"] is None:
        return {**row, "labelled_for": labelled_for}
    values = means[np.asarray(Pillow.open(io.BytesIO(row["annotation"])))]
    facts = mask_facts(values, classes, labelled_for)
    return {"label": label_of_mask(facts.class_pixels, classes), **facts._asdict()}


def _looked_for(wanted: Collection[str], called: Mapping[str, str], classes: Sequence[str]) -> str:
    """A class was looked for only if every class that becomes it was."""
    missed = {new for old, new in called.items() if old not in wanted}
    return looked_for([name for name in classes if name not in missed], classes)
