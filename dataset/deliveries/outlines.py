"""Masks drawn from outlines: what a JSON file in COCO's format says of the objects of one image.

An outline is a list of polygons ([x, y, x, y, ...], from the upper left corner of the picture) or run lengths. A pixel
belongs to a polygon if its centre lies within it, counted by crossings (even-odd); a centre on the left or upper edge
does, one on the right or lower edge does not. So a square from 0 to 2 has four pixels, and neighbours share none.
An object whose polygons cover no pixel at all would be lost: its image is refused.
Run lengths go down the columns, from nothing to object and back, as a list of numbers or packed in a text
(`rleFrString` in cocoapi's maskApi.c: five bits a character, from the fourth number on less the one two before it).

Objects may overlap: the smaller one lies on top. Crowds (`iscrowd`) are what nobody knows, below all objects.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataset.decoding.formats import BadImage
from dataset.deliveries.items import printable
from dataset.masks import Values
from records.batch import IGNORED

LARGEST = 16 * 2**20
"""Bytes of what is said of one image."""
MOST_POINTS = 200_000
"""Of one polygon."""
MOST_CROSSINGS = 5_000_000
"""Of the rows of pixels with the edges of one polygon."""
FARTHEST = 1e6
"""Pixels from the corner of the picture at which a point of a polygon may lie."""
MOST_TOLD = 10**18
"""Pixels; more are told as more."""
FEWEST = 6
"""Numbers of a polygon: it has three points at the least."""

Points = NDArray[np.float64]
"""[points, 2] x and y, in pixels."""


class Patch(NamedTuple):
    """A part of a picture, and which of its pixels are meant."""

    top: int
    left: int
    pixels: NDArray[np.bool_]
    """[height, width]"""


@dataclass(frozen=True)
class Outlines:
    """Masks that are outlines of objects."""

    classes: tuple[str, ...]
    categories: dict[int, int]
    """Place in `classes` by the id of a category."""

    def values(self, encoded: bytes, max_pixels: int) -> Values:
        """Values of one mask; `encoded`: a JSON list of the image and its annotations. Raises `BadImage`."""
        if len(encoded) > LARGEST:
            raise BadImage(
                "too-large", f"its annotations have {len(encoded)} bytes, more than the {LARGEST} that are read"
            )
        try:
            image, *annotations = json.loads(encoded)
        except UnicodeDecodeError:
            raise BadImage("unreadable", "what is said of its objects is not in UTF-8") from None
        except RecursionError:
            raise BadImage("unreadable", "what is said of its objects is nested too deeply") from None
        except ValueError:
            raise BadImage("unreadable", "the JSON file changed while it was read") from None
        height, width = _size(image, max_pixels)
        values = np.zeros((height, width), np.uint8)
        for _, _, value, one in sorted(self._objects(annotations, height, width), key=lambda found: found[:3]):
            for patch in patches(one, height, width):
                part = values[patch.top :, patch.left :][: patch.pixels.shape[0], : patch.pixels.shape[1]]
                part[patch.pixels] = value
        return values

    def _objects(
        self, annotations: list[dict[str, Any]], height: int, width: int
    ) -> Iterator[tuple[bool, int, int, dict[str, Any]]]:
        """Objects, each behind what says when it is drawn: whether it is no crowd, how small it is, and its value."""
        for one in annotations:
            category = one.get("category_id")
            if type(category) is not int or category not in self.categories:
                raise BadImage(
                    "mask-index", f"an object is of category {printable(str(category))[:40]}, which has no name"
                )
            # Pixels in which its polygons overlap are few, and count twice.
            size = sum(int(patch.pixels.sum()) for patch in patches(one, height, width))
            if not size and isinstance(one["segmentation"], list):
                raise BadImage("unreadable", f"polygons of an object cover no pixel of its {width} x {height} pixels")
            crowd = one.get("iscrowd") in (1, True)
            yield not crowd, -size, IGNORED if crowd else self.categories[category], one


def _size(image: dict[str, Any], max_pixels: int) -> tuple[int, int]:
    height, width = image.get("height"), image.get("width")
    if type(height) is not int or type(width) is not int or height < 1 or width < 1:
        raise BadImage("mask-size", "its height and width are not given as whole numbers")
    if height * width > max_pixels:
        size = f"{_told(width)} x {_told(height)} pixels"
        raise BadImage("mask-size", f"it has {size}, more than the {max_pixels} that are allowed")
    return height, width


def _told(number: int) -> str:
    """The number, if it can be told: Python writes none of more than 4,300 digits, and nobody reads one."""
    return str(number) if number <= MOST_TOLD else f"more than {MOST_TOLD}"


def patches(annotation: dict[str, Any], height: int, width: int) -> Iterator[Patch]:
    """The pixels that an object covers in a picture. Raises `BadImage`."""
    outline = annotation.get("segmentation")
    if isinstance(outline, dict):
        yield Patch(0, 0, run_lengths(outline, height, width))
    elif isinstance(outline, list) and outline:
        for polygon in outline:
            yield filled(_points(polygon), height, width)
    else:
        raise BadImage("unreadable", "an object has no outline: its segmentation is neither polygons nor run lengths")


# Polygons


def _points(polygon: Any) -> Points:
    if not isinstance(polygon, list) or len(polygon) < FEWEST or len(polygon) % 2:
        raise BadImage("unreadable", f"a polygon is no list of x, y, x, y, ... with {FEWEST // 2} points at the least")
    if len(polygon) > 2 * MOST_POINTS:
        raise BadImage("unreadable", f"a polygon has {len(polygon) // 2} points, more than the {MOST_POINTS} allowed")
    if not all(type(number) in (int, float) and abs(number) <= FARTHEST for number in polygon):
        raise BadImage("unreadable", f"a polygon has a point that is no number, or is farther away than {FARTHEST:g}")
    return np.array(polygon, np.float64).reshape(-1, 2)


def filled(points: Points, height: int, width: int) -> Patch:
    """The pixels whose centres lie within a polygon."""
    (left, top), (right, bottom) = _first_pixels(points.min(axis=0)), _first_pixels(points.max(axis=0))
    left, right = (min(max(int(side), 0), width) for side in (left, right))
    top, bottom = (min(max(int(side), 0), height) for side in (top, bottom))
    row, x = _crossings(points, top, bottom)
    column = np.clip(_first_pixels(x), left, right).astype(np.int64)
    # Each edge that is crossed from the left turns outside into inside, or back.
    turns = np.zeros((bottom - top, right - left + 1), np.bool_)
    np.logical_xor.at(turns, (row - top, column - left), True)
    inside: NDArray[np.bool_] = np.logical_xor.accumulate(turns, axis=1)[:, :-1]
    return Patch(top, left, inside)


def _first_pixels(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first pixels whose centres do not lie before a place."""
    first: NDArray[np.float64] = np.ceil(place - 0.5)
    return first


