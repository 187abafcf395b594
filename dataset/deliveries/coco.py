"""Deliveries in COCO's format (cocodataset.org, "Data format"): `images/` and a JSON file with outlines of objects.

The file has `images` (with `id`, `file_name`, `width`, `height`), `categories` (`id`, `name`) and `annotations`
(`image_id`, `category_id`, `segmentation`, `iscrowd`). A file's name is looked up in `images/`, then beside it. What an
outline covers is in `outlines.py`. An image without annotations is background alone.

As in LVIS (arXiv 1908.03195), an image may say what was looked for: `neg_category_ids` were, and are not there, and of
`not_exhaustive_category_ids` only some objects are outlined. Then what was looked for is what is annotated and not
among those, and the former. Without these keys `labelled_for.txt` says it for every image, see `legends.py`; without
that all categories were.

The file is gone through once, an element at a time, to learn where in it the annotations of each image stand; they are
read where the image is. It is kept, and never deleted: it tells single objects apart, and a mask only their classes.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, Any

from dataset.deliveries.allowance import Tally, is_sparse
from dataset.deliveries.handles import Tree
from dataset.deliveries.items import Container, Delivery, Item, Stretches, in_order, printable
from dataset.deliveries.legends import LABELLED_FOR, Entry, Legend, class_name, legend_of, looked_for_in
from dataset.deliveries.looking import look
from dataset.deliveries.mask_folders import IMAGES
from dataset.deliveries.outlines import Outlines
from dataset.masks import looked_for
from records.errors import UnreadableBatch

ANNOTATIONS = "annotations.json"
LARGEST = 512 * 2**20
"""Bytes of such a file: it is in memory once as it is, and once as text. COCO's own of 118,000 images has 449 MB."""
SPACE = re.compile(r"[ \t\n\r]*")
MARK = "\xef\xbb\xbf"
"""A byte order mark, as characters."""
NEGATIVE, PARTIAL = "neg_category_ids", "not_exhaustive_category_ids"
DECODER = json.JSONDecoder()

Take = Callable[[Any, int, int], None]
"""Is called with an element of a list and where it begins and ends."""


@dataclass
class _File:
    """What stands where in a file."""

    shown: str
    text: str
    """Bytes as characters (ISO 8859-1), so that places in it are places in the file."""
    images: dict[int, tuple[dict[str, Any], tuple[int, int]]] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)
    outlines: dict[int, list[tuple[int, int, object]]] = field(default_factory=dict)
    """By image: where an annotation stands, how long it is, and its category."""

    def image(self, found: Any, start: int, end: int) -> None:
        """Take an element of `images`."""
        one = self._object(found, start, end, "images")
        number = self._id(one, "images")
        if number in self.images:
            raise self._bad(f"has two images with the id {number}")
        if not isinstance(one.get("file_name"), str):
            raise self._bad(f"gives image {number} no file_name")
        self.images[number] = one, (start, end - start)

    def category(self, found: Any, start: int, end: int) -> None:
        """Take an element of `categories`."""
        one = self._object(found, start, end, "categories")
        number = self._id(one, "categories")
        if number in self.categories:
            raise self._bad(f"has two categories with the id {number}")
        if not isinstance(one.get("name"), str):
            raise self._bad(f"gives category {number} no name")
        self.categories[number] = one["name"]

    def annotation(self, found: Any, start: int, end: int) -> None:
        """Take an element of `annotations`."""
        if not isinstance(found, dict) or type(found.get("image_id")) is not int:
            raise self._bad("has an annotation whose image_id is no whole number")
        self.outlines.setdefault(found["image_id"], []).append((start, end - start, found.get("category_id")))

    def _object(self, found: Any, start: int, end: int, section: str) -> dict[str, Any]:
        if not isinstance(found, dict):
            raise self._bad(f"has an element of {section} that is no object")
        # Once more, since names are in UTF-8.
        one: dict[str, Any] = json.loads(self.text[start:end].encode("latin-1").decode("utf-8"))
        return one

    def _id(self, one: dict[str, Any], section: str) -> int:
        number = one.get("id")
        if type(number) is not int:
            raise self._bad(f"has an element of {section} whose id is no whole number")
        return number

    def _bad(self, what: str) -> UnreadableBatch:
        return UnreadableBatch(f"{self.shown} {what}. Write it as COCO's data format says.")


