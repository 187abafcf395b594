"""Deliveries whose images come with masks: which kind a folder is.

- Mask folder: `images/`, `masks/` and a list of classes, see `mask_folders.py`.
- COCO: `images/` and `annotations.json`, or one other JSON file, see `coco.py`.
- Pascal VOC: `JPEGImages/` and `SegmentationClass/`, see `voc.py`.

Any other folder is one of class folders, even if one of its classes is called `images`; but see `near_misses.py`.
"""

import re
from collections.abc import Callable, Collection
from functools import partial

from dataset.deliveries import voc
from dataset.deliveries.allowance import Tally
from dataset.deliveries.coco import ANNOTATIONS, from_coco
from dataset.deliveries.folders import visible
from dataset.deliveries.handles import Tree
from dataset.deliveries.items import Delivery, printable
from dataset.deliveries.legends import CLASSES_JSON, LABELLED_FOR
from dataset.deliveries.mask_folders import IMAGES, MASKS, from_mask_folder
from dataset.deliveries.near_misses import refuse_near_misses
from dataset.deliveries.samples import CLASSES
from records.errors import UnreadableBatch

Kind = Callable[[Tree, Tally], Delivery]


def annotated_kind(tree: Tree) -> Kind | None:
    """What reads a folder whose images come with masks; None if it is no such folder. Raises `UnreadableBatch`."""
    entries = visible(tree)
    folders = {entry.name for entry in entries if entry.is_folder}
    others = {entry.name for entry in entries if not entry.is_folder}
    shown = printable(str(tree.path))
    if IMAGES in folders or voc.IMAGES in folders:
        _refuse_misspelled(others, shown)
    found: dict[str, Kind] = {}
    if {voc.IMAGES, voc.MASKS} <= folders:
        found[f"{voc.MASKS}/"] = voc.from_voc
    if {IMAGES, MASKS} <= folders and others & {CLASSES, CLASSES_JSON}:
        found[f"{MASKS}/"] = from_mask_folder
    if IMAGES in folders and (ANNOTATIONS in others or not found):
        found |= {printable(name): partial(from_coco, name) for name in _one_json(others, shown)}
    if len(found) > 1:
        raise UnreadableBatch(f"{shown} holds masks in several forms: {' and '.join(found)}. Keep one of them.")
    if not found:
        refuse_near_misses(tree, folders)
    return next(iter(found.values()), None)


def _refuse_misspelled(names: Collection[str], shown: str) -> None:
    """What is nearly called `labelled_for.txt` is not read, and then every class would count as looked for."""
    for name in sorted(names):
        spelled = re.sub(r"[^a-z]", "", name.lower().rpartition(".")[0] or name.lower())
        if name != LABELLED_FOR and spelled in ("labelledfor", "labeledfor"):
            raise UnreadableBatch(
                f"{printable(name)} in {shown} is meant as {LABELLED_FOR}: rename it, a class a line."
            )


def _one_json(names: Collection[str], shown: str) -> list[str]:
    """The file that holds the annotations, if there is one."""
    if ANNOTATIONS in names:
        return [ANNOTATIONS]
    found = sorted(name for name in names if name.lower().endswith(".json") and name != CLASSES_JSON)
    if len(found) > 1:
        raise UnreadableBatch(
            f"{shown} holds {len(found)} JSON files beside {IMAGES}/. Call the one with the annotations {ANNOTATIONS}, "
            "or make a delivery of each."
        )
    return found