def _crossings(points: Points, top: int, bottom: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where the edges of a polygon cross the middles of the rows of pixels from `top` to `bottom`: row and x."""
    (x, y), (next_x, next_y) = points.T, np.roll(points, -1, axis=0).T
    first = np.clip(_first_pixels(np.minimum(y, next_y)), top, bottom).astype(np.int64)
    last = np.clip(_first_pixels(np.maximum(y, next_y)), top, bottom).astype(np.int64)
    rows = last - first
    if rows.sum() > MOST_CROSSINGS:
        raise BadImage("unreadable", f"a polygon crosses rows of pixels more than {MOST_CROSSINGS} times")
    edge = np.repeat(np.arange(len(points)), rows)
    row = np.arange(len(edge)) + np.repeat(first - (np.cumsum(rows) - rows), rows)
    share = (row + 0.5 - y[edge]) / (next_y - y)[edge]
    return row, x[edge] + share * (next_x - x)[edge]


# Run lengths


def run_lengths(outline: dict[str, Any], height: int, width: int) -> NDArray[np.bool_]:
    """[height, width] the pixels of an object that is given by runs down the columns. Raises `BadImage`."""
    if outline.get("size") != [height, width]:
        raise BadImage("mask-size", f"run lengths of an object are not for {width} x {height} pixels, as its image is")
    counts = outline.get("counts")
    if isinstance(counts, str):
        counts = unpacked(counts)
    if not isinstance(counts, list) or not all(type(count) is int and count >= 0 for count in counts):
        raise BadImage("unreadable", "run lengths of an object are neither a text nor a list of numbers from 0 on")
    if (total := sum(counts)) != height * width:
        size = f"{_told(total)} pixels instead of {height * width}"
        raise BadImage("unreadable", f"run lengths of an object are of {size}")
    turns = np.arange(len(counts)) % 2 == 1
    runs: NDArray[np.bool_] = np.repeat(turns, np.array(counts, np.int64)).reshape(width, height).T
    return runs


def unpacked(text: str) -> list[int]:
    """The numbers that a text of run lengths holds. Raises `BadImage`."""
    counts: list[int] = []
    number = shift = 0
    for sign in text:
        bits = ord(sign) - 48
        if not 0 <= bits < 64 or shift > 50:
            raise BadImage("unreadable", "run lengths of an object are a text that holds no numbers")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift:
        raise BadImage("unreadable", "run lengths of an object end in the midst of a number")
    return counts
