"""Deliveries whose images come with masks: what should never be in one, and some that only look odd."""

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from tests.corpus.cases import MARKUP, File, Whole, file_of
from tests.corpus.files import SIDE, chunk, hollow_png, save, whole

CLASSES = "background\ncat\ndog\n"
SQUARE = [2, 2, 12, 2, 12, 12, 2, 12]


def mask(number: int) -> bytes:
    """A cat or a dog on the background, each mask another one."""
    values = np.zeros((SIDE, SIDE), np.uint8)
    values[2 : 4 + number, 3:12] = 1 + number % 2
    return save(Pillow.fromarray(values), "PNG")


def masks(files: dict[str, bytes | str] | None = None, called: str = "classes.txt") -> Callable[[Path], object]:
    """A delivery of ten good images with good masks, and these files in the place of some of them, or besides."""

    def make(folder: Path) -> None:
        given: dict[str, bytes | str] = {called: CLASSES}
        given |= {f"images/{number}.png": whole("PNG", f"masked {number}") for number in range(10)}
        given |= {f"masks/{number}.png": mask(number) for number in range(10)}
        for name, content in (given | (files or {})).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def coco(
    outline: Any = (SQUARE,), name: str = "cat", change: Callable[[str], str] = lambda text: text
) -> Callable[[Path], object]:
    """A delivery of ten good images with an object in each, the last of which has this outline and class."""

    def make(folder: Path) -> None:
        (folder / "images").mkdir(parents=True)
        for number in range(10):
            (folder / "images" / f"{number}.png").write_bytes(whole("PNG", f"masked {number}"))
        images = [{"id": n, "file_name": f"{n}.png", "height": SIDE, "width": SIDE} for n in range(10)]
        outlines = [[[2, 2, 3 + n, 2, 12, 12, 2, 12]] for n in range(9)] + [outline]
        annotations = [{"image_id": n, "category_id": 1, "segmentation": one} for n, one in enumerate(outlines)]
        found = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": name}]}
        (folder / "annotations.json").write_text(change(json.dumps(found)))

    return make


def _then(first: Callable[[Path], object], second: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: (first(folder), second(folder))


def _link(name: str, target: str) -> Callable[[Path], object]:
    return _then(masks(), lambda folder: ((folder / name).unlink(), (folder / name).symlink_to(target)))


BOMB = chunk(b"zTXt", b"n\0\0" + zlib.compress(bytes(10**6), 9)) * 2000
UNREADABLE = "mask-unreadable"

MASKS = (
    file_of("a good mask", mask(1)),
    file_of("nothing", b"", UNREADABLE, "no bytes"),
    file_of("text", MARKUP.encode(), UNREADABLE, "no image format"),
    file_of("a claim of 60000 x 60000", hollow_png(60_000, 60_000), UNREADABLE, "more than the 50000000 that are"),
    file_of("two thousand texts", mask(9)[:33] + BOMB + mask(9)[33:], UNREADABLE, "200. chunks"),
    file_of("a picture", whole("PNG"), "mask-mode", "a picture in colours"),
    file_of("a JPEG file", whole("JPEG"), UNREADABLE, "a mask is a PNG file"),
    file_of("half a file", mask(9)[:60], UNREADABLE, "ends before"),
    file_of("another size", save(Pillow.new("L", (SIDE, 2 * SIDE)), "PNG"), "mask-size", "24 x 48 pixels"),
    file_of("a value without a name", save(Pillow.new("L", (SIDE, SIDE), 99), "PNG"), "mask-index", "are 99, an index"),
    File("a link to a file outside", lambda path: path.symlink_to("../../secret.png"), UNREADABLE, "a symbolic link"),
    File("a pipe", os.mkfifo, UNREADABLE, "no ordinary file"),
)
"""The masks of the images of one delivery; the verdict is the problem of the image."""

OUTLINES: dict[str, tuple[Any, str, str]] = {
    "a square": ([SQUARE], "", ""),
    "no numbers": ([["1e999"] * 6], UNREADABLE, "is no number"),
    "without end": ([[float("inf"), 0, 1, 1, 5, 5]], UNREADABLE, "is no number"),
    "far away": ([[1e300, 0, -1e300, 1e300, 5, 5]], UNREADABLE, "farther away than"),
    "in lists": ([[[[[SQUARE]]]] * 6], UNREADABLE, "is no number"),
    "an object": ({"a": SQUARE}, "mask-size", "are not for 24 x 24 pixels"),
    "runs of 2^63 pixels": ({"size": [SIDE, SIDE], "counts": [2**63, 2**63]}, UNREADABLE, "instead of 576"),
    "runs in a text without end": ({"size": [SIDE, SIDE], "counts": "o" * 10**6}, UNREADABLE, "holds no numbers"),
    "runs in a text of markup": ({"size": [SIDE, SIDE], "counts": MARKUP}, UNREADABLE, "holds no numbers"),
}
"""Outlines of the one object in each image, the problem of the image, and what is said of it."""


MASKED = (
    Whole(
        "masks that are a link to a folder outside",
        _then(masks(), lambda folder: ((folder / "masks").rename(folder / "x"), (folder / "masks").symlink_to(".."))),
        "'.*' lies in .* without a class",
    ),
    Whole(
        "masks too deep",
        masks({f"masks/{'deep/' * 40}9.png": mask(9)}),
        "nested deeper than 32",
    ),
    Whole("a list of classes that is a link", _link("classes.txt", "/etc/passwd"), "classes.txt cannot be read"),
    Whole(
        "a list of classes that is a pipe",
        _then(masks(), lambda folder: ((folder / "classes.txt").unlink(), os.mkfifo(folder / "classes.txt"))),
        "classes.txt cannot be read: no ordinary file",
    ),
    Whole("classes of markup with slashes", masks({"classes.txt": f"bg\n{MARKUP}\n"}), "which can be none: the label"),
    Whole(
        "classes of control characters", masks({"classes.txt": "bg\n\x1b[2J\u202e\n"}), "which can be none: .*control"
    ),
    Whole(
        "classes in JSON a hundred thousand deep",
        masks({"classes.json": '{"a":' * 100_000}, "classes.json"),
        "nested too deeply",
    ),
    Whole(
        "an outline a hundred thousand deep", coco(change=lambda text: text[:-9] + "[" * 100_000), "nested too deeply"
    ),
    Whole("outlines of a category of markup", coco(name=MARKUP), "which can be none: the label holds a slash"),
    Whole("outlines that are cut", coco(change=lambda text: text[:-50]), "no readable JSON file"),
    Whole("outlines that are a number", coco(change=lambda text: "1" * 10_000), "no readable JSON file: it has no {"),
)
