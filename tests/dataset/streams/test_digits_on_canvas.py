"""The stream for segmentation: drawn alike everywhere, masks exact, deliveries as they are described."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset.split import content_id, split_of
from dataset.streams.canvases import Draws, draw, enlarged
from dataset.streams.catalogue import deliveries
from dataset.streams.digits import digits
from dataset.streams.digits_on_canvas import NIGHTS, held_out_canvases, shown_digits, write_canvases
from dataset.streams.pictures import Pictures

pytestmark = pytest.mark.unhurried


def opened(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_the_bytes_are_the_same_on_every_machine(tmp_path: Path) -> None:
    canvases = draw(3, shown_digits(), (4, 5), (0, 1), seed=1)
    write_canvases(tmp_path, canvases.pixels, canvases.masks((4, 5)), ("4", "5"))
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    assert digest.startswith("2972f37776f40f2c")
    assert Draws(1).below(1000, (4,)).tolist() == [511, 950, 144, 948]


def test_a_digit_is_enlarged_smoothly_and_turned_into_opacity() -> None:
    glyph = np.zeros((8, 8), np.uint8)
    glyph[:, 4:] = 255
    # Catmull and Rom's answer to a step from 0 to 16 is 8 * (t + 3t² - 2t³), here at t = 1/8, 3/8, 5/8 and 7/8: 1.3,
    # 5.53, 10.5 and 14.7. Up to 5 there is no ink, from 9 on it is opaque, between them 5.53 is 34 of 256.
    assert enlarged(glyph, 32, 32)[16].tolist() == [0] * 15 + [34] + [256] * 16


def test_masks_are_exact() -> None:
    squares = Pictures(np.full((2, 8, 8), 255, np.uint8), np.arange(2), ("0", "1"))
    canvases = draw(12, squares, (0,), (1,), seed=3)
    alone = 0
    for pixels, shown in zip(canvases.pixels.astype(int), canvases.digits == 1, strict=True):
        rows, columns = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        if shown[box].all() and max(shown[box].shape) < 29:
            alone += 1
            assert min(shown[box].shape) >= 20
            inside = pixels[box]
            assert np.ptp(inside[1:-1, 1:-1]) <= 8, "ink of one level, and noise of four levels either way"
    assert alone > 1


def test_masks_label_the_chosen_digits_alone() -> None:
    canvases = draw(30, shown_digits(), (4, 5), (0, 1), seed=4)
    masks = canvases.masks((4, 5))
    assert set(np.unique(canvases.digits)) == {0, 1, 2, 5, 6}
    assert (masks == np.select([canvases.digits == 5, canvases.digits == 6], [1, 2], 0)).all()
    unlabelled = (canvases.digits > 0) & (masks == 0)
    assert unlabelled.any(axis=(1, 2)).mean() > 0.5
    assert (masks > 0).any(axis=(1, 2)).all()


def test_held_out_canvases_show_digits_that_no_delivery_shows() -> None:
    kept_back = {pixels.tobytes() for pixels in digits().pixels} - {p.tobytes() for p in shown_digits().pixels}
    assert len(kept_back) == 10 * 40
    held_out = held_out_canvases(20)
    assert len(held_out) == 20
    assert len(np.unique(held_out.digits)) > 8


def test_a_good_delivery_holds_images_index_masks_and_the_names_of_its_classes(tmp_path: Path) -> None:
    plan = deliveries("digits-on-canvas", None, 0.3)
    assert [delivery.pure for delivery in plan] == [True, True, False, True, True, True]
    assert [delivery.request for delivery in plan if delivery.request] == [{"strategy": "finetune"}]
    plan[1].write(tmp_path / "night", lambda done, total: None)
    assert (tmp_path / "night" / "classes.txt").read_text() == "background\n4\n5\n"
    images, masks = (sorted((tmp_path / "night" / name).iterdir()) for name in ("images", "masks"))
    assert [path.name for path in images] == [path.name for path in masks]
    assert len(images) == 500
    assert {Image.open(path).mode for path in masks[:20]} == {"P"}
    assert Image.open(images[0]).mode == "L"
    expected = NIGHTS[1].canvases()
    assert (opened(images[7]) == expected.pixels[7]).all()
    assert (opened(masks[7]) == expected.masks((4, 5))[7]).all()


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad") / "delivery"
    deliveries("digits-on-canvas", None, 0.3)[2].write(folder, lambda done, total: None)
    return folder


def test_the_bad_delivery_has_masks_that_are_missing_small_unnamed_empty_foreign_or_photographs(bad: Path) -> None:
    masks = {path.stem: Image.open(path) for path in sorted((bad / "masks").iterdir())}
    assert len(list((bad / "images").iterdir())) - len(masks) == 8
    assert sum(mask.size == (32, 32) for mask in masks.values()) == 8
    assert sum(mask.mode == "RGB" for mask in masks.values()) == 8
    indices = {name: np.asarray(mask) for name, mask in masks.items() if mask.mode == "P"}
    assert sum(mask.max() > 2 for mask in indices.values()) == 8
    assert sum(mask.max() == 0 for mask in indices.values()) == 24


def test_the_bad_delivery_holds_copies_of_test_images_of_the_first_night(bad: Path) -> None:
    sent = [opened(path) for path in sorted((bad / "images").iterdir())[-12:]]
    assert all(split_of(content_id(pixels[:, :, None]), 0.3, 0) == "test" for pixels in sent)
    first = {pixels.tobytes() for pixels in NIGHTS[0].canvases().pixels}
    assert all(pixels.tobytes() in first for pixels in sent)