def from_coco(name: str, tree: Tree, tally: Tally) -> Delivery:
    """The images that the file `name` lists, with their outlines. Raises `UnreadableBatch`."""
    shown = printable(f"{tree.path}/{name}")
    with tree.reading(name) as content:
        file = _File(shown, _text(content, shown))
        container = Container.of(content, name)._replace(
            strange="it tells single objects apart, and the batch holds only their classes"
        )
    _go_through(file)
    _refuse_strays(file)
    legend = legend_of([Entry(called) for called in file.categories.values()], shown)
    legend, more = _looked_for(tree, file, legend)
    values = {number: legend.classes.index(class_name(printable(c))) for number, c in file.categories.items()}
    masks = Outlines(legend.classes, values)
    listed = tally.rows(file.images, lambda number: (file.images[number][0]["file_name"], *legend.classes))
    found = [_item(tree, tally, name, file, number, masks) for number in listed]
    _refuse_twice(dict(zip(file.images, found, strict=True)), shown)
    items = in_order([item._replace(labelled_for=item.labelled_for or legend.labelled_for) for item in found])
    return Delivery(printable(tree.path.name), tree.root(), items, containers=(container, *more), masks=masks)


def _refuse_strays(file: _File) -> None:
    strays = [number for number in file.outlines if number not in file.images]
    if strays:
        lost, of = (sum(len(file.outlines[number]) for number in numbers) for numbers in (strays, file.outlines))
        raise UnreadableBatch(
            f"{lost} of {of} annotations in {file.shown} name images that are not in `images`, the first: image_id "
            f"{str(strays[0])[:40]}. Add those images, or take these annotations away."
        )


def _refuse_twice(items: Mapping[int, Item], shown: str) -> None:
    """Only one of two ids could have its annotations in the mask."""
    ids: dict[str, int] = {}
    for number, item in items.items():
        other = ids.setdefault(PurePosixPath(item.name).as_posix(), number)
        if other != number:
            raise UnreadableBatch(
                f"In {shown} file_name {item.path[:200]} stands under two ids, {str(other)[:40]} and "
                f"{str(number)[:40]}. Put all its annotations under one of them."
            )


def _looked_for(tree: Tree, file: _File, legend: Legend) -> tuple[Legend, list[Container]]:
    legend, containers = looked_for_in(tree, legend)
    by_image = next((number for number, (one, _) in file.images.items() if NEGATIVE in one or PARTIAL in one), None)
    if containers and by_image is not None:
        raise UnreadableBatch(
            f"{LABELLED_FOR} and image {by_image} in {file.shown} both say what was looked for. Keep one of them."
        )
    # It goes where the JSON file goes: that one says something else without it.
    return legend, [one._replace(strange=f"it says what was looked for in {file.shown}") for one in containers]


def _item(tree: Tree, tally: Tally, name: str, file: _File, number: int, masks: Outlines) -> Item:
    image, place = file.images[number]
    path = _path(tree, image["file_name"])
    status, problem, detail = look(tree, path, "delivery")
    if status:
        tally.file(status)
    outlines = file.outlines.get(number, [])
    stretches = (place, *((start, count) for start, count, _ in outlines))
    size = sum(count for _, count in stretches)
    return Item(
        path=printable(path),
        label="",
        name=path,
        bytes=status.st_size if status else 0,
        problem=problem,
        detail=detail,
        mask=Item(f"image {number} in {printable(name)}", "", name, size, inside=Stretches(stretches)),
        labelled_for=_labelled_for(image, [category for _, _, category in outlines], masks, file.shown),
    )


