from datetime import date

import pandas as pd
import pytest

from records.batch import Batch, Shard
from records.errors import DamagedState
from records.experience import Experience, RejectedBatch
from tasks.gate.checks import ValidateParams, image_checks
from tasks.gate.earlier import NOTHING_EARLIER, EarlierImages
from tasks.gate.validate import validate

LENIENT = ValidateParams(refused_share=1, min_train=1, min_test=1, min_test_per_class=0)


def image_id(number):
    return f"{number:032x}"


def table_of(images=20, first=0, **changes):
    """Good images, of which the last quarter is for testing. `changes` maps a column to {row: value}."""
    rows = range(images)
    table = pd.DataFrame(
        {
            "image": [image_id(first + row) for row in rows],
            "path": [f"{'cat' if row % 2 else 'dog'}/{row}.png" for row in rows],
            "label": ["cat" if row % 2 else "dog" for row in rows],
            "split": ["test" if row >= images * 3 // 4 else "train" for row in rows],
            "problem": "",
            "detail": "",
            "format": "PNG",
            "width": 40,
            "height": 36,
            "frames": 1,
            "phash": [f"{first + row:08x}5a5a5a5a" for row in rows],
        }
    )
    for column, values in changes.items():
        for row, value in values.items():
            table.loc[row, column] = value
    return table


def batch_of(facts):
    shard = Shard(name="images-00000.parquet", rows=len(facts), bytes=1, sha256="0" * 64)
    return Batch(
        id="2026-01-05-3f2a9c1b",
        digest="3f2a9c1b" * 8,
        arrived=date(2026, 1, 5),
        source="monday",
        images=len(facts),
        classes=tuple(sorted(set(facts["label"]))),
        shards=(shard,),
    )


def earlier_of(facts, left_out=()):
    experience = Experience(
        batch="2026-01-04-aaaaaaaa", digest="a" * 64, classes=("cat", "dog"), train=1, validation=0, test=1,
        left_out=left_out,
    )  # fmt: skip
    return EarlierImages.of([(experience, facts)])


EARLIER = earlier_of(table_of(20, first=100), left_out=(1,))


def asked(facts, earlier=NOTHING_EARLIER, known=(), **params):
    return validate(facts, batch_of(facts), earlier, known, LENIENT.model_copy(update=params))


def rejection(facts, earlier=NOTHING_EARLIER, known=(), **params):
    with pytest.raises(RejectedBatch) as caught:
        validate(facts, batch_of(facts), earlier, known, ValidateParams(**params))
    return caught.value.report


def found_by(report, name):
    return next(check for check in report.checks if check.name == name)


FAULTS_TOLD = {
    "outside": "path-outside",
    "link": "path-outside",
    "not-a-file": "path-outside",
    "missing": "file-missing",
    "empty": "file-empty",
    "truncated": "file-truncated",
    "not-an-image": "not-an-image",
    "unreadable": "file-unreadable",
    "a problem of later days": "file-unreadable",
    "too-large": "file-too-large",
    "too-many-pixels": "file-too-large",
    "format": "format-unknown",
    "label-empty": "label-unusable",
    "label-slash": "label-unusable",
    "label-control": "label-unusable",
}
CASES = {
    # table, earlier images, parameters, and all that is told: check to rows with their details
    "pictures": (
        table_of(
            format={2: "GIF", 4: "gif", 5: "BMP"},
            width={6: 7, 7: 8, 8: 401, 9: 361, 10: 360},
            height={8: 400},
            frames={11: 12},
        ),
        NOTHING_EARLIER,
        {"formats": ("PNG", "BMP"), "max_side": 400, "max_aspect": 10.0},
        {
            "format": {2: "a GIF file", 4: "a GIF file"},
            "size-small": {6: "7 x 36 pixels"},
            "size-large": {8: "401 x 400 pixels"},
            "aspect": {9: "361 x 36 pixels"},
            "animation": {11: "12 frames"},
        },
    ),
    "labels": (
        table_of(label={0: "cow", 7: "c\nw", 19: "emu", 2: "emu"}),
        NOTHING_EARLIER,
        {"allowed_classes": ("cat", "dog", "emu"), "min_test_per_class": 2},
        {
            "label-not-allowed": {0: "labelled cow", 7: "labelled c\\nw"},
            "least-test-per-class": {2: "1 of the 2 test images wanted for emu"},
        },
    ),
    "the same pixels in a batch": (
        # Row 9 is in a format that is refused, so row 11 is the first copy that counts.
        table_of(
            image={4: image_id(1), 5: image_id(3), 7: image_id(3), 11: image_id(9), 13: image_id(9)}, format={9: "BMP"}
        ),
        NOTHING_EARLIER,
        {"formats": ("PNG",)},
        {
            "format": {9: "a BMP file"},
            "labels-conflict": dict.fromkeys((1, 4), "the same pixels are labelled cat and dog"),
            "duplicate": {**dict.fromkeys((5, 7), "the same pixels as cat/3.png"), 13: "the same pixels as cat/11.png"},
        },
    ),
    "the same pixels as earlier": (
        # 115 to 119 were for testing; 101 had been left out, so it is new.
        table_of(
            image={2: image_id(104), 3: image_id(101), 4: image_id(116), 6: image_id(103), 8: image_id(117)}
        ),
        EARLIER,
        {},
        {
            "test-leak": {
                4: "a test image in 2026-01-04-aaaaaaaa as dog", 8: "a test image in 2026-01-04-aaaaaaaa as cat",
            },
            "label-correction": {
                6: "labelled dog, but in 2026-01-04-aaaaaaaa as cat",
                8: "labelled dog, but in 2026-01-04-aaaaaaaa as cat",
            },
            "duplicate-earlier": {2: "delivered before in 2026-01-04-aaaaaaaa as dog"},
        },
    ),
    "nearly the same": (
        # Hash 73 is of a test image, 64 of a training image. Row 5 is too small to tell, row 18 is for testing itself.
        table_of(
            phash={
                2: "000000735a5a5a5a", 3: "000000645a5a5a5a", 5: "000000735a5a5a5a", 18: "000000735a5a5a5a",
                6: "000000115a5a5a5a", 17: "000000115a5a5a5a",
                7: "0" * 16, 16: "0" * 16, 8: "f" * 16, 19: "f" * 16,
            },
            width={5: 31},
            split={6: "validation"},
        ),
        EARLIER,
        {},
        {"near-test": {2: "looks like the test image dog/18.png", 6: "looks like the test image cat/17.png"}},
    ),
    "nearly the same as earlier": (
        # The earlier image with hash 74 is too small to tell.
        table_of(phash={2: "000000735a5a5a5a", 3: "000000745a5a5a5a"}),
        earlier_of(table_of(20, first=100, width={16: 31})),
        {},
        {"near-test": {2: "looks like a test image of 2026-01-04-aaaaaaaa"}},
    ),
}  # fmt: skip


def test_each_problem_that_ingest_found_is_told_once():
    rows = range(len(FAULTS_TOLD))
    problems = dict(zip(rows, FAULTS_TOLD, strict=True))
    table = table_of(40, problem=problems, detail={row: f"fault {row}" for row in rows}, width=dict.fromkeys(rows, 0))
    experience, report = asked(table, allowed_classes=("cat", "dog"))
    told = {c.row: (check.name, c.detail) for check in report.checks for c in check.complaints}
    assert told == {row: (FAULTS_TOLD[problem], f"fault {row}") for row, problem in problems.items()}
    assert experience.left_out == tuple(rows)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_check_names_its_rows_and_no_others(case):
    table, earlier, params, expected = case
    experience, report = asked(table, earlier, **params)
    wrong = [check for check in report.checks if not check.passed]
    assert {check.name: {c.row: c.detail for c in check.complaints} for check in wrong} == expected
    assert all(check.found == len(check.complaints) for check in report.checks)
    assert all(c.path == table["path"][c.row] for check in wrong for c in check.complaints)
    leaving_out = [check for check in wrong if check.severity in ("refuse image", "drop")]
    assert experience.left_out == tuple(sorted({row for check in leaving_out for row in expected[check.name]}))


def test_the_cases_ask_every_check_of_images():
    params = ValidateParams(allowed_classes=("cat",), new_classes="refuse")
    names = [check.name for check in image_checks(params, ("cat",))]
    assert set(names) - {"class-new"} <= {*FAULTS_TOLD.values(), *(name for case in CASES.values() for name in case[3])}
    assert len(names) == len(set(names))


def test_new_classes_are_refused_only_once_some_are_known():
    table = table_of(label={2: "cow", 5: "cow"})
    experience, report = asked(table, known=("cat", "dog"), new_classes="refuse")
    assert experience.left_out == (2, 5)
    assert [c.detail for c in found_by(report, "class-new").complaints] == ["labelled cow"] * 2
    assert asked(table, new_classes="refuse")[0].classes == ("cat", "cow", "dog")
    assert asked(table, known=("cat", "dog"))[0].classes == ("cat", "cow", "dog")


def test_a_good_batch_becomes_an_experience():
    table = table_of(split={0: "validation"})
    experience, report = asked(table, EARLIER)
    assert experience == Experience(
        batch="2026-01-05-3f2a9c1b", digest="3f2a9c1b" * 8, classes=("cat", "dog"), train=14, validation=1, test=5
    )
    assert report.summary == "Admitted: all 20 images."
    assert report.admitted
    assert all(check.passed and check.found == 0 and check.complaints == () for check in report.checks)
    assert validate(table, batch_of(table), EARLIER, (), LENIENT) == (experience, report)


def test_good_images_of_a_partly_bad_batch_go_on():
    known = {row: image_id(100 + row) for row in (6, 8, 9)}
    table = table_of(
        100, problem={2: "truncated"}, split={97: "train"}, image={4: image_id(2), 5: image_id(3), **known}
    )
    experience, report = asked(table, EARLIER, refused_share=0.01)
    assert experience.left_out == (2, 5, 6, 8, 9)
    assert (experience.train, experience.test) == (71, 24)
    assert report.summary == (
        "Admitted: 95 of 100 images; 1 (1%) refused: 1 truncated; 4 left out: 3 already known, 1 delivered twice."
    )
    note = "1 of 100 images (1%), at most 1% allowed"
    assert (found_by(report, "refused-share").passed, found_by(report, "refused-share").note) == (True, note)


def test_drops_say_nothing_against_a_batch():
    table = table_of(40, image={row: image_id(0) for row in (2, 4, 6, 8)})
    _, report = asked(table, refused_share=0)
    assert report.summary == "Admitted: 36 of 40 images; 4 left out: 4 delivered twice."


def test_too_many_refused_images_quarantine_the_whole_batch():
    problems = dict.fromkeys(range(12), "truncated") | dict.fromkeys(range(12, 21), "not-an-image")
    copied = {row: image_id(116 + row % 4) for row in range(30, 40)}
    report = rejection(table_of(120, first=1000, problem=problems, image=copied), EARLIER)
    assert report.summary == (
        "Quarantined: 31 of 120 images (26%) were refused, more than the 5% allowed: "
        "12 truncated, 9 not images, 10 copied from an earlier test split."
    )
    assert not report.admitted
    assert [(c.name, c.severity, c.found) for c in report.checks if not c.passed and c.severity != "drop"] == [
        ("refused-share", "refuse batch", 31),
        ("file-truncated", "refuse image", 12),
        ("not-an-image", "refuse image", 9),
        ("test-leak", "refuse image", 10),
    ]


def test_an_image_is_counted_once_by_its_main_reason():
    table = table_of(40, image={2: image_id(103), 5: image_id(117)}, label={2: "cow", 5: "cow"})
    _, report = asked(table, EARLIER, allowed_classes=("cat", "dog"))
    assert report.summary.startswith("Admitted: 38 of 40 images; 2 (5%) refused: 2 with a label that is not allowed.")
    assert [c.name for c in report.checks if not c.passed] == ["label-not-allowed", "test-leak", "label-correction"]


def test_what_is_refused_is_not_told_of_as_dropped():
    table = table_of(40, first=1000, image={4: image_id(116), 6: image_id(116), 9: image_id(107), 11: image_id(107)})
    experience, report = asked(table, EARLIER)
    told = {check.name: [c.row for c in check.complaints] for check in report.checks if not check.passed}
    assert told == {"test-leak": [4, 6], "duplicate-earlier": [9, 11]}
    assert experience.left_out == (4, 6, 9, 11)


@pytest.mark.parametrize(("bad", "admitted"), [(2, True), (3, False)])
def test_the_share_that_is_allowed_is_allowed(bad, admitted):
    table = table_of(40, problem=dict.fromkeys(range(bad), "empty"))
    if admitted:
        assert asked(table, refused_share=0.05)[1].admitted
    else:
        assert "3 of 40 images (7.5%) were refused, more than the 5% allowed: 3 empty." in rejection(table).summary


LEAST = {
    "training": (
        table_of(12),
        {"min_train": 10, "min_test": 3},
        "Quarantined: 9 images left for training, at least 10 needed.",
        ("least-train", 1),
    ),
    "testing": (
        table_of(16, image={15: image_id(13)}),
        {"min_train": 10, "min_test": 4},
        "Quarantined: 3 images left for testing, at least 4 needed; 1 left out: 1 delivered twice.",
        ("least-test", 1),
    ),
    "nothing new": (
        table_of(20, first=100).drop(index=[1, *range(15, 20)]).reset_index(drop=True),
        {},
        "Quarantined: 0 images left for training, at least 10 needed; 0 images left for testing, at least 5 needed; "
        "14 left out: 14 already known.",
        ("least-train", 10),
    ),
}


@pytest.mark.parametrize("case", LEAST.values(), ids=LEAST.keys())
def test_too_little_that_is_left_quarantines_the_whole_batch(case):
    table, params, sentence, (name, found) = case
    report = rejection(table, EARLIER, **params)
    assert report.summary == sentence
    assert found_by(report, name).found == found


def test_warnings_show_the_first_twenty_images():
    _, report = asked(table_of(40, frames=dict.fromkeys(range(30), 2)))
    check = found_by(report, "animation")
    assert (check.found, len(check.complaints)) == (30, 20)


def test_hostile_names_are_one_printable_line():
    table = table_of(
        path={3: "a/\x1b[2J\u202egnp.\n<script>"}, problem={3: "truncated"},
        detail={3: "it ends\nearly"},
    )  # fmt: skip
    _, report = asked(table)
    complaint = found_by(report, "file-truncated").complaints[0]
    assert complaint.path == r"a/\x1b[2J\u202egnp.\n<script>"
    assert complaint.detail == r"it ends\nearly"
    _, report = asked(table_of(label={3: "{image}" * 100}), allowed_classes=("cat", "dog"))
    detail = found_by(report, "label-not-allowed").complaints[0].detail
    assert detail.startswith("labelled {image}{image}")
    assert len(detail) < 450


def test_many_labels_for_the_same_pixels_make_no_long_list():
    table = table_of(
        60, image=dict.fromkeys(range(40), image_id(0)), label={row: f"class {row:02}" for row in range(40)}
    )
    _, report = asked(table)
    check = found_by(report, "labels-conflict")
    assert check.found == 40
    assert check.complaints[7].detail == "the same pixels are labelled class 00, class 01, class 02 and 37 others"


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (table_of(20).drop(columns="phash"), "phash"),
        (table_of(20, label={3: None}), "label"),
        (table_of(20).iloc[:19], "19 rows, not 20"),
    ],
)
def test_facts_that_are_not_those_of_the_batch(facts, told):
    with pytest.raises(DamagedState, match=told):
        validate(facts, batch_of(table_of(20)), NOTHING_EARLIER, (), LENIENT)


def test_earlier_images_are_the_admitted_ones_each_once():
    first, second = table_of(4, first=1), table_of(4, first=3, split={0: "test", 1: "train"})
    experiences = [
        Experience(batch=name, digest="a", classes=("cat",), train=1, validation=0, test=1, left_out=out)
        for name, out in (("first", (1,)), ("second", ()))
    ]
    images = EarlierImages.of(zip(experiences, (first, second), strict=True)).images.sort_index()
    assert list(images.index) == [image_id(number) for number in (1, 3, 4, 5, 6)]
    assert list(images["split"]) == ["train", "test", "test", "train", "test"]
    assert list(images["experience"]) == ["first", "second", "first", "second", "second"]
    assert set(images["side"]) == {36}
