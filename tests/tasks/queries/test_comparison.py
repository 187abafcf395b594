"""Two versions compared by answers worked out by hand."""

import pandas as pd
import pytest

from records.errors import WrongInput
from tasks.approve import approve_run
from tasks.queries.comparison import Change, compare_answers, compare_versions
from tasks.workspace.creation import create


def answers(**experiences: dict[str, tuple[str, str]]) -> pd.DataFrame:
    """What a version said: of each experience, image to label and answer."""
    return pd.DataFrame(
        {"experience": experience, "image": image, "label": label, "answer": answer, "overall": float(label == answer)}
        for experience, images in experiences.items()
        for image, (label, answer) in images.items()
    )


BEFORE = {"1": ("cat", "cat"), "2": ("cat", "cat"), "3": ("cat", "dog"), "4": ("dog", "dog"), "5": ("dog", "dog")}
AFTER = {"1": ("cat", "cat"), "2": ("cat", "owl"), "3": ("cat", "cat"), "4": ("dog", "owl"), "5": ("dog", "owl")}
NEW = {"6": ("owl", "owl"), "7": ("owl", "cat"), "8": ("cat", "cat"), "9": ("cat", "owl")}


def test_a_comparison_counts_images_lost_and_gained():
    # The order of the rows does not matter.
    comparison = compare_answers(
        1, 2, answers(monday=BEFORE), answers(monday=dict(reversed(AFTER.items())), tuesday=NEW)
    )
    assert (comparison.first, comparison.second) == (1, 2)
    assert comparison.total == Change(subject="all", images=5, first=0.8, second=0.4, lost=3, gained=1)
    assert comparison.experiences == (
        Change(subject="monday", images=5, first=0.8, second=0.4, lost=3, gained=1),
        Change(subject="tuesday", images=4, first=None, second=0.5, lost=0, gained=0),
    )
    assert comparison.classes == (
        # What only the second was examined on does not count for a class that both know.
        Change(subject="cat", images=3, first=0.666667, second=0.666667, lost=1, gained=1),
        Change(subject="dog", images=2, first=1, second=0, lost=2, gained=0),
        Change(subject="owl", images=2, first=None, second=0.5, lost=0, gained=0),
    )
    assert list(comparison.confused.items()) == [("dog → owl", 2), ("cat → owl", 1)]


def test_a_comparison_the_other_way_round_is_its_mirror():
    comparison = compare_answers(2, 1, answers(monday=AFTER, tuesday=NEW), answers(monday=BEFORE))
    assert comparison.total == Change(subject="all", images=5, first=0.4, second=0.8, lost=1, gained=3)
    assert comparison.experiences[1] == Change(subject="tuesday", images=4, first=0.5, second=None, lost=0, gained=0)
    assert comparison.confused == {"cat → dog": 1}


def test_a_version_lost_nothing_against_itself():
    comparison = compare_answers(1, 1, answers(monday=BEFORE), answers(monday=BEFORE))
    assert (comparison.total.lost, comparison.total.gained, comparison.confused) == (0, 0, {})


def test_versions_with_nothing_in_common_have_no_total():
    comparison = compare_answers(1, 2, answers(monday=BEFORE), answers(tuesday=NEW))
    assert comparison.total is None
    assert [(c.subject, c.first, c.second) for c in comparison.experiences] == [
        ("monday", 0.8, None),
        ("tuesday", None, 0.5),
    ]
    assert comparison.confused == {}


def test_what_is_not_there_is_wrong_input(tmp_path):
    fresh = create(tmp_path / "workspace")
    with pytest.raises(WrongInput, match="has no version 1; there is none yet"):
        compare_versions(fresh, 1, 2)
    with pytest.raises(WrongInput, match="No finished run is called `c0ffee`"):
        approve_run(fresh, "c0ffee", by="somebody", note="", overrule=False)
