"""`digits-on-canvas`: scikit-learn's digits, enlarged, on canvases of 64 x 64 pixels, with masks: for segmentation.

Every night is labelled for its own classes only. Digits of earlier nights are on its canvases too, and are background
in its masks: whoever labelled these did not look for them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataset.split import content_id, split_of
from dataset.streams.canvases import Canvases, draw
from dataset.streams.delivery import FIRST_DAY, StreamDelivery
from dataset.streams.digits import digits
from dataset.streams.pictures import Pictures, png
from records.batch import BACKGROUND
from records.pace import Progress

KEPT_BACK = 40
"""Digits of each class that no delivery shows: those of `held_out_canvases`."""
PALETTE = (
    "000000", "e6194b", "3cb44b", "ffe119", "4363d8", "f58231", "911eb4", "46f0f0", "f032e6", "bcf60c", "fabebe",
)  # fmt: skip
"""Of the values 0 to 10 in a mask that somebody opens to look at it."""


@dataclass(frozen=True)
class LabelledNight:
    """A good delivery: which digits its canvases show, and which of them have masks."""

    name: str
    story: str
    labelled: tuple[int, ...]
    others: tuple[int, ...]
    images: int = 500

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the values 1, 2, ... of its masks."""
        return tuple(map(str, self.labelled))

    def canvases(self) -> Canvases:
        """What it shows."""
        return draw(self.images, shown_digits(), self.labelled, self.others, seed=NIGHTS.index(self))


NIGHTS = (
    LabelledNight("zeros-to-threes", "four classes with masks: 0 to 3", (0, 1, 2, 3), (), images=800),
    LabelledNight(
        "fours-and-fives", "two new classes, 4 and 5; old ones are there too, and not labelled", (4, 5), (0, 1, 2, 3)
    ),
    LabelledNight("sixes-and-sevens", "two new classes: 6 and 7", (6, 7), (0, 1, 2, 3, 4, 5)),
    LabelledNight(
        "more-zeros-and-ones",
        "more of old classes, learned by plain fine-tuning, which forgets",
        (0, 1),
        (2, 3, 4, 5, 6, 7),
    ),
    LabelledNight(
        "eights-and-nines", "two new classes: 8 and 9, and what was refused", (8, 9), (0, 1, 2, 3, 4, 5, 6, 7)
    ),
)
"""The good ones, in order."""
FINE_TUNED = "more-zeros-and-ones"


def canvas_nights(test_share: float) -> tuple[StreamDelivery, ...]:
    """Six nights: five good deliveries, one of them learned by fine-tuning and refused, and after two a bad one."""

    def good(night: LabelledNight, day: int) -> StreamDelivery:
        request = {"strategy": "finetune"} if night.name == FINE_TUNED else {}
        return StreamDelivery(
            night.name, FIRST_DAY + timedelta(day), partial(_write_night, night), night.story, request
        )

    bad = StreamDelivery(
        "from-a-confused-labeller",
        FIRST_DAY + timedelta(2),
        partial(_write_bad, test_share),
        "a bad batch: masks of other images and sizes, masks that are missing, empty or photographs, leaks",
        request={},
        pure=False,
    )
    before = [good(night, day) for day, night in enumerate(NIGHTS[:2])]
    after = [good(night, day) for day, night in enumerate(NIGHTS[2:], start=3)]
    return (*before, bad, *after)


def held_out_canvases(count: int = 300) -> Canvases:
    """Canvases with digits that no delivery shows, of all ten classes: to measure mIoU on, wholly labelled."""
    return draw(count, digits().part(-KEPT_BACK, None), range(10), (), seed=1000)


def write_canvases(folder: Path, pixels: NDArray[np.uint8], masks: NDArray[np.uint8], classes: Sequence[str]) -> None:
    """Write images and masks [n, height, width] as `images/<number>.png`, `masks/<number>.png`, and `classes.txt`."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    (folder / "classes.txt").write_text("\n".join((BACKGROUND, *classes)) + "\n", encoding="utf-8")
    for number, (image, mask) in enumerate(zip(pixels, masks, strict=True)):
        (folder / "images" / f"{number:04d}.png").write_bytes(png(image))
        (folder / "masks" / f"{number:04d}.png").write_bytes(index_png(mask))


def index_png(mask: NDArray[np.uint8]) -> bytes:
    """A PNG file with a palette, of values [height, width], stored without compression as `png` does."""
    return png(mask, bytes.fromhex("".join(PALETTE)))


def shown_digits() -> Pictures:
    """The digits that deliveries show."""
    return digits().part(0, -KEPT_BACK)


def _write_night(night: LabelledNight, folder: Path, progress: Progress) -> None:
    canvases = night.canvases()
    write_canvases(folder, canvases.pixels, canvases.masks(night.labelled), night.classes)
    progress(len(canvases), len(canvases))


def _write_bad(test_share: float, folder: Path, progress: Progress) -> None:
    """What somebody might send who mixed up masks: a few good ones among those of other images, of other sizes, with
    unknown values, empty ones, photographs, none at all, and images that are tests already."""
    canvases = draw(110, shown_digits(), (4, 5), (0, 1, 2, 3), seed=2000)
    pixels, masks = canvases.pixels, canvases.masks((4, 5))
    leaked = list(islice((p for p in NIGHTS[0].canvases().pixels if _is_test(p, test_share)), 12))
    write_canvases(
        folder,
        np.concatenate([pixels, np.stack(leaked)]),
        np.concatenate([masks, masks[: len(leaked)]]),
        ["4", "5"],
    )

    def replace(start: int, files: Iterable[bytes]) -> None:
        for number, content in enumerate(files, start):
            (folder / "masks" / f"{number:04d}.png").write_bytes(content)

    replace(30, (index_png(mask) for mask in masks[31:55]))  # Of the image that comes after.
    replace(54, (index_png(mask[::2, ::2]) for mask in masks[54:62]))
    replace(62, (index_png(mask * np.uint8(3)) for mask in masks[62:70]))
    replace(70, (index_png(mask * np.uint8(0)) for mask in masks[70:94]))
    replace(94, (png(np.repeat(image[:, :, None], 3, axis=2)) for image in pixels[94:102]))
    for number in range(102, 110):
        (folder / "masks" / f"{number:04d}.png").unlink()


def _is_test(pixels: NDArray[np.uint8], test_share: float) -> bool:
    return split_of(content_id(pixels[:, :, None]), test_share, 0) == "test"
