"""Two versions of a segmentation compared, from intersections, unions and pixels worked out by hand."""

import pandas as pd
import pytest

from models.problems.segmentation import Segmentation
from tasks.queries.comparison import Change, compare_answers, join_answers
from tasks.queries.scoring import Scoring
from tasks.queries.slices import slice_answers

CLASSES = ("background", "cat", "dog")
SCORING = Scoring(Segmentation(), CLASSES)
OUTCOME = Segmentation()


def answers(**images: list[list[float]]) -> pd.DataFrame:
    """Of image to intersection, union and pixels of each class. An image `t...` came on tuesday."""
    tallies = {image: [number for of_class in tally for number in of_class] for image, tally in images.items()}
    return pd.DataFrame(
        {
            "experience": "tuesday" if image.startswith("t") else "monday",
            "image": image,
            "label": "cat",
            "answer": "cat",
            "overall": OUTCOME.score_of(pd.Series(tally).to_numpy(dtype=float)[None]),
            "tally": tally,
        }
        for image, tally in tallies.items()
    )


# Of each image background and cat: (8/10 + 6/8) / 2 = 0.775, and (9/10 + 3/5) / 2 = 0.75.
BEFORE = answers(a=[[8, 10, 10], [6, 8, 8]], b=[[9, 10, 9], [3, 5, 5]])
# (8/10 + 2/8) / 2 = 0.525, and (9/10 + 3/5 + 0 of dog, which no image shows) / 2; and one image with a dog, 4/8.
AFTER = answers(
    a=[[8, 10, 10], [2, 8, 8], [0, 0, 0]], b=[[9, 10, 9], [3, 5, 5], [0, 1, 0]], t1=[[8, 8, 8], [0, 0, 0], [4, 8, 8]]
)


def test_scores_are_of_all_images_together_and_an_image_is_lost_if_it_is_noticeably_worse():
    comparison = compare_answers(1, 2, BEFORE, AFTER, SCORING)
    # (17/20 + 9/13) / 2 before, (17/20 + 5/13) / 2 now.
    assert comparison.total == Change(subject="all", images=2, first=0.771154, second=0.617308, lost=1, gained=0)
    assert comparison.experiences == (
        comparison.total.model_copy(update={"subject": "monday"}),
        Change(subject="tuesday", images=1, first=None, second=0.75, lost=0, gained=0),
    )
    assert (comparison.score_name, comparison.class_score_name, comparison.noticeable) == ("miou", "iou", 0.05)
    assert comparison.confused == {}


def test_classes_are_compared_by_their_iou():
    comparison = compare_answers(1, 2, BEFORE, AFTER, SCORING)
    assert comparison.classes == (
        Change(subject="background", images=2, first=0.85, second=0.85, lost=0, gained=0),
        Change(subject="cat", images=2, first=0.692308, second=0.384615, lost=1, gained=0),
        Change(subject="dog", images=1, first=None, second=0.5, lost=0, gained=0),
    )


def test_the_other_way_round_is_the_mirror():
    mirrored = compare_answers(2, 1, AFTER, BEFORE, SCORING)
    assert (mirrored.total.lost, mirrored.total.gained) == (0, 1)
    assert [(c.subject, c.first, c.second) for c in mirrored.classes] == [
        ("background", 0.85, 0.85),
        ("cat", 0.384615, 0.692308),
        ("dog", 0.5, None),
    ]


def test_parts_of_the_images_are_scored_in_the_same_way():
    rows = join_answers(BEFORE, AFTER)
    both = rows[rows["_merge"] == "both"]
    values = pd.DataFrame({"experience": "monday", "image": ["a", "b"], "label": "cat", "value": ["left", "right"]})
    slices = slice_answers(1, 2, "camera", both, [values], SCORING)
    assert slices.values == (
        Change(subject="left", images=1, first=0.775, second=0.525, lost=1, gained=0),
        Change(subject="right", images=1, first=0.75, second=0.75, lost=0, gained=0),
    )
    assert (slices.score_name, slices.noticeable) == ("miou", 0.05)


@pytest.mark.parametrize("rows", [BEFORE, AFTER])
def test_a_version_lost_nothing_against_itself(rows):
    comparison = compare_answers(1, 1, rows, rows, SCORING)
    assert (comparison.total.lost, comparison.total.gained) == (0, 0)
    assert all(c.lost == c.gained == 0 for c in comparison.classes)
