"""Folders that are nearly a delivery of images with masks, and would be taken for class folders called `images`.

A class may have any name, so it takes two traces of such a delivery: names of folders, and what lies in them.
"""

from collections.abc import Collection

from dataset.deliveries import voc
from dataset.deliveries.coco import ANNOTATIONS
from dataset.deliveries.folders import visible
from dataset.deliveries.handles import Tree
from dataset.deliveries.items import printable
from dataset.deliveries.legends import CLASSES_JSON
from dataset.deliveries.mask_folders import IMAGES, MASKS
from dataset.deliveries.samples import CLASSES
from records.errors import UnreadableBatch

PAIRS = ((IMAGES, MASKS), (voc.IMAGES, voc.MASKS))


def refuse_near_misses(tree: Tree, folders: Collection[str]) -> None:
    """Raise `UnreadableBatch` if these folders, all of a delivery's, are nearly one with masks."""
    shown = printable(str(tree.path))
    for name in sorted(folders):
        if name.lower() == "annotations" and len(folders) > 1:
            _refuse_json_folder(tree, name, shown)
        _refuse_one_level_down(tree, name, shown)
    for images, masks in PAIRS:
        found = sorted(folders, key=lambda name: name.lower() != images.lower())
        if [name.lower() for name in found] == [images.lower(), masks.lower()]:
            _refuse_same_names(tree, found, (images, masks), shown)


def _refuse_json_folder(tree: Tree, name: str, shown: str) -> None:
    files = sorted(entry.name for entry in visible(tree, name))
    if files and all(file.lower().endswith(".json") for file in files):
        raise UnreadableBatch(
            f"{shown} looks like COCO's own layout: '{name}' holds nothing but JSON files. Call the folder of the "
            f"images {IMAGES}, and move {printable(files[0])[:100]}{' or another one' if files[1:] else ''} beside it "
            f"as {ANNOTATIONS}."
        )


def _refuse_one_level_down(tree: Tree, name: str, shown: str) -> None:
    def holds(*names: str) -> bool:
        return all(tree.holds(f"{name}/{one}") for one in names)

    of_masks = holds(IMAGES, MASKS) and (holds(CLASSES) or holds(CLASSES_JSON))
    if of_masks or holds(IMAGES, ANNOTATIONS) or holds(voc.IMAGES, voc.MASKS):
        raise UnreadableBatch(
            f"'{printable(name)}' in {shown} holds images with masks, one folder too deep. Deliver that folder itself."
        )


def _refuse_same_names(tree: Tree, found: list[str], wanted: tuple[str, str], shown: str) -> None:
    of_images, of_masks = ({_stem(entry.name) for entry in visible(tree, name)} for name in found)
    if of_masks and of_images and (of_masks <= of_images or of_images <= of_masks):
        listed = f", and write the names of the classes into {CLASSES} beside them, the first for index 0"
        raise UnreadableBatch(
            f"{shown} looks like images with masks: what lies in '{found[0]}' and '{found[1]}' has the same names. "
            f"Call the folders {wanted[0]} and {wanted[1]}{listed if wanted[1] == MASKS else ''}. If these are two "
            "classes, add a manifest.csv with the columns path and label."
        )


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name
