"""`digits`: the 1,797 handwritten digits of scikit-learn (8 x 8 pixels; Alpaydin and Kaynak, 1998, UCI), nothing to
download."""

from collections.abc import Iterable
from datetime import timedelta
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataset.split import content_id, split_of
from dataset.streams.delivery import FIRST_DAY, StreamDelivery
from dataset.streams.pictures import Pictures, png
from records.pace import Progress


def digits() -> Pictures:
    """The handwritten digits that scikit-learn ships; grey levels 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.round(data.images * (255 / 16)).astype(np.uint8)
    return Pictures(pixels, data.target.astype(np.int64), tuple("0123456789"))


def digit_nights(pictures: Pictures, test_share: float) -> tuple[StreamDelivery, ...]:
    """Seven nights: five that are learned, a bad delivery, and one whose update is refused."""
    # A third of the first night's digits is held back: it arrives on the fifth night, as more of an old class.
    zeros_and_ones = pictures.of(0, 1)
    early = zeros_and_ones.part(0, 120)
    late = zeros_and_ones.part(120, None)

    def write_bad(folder: Path, progress: Progress) -> None:
        _write_bad_delivery(folder, pictures, early, test_share)

    nights = (
        ("zeros-and-ones", early.write, "two new classes: 0 and 1"),
        ("twos-and-threes", pictures.of(2, 3).write, "two new classes: 2 and 3"),
        (
            "from-a-broken-scanner",
            write_bad,
            "a bad batch: broken files, wrong labels, leaks, black and white exchanged",
        ),
        ("fours-and-fives", pictures.of(4, 5).write, "two new classes: 4 and 5"),
        ("more-zeros-and-ones", late.write, "more of old classes, learned by plain fine-tuning, which forgets"),
        ("sixes-and-sevens", pictures.of(6, 7).write, "two new classes: 6 and 7, and what was refused"),
        ("eights-and-nines", pictures.of(8, 9).write, "two new classes: 8 and 9"),
    )
    return tuple(
        StreamDelivery(
            name,
            FIRST_DAY + timedelta(night),
            write,
            story,
            request={"strategy": "finetune"} if name == "more-zeros-and-ones" else {},
            pure=write is not write_bad,
        )
        for night, (name, write, story) in enumerate(nights)
    )


def _write_bad_delivery(folder: Path, pictures: Pictures, early: Pictures, test_share: float) -> None:
    """What a broken scanner might send: some good images among broken, foreign, mislabelled and leaked ones.

    Half of what it scanned came out with black and white exchanged: old classes that suddenly look different.
    """
    fours, fives = pictures.of(4), pictures.of(5)
    pictures.of(4, 5).part(0, 20).write(folder)
    old = pictures.of(2, 3).part(0, 30)
    Pictures(255 - old.pixels, old.labels, old.classes).write(folder)

    def add(label: str, name: str, images: Iterable[NDArray[np.uint8]], most: int | None = None) -> None:
        (folder / label).mkdir(exist_ok=True)
        for number, pixels in enumerate(images):
            (folder / label / f"{name}-{number}.png").write_bytes(png(pixels)[:most])

    add("5", "half", fives.part(20, 28).pixels, most=90)
    add("4", "lamp-off", fours.part(30, 36).pixels // 12)
    add("4", "again", fours.part(0, 4).pixels)
    add("4", "blank", [np.full((8, 8), level, dtype=np.uint8) for level in (0, 1, 2, 255)])
    add("four?", "unsure", fours.part(20, 28).pixels)
    add("5.", "slip", fives.part(30, 34).pixels)
    add("5", "both", fours.part(36, 38).pixels)
    add("4", "both", fours.part(36, 38).pixels)
    tests = (p for p in early.of(0).pixels if split_of(content_id(p[:, :, None]), test_share, 0) == "test")
    add("0", "copy", islice(tests, 12))
    for number in range(6):
        (folder / "4" / f"note-{number}.png").write_text("Scanner error 17: lamp not ready.\n" * 3)
