"""Outlines of objects become masks: polygons and run lengths, worked out by hand."""

import json

import numpy as np
import pytest

from dataset.decoding.formats import BadImage
from dataset.deliveries import outlines
from dataset.deliveries.outlines import Outlines, filled, run_lengths, unpacked

MASKS = Outlines(("background", "cat", "dog"), {7: 1, 3: 2})
SQUARE = [1, 1, 3, 1, 3, 3, 1, 3]


def drawn(*annotations, height=4, width=5, most=1000):
    image = {"id": 1, "file_name": "1.png", "height": height, "width": width}
    return MASKS.values(json.dumps([image, *annotations]).encode(), most)


def of(category, *polygons, **more):
    return {"category_id": category, "segmentation": list(polygons), **more}


def runs(category, counts, size=(4, 5), **more):
    return {"category_id": category, "segmentation": {"size": list(size), "counts": counts}, **more}


@pytest.mark.parametrize(
    ("polygon", "rows"),
    {
        "a square from 1 to 3 has four pixels": (SQUARE, [".....", ".##..", ".##..", "....."]),
        "the other way round": ([1, 1, 1, 3, 3, 3, 3, 1], [".....", ".##..", ".##..", "....."]),
        "centres on its left and upper edge are in, on the others out": (
            [0.5, 0.5, 2.5, 0.5, 2.5, 2.5, 0.5, 2.5],
            ["##...", "##...", ".....", "....."],
        ),
        "a triangle": ([0, 0, 4, 0, 0, 4], ["###..", "##...", "#....", "....."]),
        "beyond the picture": ([-9, -9, 99, -9, 99, 2, -9, 2], ["#####", "#####", ".....", "....."]),
        "a hole where it crosses itself": (
            [0, 0, 5, 0, 5, 4, 0, 4, 0, 0, 1, 1, 4, 1, 4, 3, 1, 3, 1, 1],
            ["#####", "#...#", "#...#", "#####"],
        ),
    }.values(),
)
def test_a_pixel_belongs_to_a_polygon_if_its_centre_does(polygon, rows):
    found = drawn(of(7, polygon))
    assert ["".join(".#"[value] for value in row) for row in found] == rows


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none_out():
    points = np.random.default_rng(0).uniform(0, 20, (30, 2))
    whole = np.zeros((20, 20), int)
    # A fan around a point: each triangle ends where the next begins.
    corners = [(0, 0), (20, 0), (20, 20), (0, 20)]
    for x, y in points:
        parts = np.zeros((20, 20), int)
        for (a, b), (c, d) in zip(corners, corners[1:] + corners[:1], strict=True):
            patch = filled(np.array([(x, y), (a, b), (c, d)]), 20, 20)
            parts[patch.top :, patch.left :][: patch.pixels.shape[0], : patch.pixels.shape[1]] += patch.pixels
        whole += parts
    assert (whole == 30).all()


# 4 high, 5 wide: down the columns 3 pixels of nothing, 4 of the object, 13 of nothing.
COUNTS, PACKED = [3, 4, 13], "34="
COLUMNS = [".#...", ".#...", ".#...", "#...."]


@pytest.mark.parametrize("counts", [COUNTS, PACKED, [3, 0, 0, 4, 13], [3, 2, 0, 2, 13]])
def test_run_lengths_go_down_the_columns(counts):
    assert ["".join(".#"[value] for value in row) for row in drawn(runs(7, counts))] == COLUMNS


def packed(counts):
    """What COCO's `rleToString` writes."""
    text = ""
    for place, count in enumerate(counts):
        number = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits, number = number & 31, number >> 5
            more = number != (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * more)
    return text


@pytest.mark.parametrize("seed", range(5))
def test_packed_run_lengths_are_those_that_were_packed(seed):
    counts = [int(count) for count in np.random.default_rng(seed).integers(0, 10 ** (seed + 1), 50)]
    assert unpacked(packed(counts)) == counts
    assert unpacked(packed(COUNTS)) == COUNTS
    assert packed(COUNTS) == PACKED


def test_the_smaller_object_lies_on_top_and_crowds_below_whatever_their_order():
    large, small = of(3, [0, 0, 5, 0, 5, 3, 0, 3], area=1), of(7, SQUARE, area=99)
    crowd = runs(7, [0, 20], iscrowd=1)
    expected = [[2, 2, 2, 2, 2], [2, 1, 1, 2, 2], [2, 1, 1, 2, 2], [255] * 5]
    for order in ((large, small, crowd), (crowd, small, large), (small, crowd, large)):
        assert drawn(*order).tolist() == expected


