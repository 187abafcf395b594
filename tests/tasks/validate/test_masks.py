"""Images with masks in validation: a label names several classes, and each class is asked about by itself."""

import pandas as pd
import pytest

from records.experience import Experience, RejectedBatch
from tasks.validate.earlier import EarlierImages
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
    ("annotation", "note", "remedy"),
    [
        ("", "it comes with masks, and the problem that is learned needs no masks", "Set `update.problem: {name: seg"),
        ("mask", "it comes with no masks, and the problem that is learned needs masks", "Deliver images with masks: "),
    ],
)
def test_a_batch_without_what_its_problem_needs_is_refused(annotation, note, remedy):
    table = with_masks(["cat", "dog"])
    batch = batch_of(table).model_copy(update={"annotation": "" if annotation else "mask"})
    with pytest.raises(RejectedBatch) as rejected:
        validate(table, batch, NOTHING_EARLIER, (), LENIENT, annotation=annotation)
    found = found_by(rejected.value.report, "annotation")
    assert (found.note, found.remedy.startswith(remedy), rejected.value.report.misfit) == (note, True, True)


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


def before(table, masks):
    """An earlier batch with these facts, and what reads its masks."""
    experience = Experience(batch="before", digest="d", classes=("cat", "dog"), train=1, validation=0, test=1)
    return EarlierImages.of([(experience, table)]), {"before": pd.Series(masks, table.index)}


def test_the_same_pixels_with_another_mask_than_before_are_a_correction_and_with_the_same_a_copy():
    came = with_masks(["cat", "dog"])
    earlier, masks = before(came, ["a"] * 20)
    table = with_masks(["cat", "dog"]).assign(annotation_id="a")
    table.loc[[1, 17, 18], "annotation_id"] = "b"
    table.loc[[2, 16], "label"] = "dog"
    batch = batch_of(table).model_copy(update={"annotation": "mask"})
    with pytest.raises(RejectedBatch) as rejected:
        validate(table, batch, earlier, (), LENIENT, annotation="mask", masks_in=masks.__getitem__)
    report = rejected.value.report
    found = found_by(report, "label-correction")
    assert found.all_rows() == (1, 2, 16, 17, 18)
    assert {c.row: c.detail for c in found.violations} == {
        1: "with another mask than in before as dog",
        2: "labelled dog, but in before as cat",
        16: "labelled dog, but in before as cat",
        17: "with another mask than in before as dog",
        18: "with another mask than in before as cat",
    }
    assert found.violations[0].like == "before#1"
    assert found_by(report, "test-leak").all_rows() == (15, 19)
    assert found_by(report, "duplicate-earlier").all_rows() == (0, *range(3, 15))


def test_masks_of_earlier_batches_are_read_only_of_those_with_the_same_pixels():
    earlier, _ = before(with_masks(["cat", "dog"]), ["a"] * 20)
    table = with_masks(["cat", "dog"]).assign(image=[f"{100 + row:032x}" for row in range(20)])
    batch = batch_of(table).model_copy(update={"annotation": "mask"})
    assert validate(table, batch, earlier, (), LENIENT, annotation="mask", masks_in={}.__getitem__)[1].admitted


def test_a_mask_is_another_one_than_none():
    earlier, _ = before(with_masks(["cat", "dog"]), ["a"] * 20)
    table = with_masks(["cat", "dog"]).assign(annotation_id="a")
    batch = batch_of(table).model_copy(update={"annotation": "mask"})
    with pytest.raises(RejectedBatch) as rejected:
        validate(table, batch, earlier, (), LENIENT, annotation="mask")
    assert found_by(rejected.value.report, "label-correction").found == 20
