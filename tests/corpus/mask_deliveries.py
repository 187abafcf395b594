"""Deliveries of images with masks, damaged at random: files by their paths, which follow from seed and number alone."""

import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image as Pillow

from tests.corpus.files import SIDE, save, whole
from tests.corpus.mutations import MUTATIONS

Files = dict[str, bytes]
Change = Callable[[Files, random.Random], Files]

COLOURS = (0, 0, 0, 255, 0, 128, 0, 0, 255)
SQUARE = [2, 2, 12, 2, 12, 12, 2, 12]
RUNS = {"size": [SIDE, SIDE], "counts": [60, 40, SIDE * SIDE - 100]}
PACKED = {"size": [SIDE, SIDE], "counts": "l1X1l>"}
"""The same runs as in `RUNS`."""
FRAGMENTS = (
    "null", "true", "-1", "0", "255", "256", "0.5", "-0.0", "1e999", "NaN", "-Infinity", "1e-320", "1e6", str(2**63),
    "9" * 4300, "9" * 4301, '""', '"\\ud800"', '"\\u0000"', '"\\u202e/.."', '"background"', '"#00ff00"', "[]", "{}",
    "[[]]", "[0,0,0]", "[1,1,1,1,1,1]", "[" * 3000 + "]" * 3000, "[" * 200_000, '{"id":1,"id":1}',
    '"' + "o" * 5000 + '"', "[" + ",".join(["1", "1e6", "-1e6"] * 400) + "]", json.dumps([10**4299] * 12),
)  # fmt: skip
"""JSON that stands in place of a value."""
VOC = ("JPEGImages", "SegmentationClass")
LINES = ("", "cat", "background", "bg", "_BACKGROUND_", "a/b", "\x1b[2J", "\ufeff", "\x00", "x" * 300, "999", "é")
NAMES = (
    "classes.txt", "classes.json", "labelled_for.txt", "annotations.json", "other.json", "masks/0.png", "masks/0.gif",
    "masks/deep/0.png", "images/0.png", "manifest.csv", "SegmentationClass/0.png", "JPEGImages/0.jpg",
    "ImageSets/Segmentation/train.txt", "masks/0", "x.tar",
)  # fmt: skip


def _masks() -> list[bytes]:
    """Indices in grey and in a palette, in 1, 8 and 16 bits, and colours with and without alpha; none above 2."""
    values = np.zeros((SIDE, SIDE), np.uint8)
    values[2:9, 3:12], values[12:20, 4:9], values[0] = 1, 2, 255
    grey = Pillow.fromarray(values)
    colours = Pillow.fromarray(np.where(values == 255, 0, values).astype(np.uint8), "P")
    colours.putpalette(COLOURS)
    shapes = Pillow.fromarray(np.where(values == 1, 255, 0).astype(np.uint8)).convert("1")
    wide = Pillow.fromarray((values % 3).astype(np.uint16))
    return [
        *(save(mask, "PNG") for mask in (grey, shapes, wide, colours, colours.convert("RGB"), colours.convert("RGBA"))),
        save(colours, "PNG", bits=2),
        save(grey.convert("LA"), "PNG"),
    ]


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


