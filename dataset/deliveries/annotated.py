"""Deliveries whose images come with masks: which kind a folder is.

- Mask folder: `images/`, `masks/` and a list of classes, see `mask_folders.py`.

Any other folder is one of class folders, even if one of its classes is called `images`.
"""

from collections.abc import Callable

from dataset.deliveries.allowance import Tally
from dataset.deliveries.folders import visible
from dataset.deliveries.handles import Tree
from dataset.deliveries.items import Delivery, printable
from dataset.deliveries.legends import CLASSES_JSON
from dataset.deliveries.mask_folders import IMAGES, MASKS, from_mask_folder
from dataset.deliveries.samples import CLASSES
from records.errors import UnreadableBatch

Kind = Callable[[Tree, Tally], Delivery]


def annotated_kind(tree: Tree) -> Kind | None:
    """What reads a folder whose images come with masks; None if it is no such folder. Raises `UnreadableBatch`."""
    entries = visible(tree)
    folders = {entry.name for entry in entries if entry.is_folder}
    others = {entry.name for entry in entries if not entry.is_folder}
    found: dict[str, Kind] = {}
    if {IMAGES, MASKS} <= folders and others & {CLASSES, CLASSES_JSON}:
        found[f"{MASKS}/"] = from_mask_folder
    if len(found) > 1:
        raise UnreadableBatch(
            f"{printable(str(tree.path))} holds masks in several forms: {' and '.join(found)}. Keep one of them."
        )
    return next(iter(found.values()), None)
