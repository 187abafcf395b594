"""The streams that come with retain: what arrives on which night, written as files."""

from pathlib import Path

import numpy as np
from PIL import Image

from dataset.split import content_id, split_of
from dataset.streams.catalogue import deliveries
from dataset.streams.digits import digits


def test_the_digits_arrive_as_seven_deliveries_that_hold_every_image_once() -> None:
    plan = deliveries("digits", None, 0.5)
    assert [delivery.pure for delivery in plan] == [True, True, False, True, True, True, True]
    assert [delivery.day.day for delivery in plan] == [2, 3, 4, 5, 6, 7, 8]


def test_the_bad_delivery_holds_copies_of_test_images_of_the_first_night(tmp_path: Path) -> None:
    plan = deliveries("digits", None, 0.5)
    plan[0].write(tmp_path / "first", lambda done, total: None)
    plan[2].write(tmp_path / "bad", lambda done, total: None)
    first = {path.read_bytes() for path in (tmp_path / "first").rglob("*.png")}
    copies = [path.read_bytes() for path in (tmp_path / "bad" / "0").iterdir()]
    assert len(copies) == 12
    assert set(copies) <= first
    shown = [p for p in digits().of(0).pixels if split_of(content_id(p[:, :, None]), 0.5, 0) == "test"]
    assert len(shown) > 12


def test_pictures_are_written_as_they_are(tmp_path: Path) -> None:
    pictures = digits().of(3).part(0, 2)
    pictures.write(tmp_path / "out")
    files = sorted((tmp_path / "out" / "3").iterdir())
    assert [np.array_equal(Image.open(f), p) for f, p in zip(files, pictures.pixels, strict=True)] == [True, True]