def _coco() -> Files:
    images = [{"id": n, "file_name": f"{n}.png", "height": SIDE, "width": SIDE} for n in range(4)]
    images[1]["neg_category_ids"], images[1]["not_exhaustive_category_ids"] = [2], [1]
    outlines: list[Any] = [[SQUARE], [SQUARE, [0.5, 0.5, 30, 1e3, -4, 9]], RUNS, PACKED]
    annotations = [
        {"id": n, "image_id": n, "category_id": 1 + n % 2, "segmentation": one, "iscrowd": n // 3}
        for n, one in enumerate(outlines)
    ]
    content = {"info": {}, "images": images, "annotations": annotations,
               "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}  # fmt: skip
    return {**{f"images/{n}.png": whole("PNG", n) for n in range(4)}, "annotations.json": _json(content)}


@cache
def good_deliveries() -> tuple[Files, ...]:
    """Small whole ones of all kinds, with masks and lists of classes of all kinds."""
    grey, bits, wide, palette, colours, alpha, small, grey_alpha = _masks()
    cats = {"cat": "#ff0080", "dog": [0, 0, 255]}
    indexed = [{"name": "bg", "id": 0, "color": [0, 0, 0]}, {"name": "cat", "id": 1, "color": "#ff0080"},
               {"name": "dog", "id": 2, "color": "#0000ff"}, {"name": "void", "id": 255}]  # fmt: skip
    listed = {"ImageSets/Segmentation/train.txt": b"0\n1\n", "ImageSets/Segmentation/val.txt": b"2\n9\n"}
    return (
        _drawn(grey, bits, wide) | {"classes.txt": b"background\ncat\ndog\n"},
        _drawn(palette, small) | {"classes.txt": b"bg\ncat\ndog\n", "labelled_for.txt": b"cat\n"},
        _drawn(palette, colours, alpha) | {"classes.json": _json({"classes": cats, "labelled_for": ["dog"]})},
        _drawn(grey_alpha, colours) | {"classes.json": _json(indexed)},
        _drawn(grey, small) | {"classes.json": _json({"cat": 1, "dog": 2})},
        _coco(),
        _coco(),
        _coco(),
        _drawn(grey, bits, palette, folders=VOC) | listed,
        _drawn(wide, grey_alpha, folders=VOC) | {"classes.json": _json(["background", "cat", "dog"])},
    )


def _drawn(*masks: bytes, folders: tuple[str, str] = ("images", "masks")) -> Files:
    """An image with each of these masks."""
    kind = "JPEG" if folders == VOC else "PNG"
    suffix = "jpg" if folders == VOC else "png"
    return {f"{folders[0]}/{n}.{suffix}": whole(kind, n) for n in range(len(masks))} | {
        f"{folders[1]}/{n}.png": mask for n, mask in enumerate(masks)
    }


def delivery_of(seed: int, number: int) -> Files:
    """The delivery with that number: a good one after one to four changes."""
    dice = random.Random(f"masks {seed} {number}")
    files = dict(dice.choice(good_deliveries()))
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        files = dice.choice(CHANGES)(files, dice)
    return files


# Changes


def _bytes(files: Files, dice: random.Random) -> Files:
    """Any damage to the bytes of a file, of an annotation most often."""
    name = dice.choice(_annotations(files) or sorted(files))
    return files | {name: dice.choice(MUTATIONS)(files[name], dice)}


def _content(files: Files, dice: random.Random) -> Files:
    """A list or a JSON file that says something else."""
    texts = [name for name in sorted(files) if name.endswith((".json", ".txt"))]
    if not texts:
        return _bytes(files, dice)
    name = dice.choice(texts)
    return files | {name: (_other_json if name.endswith(".json") else _other_lines)(files[name], dice)}


def _other_lines(content: bytes, dice: random.Random) -> bytes:
    lines = content.split(b"\n")
    line = dice.choice((*(line.encode() for line in LINES), *lines, b"\xff\xfe"))
    place = dice.randrange(len(lines))
    lines[place : place + dice.randrange(2)] = [line] * dice.choice((1, 1, 2, 300))
    return b"\n".join(lines)


def _other_json(content: bytes, dice: random.Random) -> bytes:
    """One value of it is another one, gone, or there twice."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return dice.choice(MUTATIONS)(content, dice)
    places = _places(found)
    if not places:
        return dice.choice(FRAGMENTS).encode()
    # Keys first: there are many numbers in outlines, and few sizes.
    within, key = dice.choice(places[dice.choice(list(places))])
    fragment = ""
    match dice.randrange(5):
        case 0:
            del within[key]
        case 1:
            other = dice.choice(places[dice.choice(list(places))])
            within[key] = json.loads(json.dumps(other[0][other[1]]))
        case 2 if isinstance(within, list):
            within[key:key] = [within[key]] * dice.choice((1, 2, 300))
        case _:
            within[key], fragment = "<fragment>", dice.choice(FRAGMENTS)
    return json.dumps(found).replace('"<fragment>"', fragment).encode("utf-8", "surrogatepass")


def _places(found: Any) -> dict[str, list[tuple[Any, Any]]]:
    """All values by the last key on the way to them, each as what it is in and where."""
    places: dict[str, list[tuple[Any, Any]]] = {}
    waiting = [(found, "")]
    while waiting:
        one, last = waiting.pop()
        keys: Any = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        for key in keys:
            name = key if isinstance(key, str) else last
            places.setdefault(name, []).append((one, key))
            waiting.append((one[key], name))
    return places


def _lose(files: Files, dice: random.Random) -> Files:
    name = dice.choice(sorted(files))
    return {other: content for other, content in files.items() if other != name} or files


def _move(files: Files, dice: random.Random) -> Files:
    """A file under the name of another one, or of one that means something."""
    name = dice.choice(sorted(files))
    return files | {dice.choice((*NAMES, *sorted(files))): files[name]}


def _swap(files: Files, dice: random.Random) -> Files:
    """A file with the content of one of another delivery."""
    other = dice.choice(good_deliveries())
    return files | {dice.choice(sorted(files)): other[dice.choice(sorted(other))]}


def _annotations(files: Files) -> list[str]:
    return [name for name in sorted(files) if not name.startswith(("images/", "JPEGImages/"))]


CHANGES: tuple[Change, ...] = (_bytes, _bytes, _bytes, _content, _content, _content, _content, _lose, _move, _swap)