def _path(tree: Tree, called: str) -> str:
    inside = f"{IMAGES}/{called}"
    try:
        return inside if not called.startswith("/") and "\0" not in called and tree.holds(inside) else called
    except ValueError:
        return called


def _labelled_for(image: dict[str, Any], annotated: list[object], masks: Outlines, shown: str) -> str:
    if NEGATIVE not in image and PARTIAL not in image:
        return ""
    negative, partial = (image.get(key, []) for key in (NEGATIVE, PARTIAL))
    for key, numbers in ((NEGATIVE, negative), (PARTIAL, partial)):
        if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
            raise UnreadableBatch(f"{key} of image {image['id']} in {shown} is no list of ids of categories.")
    wanted = {*negative, *({number for number in annotated if type(number) is int} - {*partial})}
    places = [masks.categories[number] for number in wanted if number in masks.categories]
    return looked_for([masks.classes[place] for place in places], masks.classes)


# The file, an element at a time


def _text(content: IO[bytes], shown: str) -> str:
    if is_sparse(content.fileno()):
        raise UnreadableBatch(f"{shown} is nearly all holes (a sparse file). Copy it from its source.")
    read = content.read(LARGEST + 1)
    if len(read) > LARGEST:
        raise UnreadableBatch(
            f"{shown} has more than the {LARGEST:,} bytes that are read. Make several deliveries of it."
        )
    return read.decode("latin-1")


def _go_through(file: _File) -> None:
    """Take every element of the three lists."""
    take: dict[str, Take] = {"images": file.image, "categories": file.category, "annotations": file.annotation}
    found: set[str] = set()
    try:
        _members(file.text, take, found)
    except UnicodeDecodeError:
        raise UnreadableBatch(f"{file.shown} holds text that is not in UTF-8. Write it again as UTF-8.") from None
    except (ValueError, IndexError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error) or "it ends early"
        raise UnreadableBatch(f"{file.shown} is no readable JSON file: {reason}.") from None
    if missing := [section for section in take if section not in found]:
        raise UnreadableBatch(f"{file.shown} has no list '{missing[0]}'. Write it as COCO's data format says.")
    if not file.images:
        raise UnreadableBatch(f"{file.shown} is empty: it names no image.")


def _members(text: str, take: dict[str, Take], found: set[str]) -> None:
    """Go through an object, and through the lists in it that are to be taken. Raises `ValueError`."""
    place = _expect(text, len(MARK) if text.startswith(MARK) else 0, "{")
    while text[place] != "}":
        key, place = DECODER.raw_decode(text, place)
        place = _expect(text, place, ":")
        if key in take and text[place] == "[":
            if key in found:
                raise ValueError(f"it has two lists {key}")
            found.add(key)
            place = _elements(text, place, take[key])
        else:
            _, place = DECODER.raw_decode(text, place)
        place = _behind(text, place, "}")


def _elements(text: str, place: int, take: Take) -> int:
    """Take each element of a list that begins at `place`; gives the place behind it."""
    place = _expect(text, place, "[")
    while text[place] != "]":
        one, end = DECODER.raw_decode(text, place)
        take(one, place, end)
        place = _behind(text, end, "]")
    return place + 1


def _expect(text: str, place: int, sign: str) -> int:
    """The place of what follows a sign, from the white space before it on."""
    place = _skipped(text, place)
    if text[place] != sign:
        raise ValueError(f"it has no {sign} at byte {place}")
    return _skipped(text, place + 1)


def _behind(text: str, place: int, end: str) -> int:
    """The place of the next element, or of the end."""
    place = _skipped(text, place)
    return place if text[place] == end else _expect(text, place, ",")


def _skipped(text: str, place: int) -> int:
    space = SPACE.match(text, place)
    return space.end() if space else place
