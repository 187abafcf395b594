"""Images with masks in validation: a label names several classes, and each class is asked about by itself."""

import pytest

from records.experience import RejectedBatch
from tasks.validate.validate import validate
from tests.tasks.validate.test_validate import LENIENT, NOTHING_EARLIER, batch_of, found_by, table_of

pytestmark = pytest.mark.expectations


def with_masks(labels):
    """Facts of 20 images that show these classes, one after the other and over again."""
    table = table_of(label={row: labels[row % len(labels)] for row in range(20)})
    return table.assign(annotation_id="", labelled_for="", ignored=0.0, background=0.5, class_pixels=[(1,)] * 20)


def asked(table, known=(), annotation="mask", **params):
    batch = batch_of(table).model_copy(update={"annotation": "mask"})
    return validate(table, batch, NOTHING_EARLIER, known, LENIENT.model_copy(update=params), annotation=annotation)


def test_an_experience_holds_each_class_by_itself():
    experience, report = asked(with_masks(["cat/dog", "cat", "background"]))
    assert experience.classes == ("cat", "dog")
    assert experience.left_out == ()
    assert report.admitted


def test_an_image_is_refused_for_one_of_its_classes():
    table = with_masks(["cat/dog", "cat/cow", "cat", "background"])
    experience, report = asked(table, known=("background", "cat", "dog"), new_classes="refuse")
    assert experience.left_out == (1, 5, 9, 13, 17)
    assert {c.detail for c in found_by(report, "class-new").violations} == {"labelled cow"}
    assert asked(table, allowed_classes=("cat", "dog"))[0].left_out == (1, 5, 9, 13, 17)


def test_slips_are_looked_for_among_single_classes():
    _, report = asked(with_masks(["cat/dog", "cat/dog", "cat/Dog"]))
    assert {c.detail for c in found_by(report, "class-respelled").violations} == {
        "labelled Dog, but there is a class dog"
    }


def test_a_class_is_counted_in_every_image_that_shows_it():
    _, report = asked(with_masks(["cat/dog", "cat"]), min_train_per_class=15)
    assert "dog" in found_by(report, "least-train-per-class").note
    assert "cat" not in found_by(report, "least-train-per-class").note


@pytest.mark.parametrize(
    ("annotation", "note"),
    [
        ("", "it comes with masks, and the problem that is learned needs no masks"),
        ("mask", "it comes with no masks, and the problem that is learned needs masks"),
    ],
)
def test_a_batch_without_what_its_problem_needs_is_refused(annotation, note):
    table = with_masks(["cat", "dog"])
    batch = batch_of(table).model_copy(update={"annotation": "" if annotation else "mask"})
    with pytest.raises(RejectedBatch) as rejected:
        validate(table, batch, NOTHING_EARLIER, (), LENIENT, annotation=annotation)
    assert found_by(rejected.value.report, "annotation").note == note


def test_masks_of_which_nothing_can_be_learned_are_refused_and_empty_ones_told():
    table = with_masks(["cat", "background"])
    table.loc[2, ["ignored", "background"]] = [1.0, 0.0]
    table.loc[3, "background"] = 1.0
    experience, report = asked(table)
    assert experience.left_out == found_by(report, "mask-void").all_rows() == (2,)
    assert found_by(report, "mask-empty").all_rows() == (3,)


def test_the_same_pixels_with_two_masks_are_a_conflict_and_with_one_a_copy():
    table = with_masks(["cat", "dog"])
    table["image"] = [f"{row // 4:032x}" if row in (0, 2, 4, 6) else f"{100 + row:032x}" for row in range(20)]
    table["annotation_id"] = ["a" if row in (0, 4, 6) else "b" for row in range(20)]
    _, report = asked(table)
    conflict = found_by(report, "labels-conflict")
    assert conflict.all_rows() == (0, 2)
    assert {c.detail for c in conflict.violations} == {"the same pixels come with another mask, of cat"}
    assert found_by(report, "duplicate").all_rows() == (6,)
