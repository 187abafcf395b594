"""Damaged deliveries of images with masks: how they are made, and what is a fault."""

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.corpus.files import SIDE, save
from tests.corpus.fuzz import EVERY, fault_of, is_delivery
from tests.corpus.mask_deliveries import PACKED, RUNS, delivery_of, good_deliveries
from tests.corpus.mask_faults import fault_in_delivery, fault_in_row, fault_in_sentence, lay_out, rows_of

CLASSES = ("background", "cat", "dog")


def good_row():
    values = np.zeros((SIDE, SIDE), np.uint8)
    values[:2] = 1
    return {
        "problem": "", "detail": "", "label": "cat", "annotation": save(Pillow.fromarray(values), "PNG"),
        "annotation_id": "0" * 32, "width": SIDE, "height": SIDE, "ignored": 0.0, "background": 0.9,
        "class_pixels": [SIDE * (SIDE - 2), 2 * SIDE, 0],
    }  # fmt: skip


def test_good_deliveries_have_no_fault_and_every_image_its_mask(tmp_path):
    for number, files in enumerate(good_deliveries()):
        assert fault_in_delivery(files, tmp_path / "fuzzed") == ""
        lay_out(files, tmp_path / str(number))
        assert {row["problem"] for row, _ in rows_of(tmp_path / str(number))} <= {"", "missing"}
    assert not (tmp_path / "fuzzed").exists()


def test_a_delivery_follows_from_seed_and_number():
    made = [delivery_of(0, number) for number in range(40)]
    assert made == [delivery_of(0, number) for number in range(40)]
    assert made != [delivery_of(1, number) for number in range(40)]
    assert len({tuple(sorted(files.items())) for files in made}) > 35
    assert PACKED["size"] == RUNS["size"]


def test_some_damaged_deliveries_have_no_fault(tmp_path):
    assert [fault_in_delivery(delivery_of(0, number), tmp_path / "one") for number in range(25)] == [""] * 25


def test_one_input_of_some_is_a_delivery(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.corpus.fuzz._silence_decoders", lambda: None)
    assert [is_delivery(number) for number in range(2 * EVERY)].count(True) == 2
    assert [fault_of(0, tmp_path, number) for number in range(EVERY)] == [""] * EVERY


@pytest.mark.parametrize(
    "wrong",
    [
        {"problem": "mask-odd", "annotation": None}, {"problem": "mask-size", "detail": "it is large"},
        {"label": "dog"}, {"annotation": None}, {"height": 3}, {"class_pixels": [SIDE * SIDE, 0, 0]},
        {"annotation_id": ""}, {"background": 1.5},
    ],
)  # fmt: skip
def test_rows_that_their_masks_do_not_confirm_are_a_fault(wrong):
    assert fault_in_row(good_row(), CLASSES) == ""
    assert fault_in_row(good_row() | wrong, CLASSES) != ""


def test_values_without_a_class_and_sentences_that_cannot_be_read_are_a_fault():
    assert fault_in_row(good_row(), CLASSES[:1]) != ""
    assert fault_in_sentence("It is empty.") == ""
    assert "" not in [fault_in_sentence(text) for text in ("", "two\nlines", "x" * 2000)]


def test_what_is_raised_is_a_fault(tmp_path, monkeypatch):
    def broken(folder, caps):
        raise KeyError("id")

    monkeypatch.setattr("tests.corpus.mask_faults.read_delivery", broken)
    assert fault_in_delivery(good_deliveries()[0], tmp_path / "one") == "raised KeyError: 'id'"