def test_an_image_without_annotations_is_background():
    assert drawn().tolist() == [[0] * 5] * 4


def test_an_object_may_have_several_polygons():
    assert drawn(of(7, [0, 0, 1, 0, 1, 1, 0, 1], [4, 3, 5, 3, 5, 4, 4, 4])).sum() == 2
    assert drawn(of(7, SQUARE, [0, 0, 4, 4, 0, 0])).sum() == 4


@pytest.mark.parametrize(
    ("annotation", "problem"),
    {
        "no such category": (of(99, SQUARE), "mask-index"),
        "no category": ({"segmentation": [SQUARE]}, "mask-index"),
        "a category that is a list": (of([7], SQUARE), "mask-index"),
        "no outline": (of(7), "unreadable"),
        "an outline that is a number": ({"category_id": 7, "segmentation": 3}, "unreadable"),
        "two points": (of(7, [1, 1, 2, 2]), "unreadable"),
        "half a point": (of(7, [1, 1, 2, 2, 3, 3, 4]), "unreadable"),
        "points in lists": (of(7, [[1, 1], [2, 2], [3, 1]]), "unreadable"),
        "text": (of(7, ["1", "1", "2", "2", "3", "1"]), "unreadable"),
        "yes and no": (of(7, [True] * 6), "unreadable"),
        "no number": (of(7, [float("nan"), 1, 2, 2, 3, 1]), "unreadable"),
        "without end": (of(7, [float("inf"), 1, 2, 2, 3, 1]), "unreadable"),
        "a number of 400 digits": (of(7, [10**400, 1, 2, 2, 3, 1]), "unreadable"),
        "far away": (of(7, [1e9, 1, 2, 2, 3, 1]), "unreadable"),
        "beside the picture": (of(7, [9, 9, 12, 9, 12, 12]), "unreadable"),
        "less than to a centre": (of(7, [0.6, 0.6, 1.4, 0.6, 1.4, 1.4, 0.6, 1.4]), "unreadable"),
        "a line": (of(7, [0, 0, 4, 4, 0, 0]), "unreadable"),
        "runs of another size": (runs(7, COUNTS, (5, 4)), "mask-size"),
        "runs without a size": ({"category_id": 7, "segmentation": {"counts": COUNTS}}, "mask-size"),
        "runs that are too few": (runs(7, [3, 4]), "unreadable"),
        "runs that are too many": (runs(7, [3, 4, 14]), "unreadable"),
        "runs that overflow": (runs(7, [2**63, 2**63, 20]), "unreadable"),
        "runs of more digits than Python writes": (runs(7, [10**4299] * 20), "unreadable"),
        "runs below zero": (runs(7, [24, -4]), "unreadable"),
        "runs of fractions": (runs(7, [3.0, 17.0]), "unreadable"),
        "no runs": (runs(7, None), "unreadable"),
        "packed runs below zero": (runs(7, "O"), "unreadable"),
        "packed runs that end early": (runs(7, "34P"), "unreadable"),
        "packed runs of other signs": (runs(7, "3\x7f"), "unreadable"),
        "packed runs without end": (runs(7, "o" * 50 + "0"), "unreadable"),
    }.values(),
)
def test_what_is_no_outline_is_told(annotation, problem):
    with pytest.raises(BadImage) as refused:
        drawn(annotation)
    assert refused.value.problem == problem
    assert refused.value.detail.isprintable()
    assert len(refused.value.detail) < 200


def test_what_takes_too_much_is_told(monkeypatch):
    for height, width in ((40, 30), (0, 5), (True, 5), (-4, -5), (10**4000, 10**4000)):
        with pytest.raises(BadImage, match="mask-size") as refused:
            drawn(height=height, width=width)
        assert len(refused.value.detail) < 200
    zigzag = [number for place in range(100) for number in (place % 5, 4 * (place % 2))]
    assert drawn(of(7, zigzag, SQUARE)).shape == (4, 5)
    for name, most in (("MOST_POINTS", 99), ("MOST_CROSSINGS", 399), ("LARGEST", 300)):
        with monkeypatch.context() as patched:
            patched.setattr(outlines, name, most)
            with pytest.raises(BadImage, match=r"more than"):
                drawn(of(7, zigzag, SQUARE))


def test_run_lengths_of_a_picture_that_is_all_object():
    assert run_lengths({"size": [2, 3], "counts": [0, 6]}, 2, 3).all()
