"""Deliveries of images with a mask file each: `images/street/1.jpg` with `masks/street/1.png`.

Image and mask have the same name up to the suffix, and lie equally deep. What the values mean is in `classes.txt` or
`classes.json` beside the folders, see `legends.py`. A mask of no image becomes nothing, and is kept.
"""

from collections.abc import Mapping, Sequence

from dataset.deliveries.allowance import Tally
from dataset.deliveries.folders import files_below, item_of
from dataset.deliveries.handles import Tree
from dataset.deliveries.items import Container, Delivery, Item, in_order, printable, seen
from dataset.deliveries.legends import Legend, legend_in
from dataset.deliveries.mask_files import MaskFiles
from records.errors import UnreadableBatch

IMAGES, MASKS = "images", "masks"

Masks = Mapping[str, Sequence[tuple[Item, Container]]]
"""Mask files by their names within their folder, without suffix."""


def from_mask_folder(tree: Tree, tally: Tally) -> Delivery:
    """What lies in `images/`, with what lies in `masks/`. Raises `UnreadableBatch`."""
    legend, containers = legend_in(tree)
    masks = masks_below(tree, MASKS, tally)
    found = files_below(tree, IMAGES, tally, legend.classes)
    items = [item_of(name, "", entry) for name, entry in found]
    if not items:
        raise UnreadableBatch(f"{printable(str(tree.path))} is empty: there are no images in its folder {IMAGES}.")
    return with_masks(tree, items, masks, MASKS, legend, containers)


def with_masks(
    tree: Tree, items: Sequence[Item], masks: Masks, folder: str, legend: Legend, containers: Sequence[Container]
) -> Delivery:
    """A delivery of these images, each with the mask of its name in `folder`."""
    masked = [with_mask(item, masks, folder)._replace(labelled_for=legend.labelled_for) for item in items]
    return Delivery(
        printable(tree.path.name),
        tree.root(),
        in_order(masked),
        containers=(*containers, *mask_containers(masks, masked)),
        masks=MaskFiles(legend),
    )


def masks_below(tree: Tree, folder: str, tally: Tally) -> Masks:
    """The mask files in a folder, however deep they lie."""
    masks: dict[str, list[tuple[Item, Container]]] = {}
    for name, entry in files_below(tree, folder, tally):
        masks.setdefault(stem(name), []).append((item_of(name, "", entry), Container(name, seen(entry.status))))
    return masks


def with_mask(item: Item, masks: Masks, folder: str) -> Item:
    """An image with the mask of its name."""
    found = masks.get(stem(item.name), ())
    if len(found) == 1:
        return item._replace(mask=found[0][0])
    called = printable(stem(item.name))
    if not found:
        missing = Item(f"{folder}/{called}.png", "", "", problem="missing", detail="there is no mask of this name")
        return item._replace(mask=missing)
    names = ", ".join(mask.path for mask, _ in found[:3])
    return item._replace(mask=Item(names, "", "", problem="several", detail=f"{len(found)} masks have this name"))


def mask_containers(masks: Masks, items: Sequence[Item]) -> list[Container]:
    """What may be removed once the batch holds it; masks that are of no image may not."""
    used = {item.mask.name for item in items if item.mask}
    images = {stem(item.name) for item in items}
    found = []
    for name, files in masks.items():
        strange = "several masks have this name" if name in images else "a mask of no image in the batch"
        found += [one if one.name in used else one._replace(strange=strange) for _, one in files]
    return found


def stem(name: str) -> str:
    """A file's name within its first folder, without suffix."""
    inside = name.partition("/")[2]
    folder, slash, last = inside.rpartition("/")
    return folder + slash + (last.rpartition(".")[0] or last)
