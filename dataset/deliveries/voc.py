"""Deliveries in the layout of Pascal VOC (host.robots.ox.ac.uk/pascal/VOC, development kit of 2012, section 3).

`JPEGImages/2007_000032.jpg` with `SegmentationClass/2007_000032.png`, whose values are classes and 255 the void around
objects. Lists in `ImageSets/Segmentation/`, a name a line, say which images there are; without any, all are. Names of
classes are VOC's own, unless `classes.txt` or `classes.json` gives others, see `legends.py`.
"""

from dataset.deliveries.allowance import Tally
from dataset.deliveries.folders import files_below, item_of
from dataset.deliveries.handles import Tree
from dataset.deliveries.items import Delivery, Item, printable
from dataset.deliveries.legends import legend_in
from dataset.deliveries.mask_folders import masks_below, stem, with_masks
from dataset.deliveries.tars import stretch
from records.errors import UnreadableBatch

IMAGES, MASKS, LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
LARGEST_LIST = 64 * 2**20
CLASSES_OF_VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def from_voc(tree: Tree, tally: Tally) -> Delivery:
    """What lies in `JPEGImages/`, with what lies in `SegmentationClass/`. Raises `UnreadableBatch`."""
    legend, containers = legend_in(tree, CLASSES_OF_VOC)
    masks = masks_below(tree, MASKS, tally)
    items = [item_of(name, "", entry) for name, entry in files_below(tree, IMAGES, tally, legend.classes)]
    listed = _listed(tree, tally) if tree.holds(LISTS) else None
    if listed is not None:
        known = {stem(item.name) for item in items}
        items = [item for item in items if stem(item.name) in listed]
        items += [_missing(name) for name in listed if name not in known]
    if not items:
        where = LISTS if listed is not None else IMAGES
        raise UnreadableBatch(f"{printable(str(tree.path))} is empty: there are no images in its folder {where}.")
    return with_masks(tree, items, masks, MASKS, legend, containers)


def _listed(tree: Tree, tally: Tally) -> set[str]:
    """Names of the images that the lists name, in any of them."""
    names: set[str] = set()
    for entry in tree.entries(LISTS):
        if entry.is_file and entry.name.endswith(".txt") and not entry.name.startswith("."):
            found = _lines(tree, f"{LISTS}/{entry.name}")
            names.update(tally.rows(found, lambda name: (name,)))
    return names


def _lines(tree: Tree, name: str) -> list[str]:
    with tree.reading(name) as file:
        content = stretch(file.fileno(), 0, LARGEST_LIST + 1)
    shown = printable(f"{tree.path}/{name}")
    if len(content) > LARGEST_LIST:
        raise UnreadableBatch(
            f"{shown} has more than the {LARGEST_LIST:,} bytes that are read. Make several deliveries."
        )
    try:
        return [line.strip() for line in content.decode("utf-8-sig").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise UnreadableBatch(f"{shown} is not in UTF-8 (byte {error.start}). Save it as UTF-8.") from None


def _missing(name: str) -> Item:
    path = f"{IMAGES}/{printable(name)}.jpg"
    return Item(path, "", path, problem="missing", detail=f"{LISTS} names it, and there is no such file")
