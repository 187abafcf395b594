"""New classes: names that are not what they seem, and classes with too little to learn from."""

from collections import Counter

import pytest

from records.experience import RejectedBatch
from tasks.validate.checks.classes import lookalikes
from tasks.validate.settings import ValidateParams
from tasks.validate.validate import validate
from tests.tasks.validate.test_validate import NOTHING_EARLIER, batch_of, found_by, image_id, look, table_of

pytestmark = pytest.mark.expectations

SPLITS = ("train", "train", "train", "test")


def labelled(counts, split=SPLITS):
    """Good images of these labels, each with its number of images, in the splits in turn."""
    labels = [label for label, number in counts.items() for _ in range(number)]
    table = table_of(len(labels))
    table["label"], table["split"] = labels, [split[row % len(split)] for row in range(len(labels))]
    return table


def report_of(facts, known=(), accepted=(), **params):
    batch = batch_of(facts).model_copy(update={"accepted": accepted})
    try:
        return validate(facts, batch, NOTHING_EARLIER, known, ValidateParams(**params))[1]
    except RejectedBatch as rejected:
        return rejected.report


@pytest.mark.parametrize(
    ("label", "check", "detail"),
    [
        ("ca\u200bt", "class-disguised", "labelled ca\\u200bt with U+200B ZERO WIDTH SPACE, which cannot be seen"),
        ("c\u0430t", "class-disguised", "labelled c\u0430t with U+0430 CYRILLIC SMALL LETTER A among Latin letters"),
        (
            "\u0441\u0430\u0440",
            "class-lookalike",
            "labelled \u0441\u0430\u0440 with letters of another alphabet, which looks like the class cap",
        ),
    ],
)
def test_a_class_that_only_looks_like_another_waits(label, check, detail):
    facts = labelled({"cap": 40, "cat": 40, label: 3})
    report = report_of(facts, known=("cap", "cat"))
    assert (report.admitted, len(report.faulty_rows())) == (True, 3)
    assert found_by(report, check).violations[0].detail == detail
    assert report_of(facts, known=("cap", "cat", label)).faulty_rows() == (), "what is known is not asked again"
    accepted = report_of(facts, known=("cap", "cat"), accepted=("class-disguised", "class-lookalike"))
    assert accepted.faulty_rows() == ()


def test_of_two_new_names_the_disguised_one_is_the_twin():
    details = lookalikes(Counter({"c\u0430t": 50, "cat": 20, "Cat": 5}), ())
    assert list(details) == ["c\u0430t"]
    assert "which looks like the class cat" in details["c\u0430t"]
    assert lookalikes(Counter({"\u0410": 9, "A": 9}), ("B",)) == {}


def test_thousands_of_classes_of_one_image_wait_in_quarantine():
    """They were admitted, refused by the verdict, and held back every later delivery."""
    report = report_of(labelled({f"c{number}": 1 for number in range(2000)}))
    assert not report.admitted
    assert found_by(report, "class-scarce").found == 500, "those of classes that are for testing alone"
    assert "more than the 5% allowed" in report.summary
    assert "lower params.validate.min_train_new_class" in found_by(report, "class-scarce").remedy


@pytest.mark.parametrize(
    ("classes", "each", "admitted"),
    [(201, 5, False), (200, 5, True), (201, 8, True), pytest.param(2000, 2, False, marks=pytest.mark.slow)],
)
def test_very_many_new_classes_with_hardly_any_images_wait_in_quarantine(classes, each, admitted):
    """Labels that are names of files, say. The verdict refused them, and with them every later delivery."""
    facts = labelled({f"c{number}": each for number in range(classes)}, split=("train", "test"))
    report = report_of(facts, min_train_per_class=4)
    assert report.admitted == admitted
    if admitted:
        return
    words = f"{classes:,} new classes with fewer than 4 training images each, at most 200 allowed"
    assert report.summary == f"Quarantined: {words}."
    known = tuple(f"c{number}" for number in range(classes))
    assert report_of(facts, known=known, min_train_per_class=4).admitted, "what is known may come in any number"
    assert report_of(facts, accepted=("classes-scarce",), min_train_per_class=4).admitted


def test_a_scarce_new_class_waits_and_the_others_are_learned():
    facts = labelled({"cat": 40, "dog": 40, "owl": 2}, split=("train", "test"))
    assert report_of(facts).faulty_rows() == ()
    report = report_of(facts, min_train_new_class=2)
    assert report.admitted
    assert [(c.detail) for c in found_by(report, "class-scarce").violations] == [
        "labelled owl, a new class with 1 of the 2 images for training that it needs"
    ] * 2
    known = report_of(facts, known=("cat", "dog", "owl"), min_train_new_class=2)
    assert known.faulty_rows() == (), "of a known class one image will do"


def test_copies_make_no_class():
    facts = labelled({"cat": 40, "dog": 40, "owl": 4}, split=("train", "test"))
    owls = facts.index[facts["label"] == "owl"]
    facts.loc[owls, "image"], facts.loc[owls, "phash"] = image_id(500), look(500)
    facts.loc[owls, "split"] = "train"
    assert found_by(report_of(facts, min_train_new_class=2), "class-scarce").found == 4


def test_what_is_refused_anyway_is_asked_nothing_more():
    facts = labelled({"cat": 40, "dog": 40, "ow\u200bl": 1})
    facts.loc[80, "problem"] = "truncated"
    report = report_of(facts)
    assert [check.name for check in report.checks if check.found and check.severity == "refuse image"] == [
        "file-truncated"
    ]
