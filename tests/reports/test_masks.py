"""Masks as a picture: what each pixel is, worked out by hand, and a PNG that says so in its colours."""

import io

import numpy as np
import pytest
from PIL import Image

from reports.masks import (
    CONFUSED,
    FALSE,
    MISSED,
    MISTAKES,
    RIGHT,
    UNCOUNTED,
    Answered,
    differences,
    mask_picture,
    small,
)

TRUTH = np.array([[0, 0, 1, 1], [2, 2, 255, 0]])
ANSWER = np.array([[0, 2, 1, 0], [2, 1, 1, 3]])
LOOKED = np.array([True, True, True, False])


def test_pixels_are_told_apart():
    """The last pixel is answered with a class that nobody looked for; class 4 came after all that was looked for."""
    assert differences(ANSWER, TRUTH, LOOKED).tolist() == [
        [RIGHT, FALSE, RIGHT, MISSED],
        [RIGHT, CONFUSED, UNCOUNTED, UNCOUNTED],
    ]
    assert differences(np.full_like(TRUTH, 4), TRUTH, LOOKED)[0].tolist() == [UNCOUNTED, UNCOUNTED, CONFUSED, CONFUSED]


def row(before=None, score_before=None, channels=3, title="monday"):
    image = np.full((2, 4, channels), 120, dtype=np.uint8)
    return Answered(title, image, TRUTH, before, ANSWER, LOOKED, score_before, 0.4)


def pixels_of(rows):
    png = mask_picture(rows, ("background", "cat", "dog", "owl"), "v3", "candidate", "Worst", "mIoU")
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGB"))


def share(pixels, colour):
    rgb = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return float((pixels == rgb).all(axis=2).mean())


@pytest.mark.unhurried
def test_a_picture_shows_each_kind_of_mistake():
    pixels = pixels_of([row(ANSWER, 0.9)])
    assert all(share(pixels, colour) > 0.001 for colour, _ in MISTAKES.values())


def test_a_small_picture_is_half_as_wide_and_keeps_its_colours():
    png = mask_picture([row(ANSWER, 0.9)] * 3, ("background", "cat", "dog", "owl"), "v3", "candidate", "Worst", "mIoU")
    small_one, whole = (Image.open(io.BytesIO(one)) for one in (small(png), png))
    assert small_one.width in (whole.width // 2, whole.width // 2 + 1)
    assert small_one.format == "JPEG"
    pixels = np.asarray(small_one, dtype=int)
    for colour, _ in MISTAKES.values():
        rgb = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
        assert (np.abs(pixels - rgb).max(axis=2) < 12).any()


def test_what_is_right_is_marked_nowhere_but_in_the_legend():
    right = Answered("monday", row().image, TRUTH, None, TRUTH, LOOKED, None, 1.0)
    assert share(pixels_of([right]), MISTAKES[MISSED][0]) < 0.3 * share(pixels_of([row()]), MISTAKES[MISSED][0])


def test_without_a_version_before_there_is_a_column_less():
    assert pixels_of([row(ANSWER, 0.9)]).shape[1] > pixels_of([row()]).shape[1]


@pytest.mark.unhurried
@pytest.mark.parametrize("channels", [1, 3])
def test_equal_answers_give_equal_pictures_whatever_names_are_made_of(channels):
    rows = [row(ANSWER, 0.9, channels, title="$x^{ " + "a" * 300), row(None, None, channels)]
    assert np.array_equal(pixels_of(rows), pixels_of(rows))
