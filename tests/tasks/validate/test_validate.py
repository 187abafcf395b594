import hashlib
import tracemalloc
from datetime import date

import pandas as pd
import pytest

from records.batch import Batch, Shard
from records.errors import DamagedState
from records.experience import Experience, RejectedBatch, Report
from tasks.validate.catalogue import IMAGE_CHECKS
from tasks.validate.earlier import EarlierImages
from tasks.validate.settings import ValidateParams
from tasks.validate.validate import validate

pytestmark = pytest.mark.expectations

LENIENT = ValidateParams(
    refused_share=1, min_train=1, min_test=1, min_train_new_class=0, min_train_per_class=0, min_test_per_class=0
)


NOTHING_EARLIER = EarlierImages.of([])


def look(number):
    return hashlib.sha256(str(number).encode()).hexdigest()[:16]


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
            "mode": "L",
            "frames": 1,
            "bytes": 900,
            "brightness": 0.5,
            "contrast": 0.2,
            "low": 0.2,
            "high": 0.8,
            "entropy": 6.0,
            "sharpness": 400.0,
            "phash": [look(first + row) for row in rows],
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


FAULTS = {
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
    "repeated": "row-repeated",
    **{name: name for name in ("mask-missing", "mask-unreadable", "mask-size", "mask-mode", "mask-index")},
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
        {"formats": ("PNG", "BMP"), "max_side": 400, "max_aspect": 10.0, "odd_size": 1000.0},
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
    "new classes": (
        table_of(label={0: "owl", 2: "ca\u200bt"}),
        NOTHING_EARLIER,
        {"min_train_new_class": 2},
        {
            "class-disguised": {2: "labelled ca\\u200bt with U+200B ZERO WIDTH SPACE, which cannot be seen"},
            "class-lookalike": {2: "labelled ca\\u200bt with U+200B ZERO WIDTH SPACE, which looks like the class cat"},
            "class-scarce": {
                0: "labelled owl, a new class with 1 of the 2 images for training that it needs",
                2: "labelled ca\\u200bt, a new class with 1 of the 2 images for training that it needs",
            },
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
            "test-leak": {4: "a test image in 2026-01-04-aaaaaaaa as dog"},
            "label-correction": {
                6: "labelled dog, but in 2026-01-04-aaaaaaaa as cat",
                8: "labelled dog, but in 2026-01-04-aaaaaaaa as cat",
            },
            "duplicate-earlier": {2: "delivered before in 2026-01-04-aaaaaaaa as dog"},
        },
    ),
    "nearly the same": (
        # Row 5 is too small to tell, rows 7 and 16 show nothing, and row 6 differs from row 17 in two bits.
        table_of(
            phash={
                2: "12a5f00fc3a55a34", 3: "12a5f00fc3a55a37", 5: "12a5f00fc3a55a34", 18: "12a5f00fc3a55a34",
                6: "00ff00ff00ff00ff", 17: "00ff00ff00ff00cf",
                7: "0" * 16, 16: "0" * 16, 8: "f" * 16, 19: "f" * 16,
                10: "a5a5a5a5a5a5a5a5", 12: "a5a5a5a5a5a5a5a5", 11: "a5a5a5a5a5a5a5a4",
            },
            width={5: 31},
            split={6: "validation"},
        ),
        NOTHING_EARLIER,
        {},
        {
            "near-test": {
                2: "looks like dog/18.png", 3: "looks like dog/18.png, labelled dog",
                6: "looks like cat/17.png, labelled cat",
            },
            "labels-conflict-near": {
                3: "looks like dog/2.png, labelled dog", 6: "looks like cat/17.png, labelled cat",
                11: "looks like dog/10.png, labelled dog", 12: "looks like cat/11.png, labelled cat",
                17: "looks like dog/6.png, labelled dog", 18: "looks like cat/3.png, labelled cat",
            },
            "duplicate-near": {
                3: "looks like dog/2.png, labelled dog", 11: "looks like dog/10.png, labelled dog",
                12: "looks like dog/10.png",
            },
        },
    ),
    "nearly the same as earlier": (
        # 115 to 119 were for testing, of which 116 is too small to tell; 101 had been left out.
        table_of(
            phash={2: look(115), 3: look(116), 4: look(101), 6: look(104), 16: look(106), 18: look(117)},
            label={18: "cat"},
        ),
        earlier_of(table_of(20, first=100, width={16: 31}), left_out=(1,)),
        {},
        {
            "test-leak-near": {2: "looks like a test image of 2026-01-04-aaaaaaaa (labelled cat)"},
            "trained-near": {16: "looks like a training image of 2026-01-04-aaaaaaaa (labelled dog)"},
            "labels-conflict-near": {2: "looks like an image of 2026-01-04-aaaaaaaa (labelled cat)"},
            "duplicate-near": {
                6: "looks like an image of 2026-01-04-aaaaaaaa (labelled dog)",
                18: "looks like an image of 2026-01-04-aaaaaaaa (labelled cat)",
            },
        },
    ),
    "quality": (
        table_of(
            contrast={2: 0.0}, high={2: 0.01, 3: 0.1, 4: 0.15}, low={5: 0.97, 6: 0.95}, sharpness={7: 3.25},
            entropy={2: 0.0, 8: 0.25}, width={9: 160, 10: 12}, height={9: 216, 10: 10},
        ),
        NOTHING_EARLIER,
        {},
        {
            "blank": {2: "every pixel has the grey level 0.5"},
            "dark": {3: "95% of the pixels are below 0.1"},
            "bright": {5: "95% of the pixels are above 0.97"},
            "blurry": {7: "sharpness 3.25"},
            "low-information": {8: "0.25 bits"},
            "odd-size": {
                9: "160 x 216 pixels, 24.0 times more than the batch's median",
                10: "12 x 10 pixels, 12.0 times fewer than the batch's median",
            },
        },
    ),
    "slips": (
        table_of(label={2: "Cat", 3: "c-a-t", 5: "kangaroo", 7: "kangaroo", 9: "kangarou", 11: "part 1", 13: "part 2"}),
        NOTHING_EARLIER,
        {},
        {
            "class-respelled": {
                2: "labelled Cat, but there is a class cat", 3: "labelled c-a-t, but there is a class cat",
            },
            "class-similar": {9: "labelled kangarou, which is nearly kangaroo"},
        },
    ),
    "colour": (
        table_of(mode={3: "CMYK"}), NOTHING_EARLIER, {"modes": ("L", "RGB")}, {"colour-mode": {3: "stored as CMYK"}}
    ),
}  # fmt: skip


def test_each_problem_that_ingest_found_is_told_once():
    rows = range(len(FAULTS))
    problems = dict(zip(rows, FAULTS, strict=True))
    table = table_of(40, problem=problems, detail={row: f"fault {row}" for row in rows}, width=dict.fromkeys(rows, 0))
    experience, report = asked(table, allowed_classes=("cat", "dog"))
    reported = {c.row: (check.name, c.detail) for check in report.checks for c in check.violations}
    assert reported == {row: (FAULTS[problem], f"fault {row}") for row, problem in problems.items()}
    assert experience.left_out == tuple(rows)


def test_what_was_not_read_is_compared_with_nothing():
    """It has no look, and its name stands for its pixels: also where a person wants it left out without blame."""
    nothing = dict.fromkeys((0, 2), "")
    table = table_of(problem={0: "repeated", 2: "missing"}, phash=nothing, image={2: image_id(0)})
    _, report = asked(table, severity={"file-missing": "drop"})
    assert report.summary == "Admitted: 18 of 20 images; 2 left out: 1 missing, 1 named twice."
    assert report.faulty_rows() == ()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_check_names_its_rows_and_no_others(case):
    table, earlier, params, expected = case
    experience, report = asked(table, earlier, **params)
    wrong = [check for check in report.checks if not check.passed]
    assert {check.name: {c.row: c.detail for c in check.violations} for check in wrong} == expected
    assert all(check.found == len(check.violations) for check in report.checks)
    assert all(c.path == table["path"][c.row] for check in wrong for c in check.violations)
    leaving_out = [check for check in wrong if check.severity in ("refuse image", "drop")]
    assert experience.left_out == tuple(sorted({row for check in leaving_out for row in expected[check.name]}))


def test_the_cases_ask_every_check_of_images():
    asked_of_a_policy = {"class-new", "class-unconfirmed"}
    provoked = {*FAULTS.values(), *(name for case in CASES.values() for name in case[3]), *asked_of_a_policy}
    provoked |= {"mask-void", "mask-empty"}  # In test_masks.py.
    assert {check.name for check in IMAGE_CHECKS} <= provoked


def test_new_classes_are_refused_only_once_some_are_known():
    table = table_of(label={2: "cow", 5: "cow"})
    experience, report = asked(table, known=("cat", "dog"), new_classes="refuse")
    assert experience.left_out == (2, 5)
    assert [c.detail for c in found_by(report, "class-new").violations] == ["labelled cow"] * 2
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
    assert all(check.passed and check.found == 0 and check.violations == () for check in report.checks)
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
        "Quarantined: 21 of 120 images (18%) were refused, more than the 5% allowed: 12 truncated, 9 not images."
    )
    assert not report.admitted
    assert [(c.name, c.severity, c.found) for c in report.checks if not c.passed and c.severity != "drop"] == [
        ("refused-share", "refuse batch", 21),
        ("file-truncated", "refuse image", 12),
        ("not-an-image", "refuse image", 9),
    ]


def test_an_image_is_counted_once_by_its_main_reason():
    table = table_of(40, image={2: image_id(103), 5: image_id(117)}, label={2: "cow", 5: "cow"})
    _, report = asked(table, EARLIER, allowed_classes=("cat", "dog"))
    assert report.summary.startswith("Admitted: 38 of 40 images; 2 (5%) refused: 2 with a label that is not allowed.")
    assert [c.name for c in report.checks if not c.passed] == ["label-not-allowed"]
    table = table_of(40, image={2: image_id(103)}, label={2: "cow"}, sharpness={2: 1.0})
    _, report = asked(table, EARLIER, severity={"blurry": "refuse image"}, allowed_classes=("cat", "dog"))
    assert "; 1 (2.5%) refused: 1 with a label that is not allowed." in report.summary
    assert [c.name for c in report.checks if not c.passed] == ["label-not-allowed", "blurry"]


def test_what_is_refused_is_not_told_of_as_dropped():
    table = table_of(40, first=1000, image={4: image_id(116), 6: image_id(116), 9: image_id(107), 11: image_id(107)})
    experience, report = asked(table, EARLIER)
    reported = {check.name: [c.row for c in check.violations] for check in report.checks if not check.passed}
    assert reported == {"test-leak": [4, 6], "duplicate-earlier": [9, 11]}
    experience, report = asked(table, EARLIER, severity={"test-leak": "refuse image"})
    reported = {check.name: [c.row for c in check.violations] for check in report.checks if not check.passed}
    assert reported == {"test-leak": [4, 6], "duplicate-earlier": [9, 11]}
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
    assert (check.found, len(check.violations)) == (30, 20)
    assert check.all_rows() == tuple(range(30))


@pytest.mark.parametrize(("path", "named"), [("", 100), ("é" * 300, 26)])
def test_of_many_images_the_report_tells_the_first_and_knows_all(path, named):
    """Reports are committed to Git, whatever was sent."""
    rows = range(0, 10_000, 2)
    missing = ["" if row % 2 else "missing" for row in range(10_000)]
    table = table_of(10_000).assign(problem=missing, detail=missing, path=[f"{path}{row}" for row in range(10_000)])
    experience, report = asked(table)
    check = found_by(report, "file-missing")
    assert (check.found, len(check.violations)) == (5000, named)
    assert experience.left_out == report.faulty_rows() == check.all_rows() == tuple(rows)
    assert Report.model_validate_json(report.as_text()) == report
    assert len(report.as_text().encode()) < 60_000


def test_hostile_names_are_one_printable_line():
    table = table_of(
        path={3: "a/\x1b[2J\u202egnp.\n<script>"}, problem={3: "truncated"},
        detail={3: "it ends\nearly"},
    )  # fmt: skip
    _, report = asked(table)
    violation = found_by(report, "file-truncated").violations[0]
    assert violation.path == r"a/\x1b[2J\u202egnp.\n<script>"
    assert violation.detail == r"it ends\nearly"
    _, report = asked(table_of(label={3: "{image}" * 100}), allowed_classes=("cat", "dog"))
    detail = found_by(report, "label-not-allowed").violations[0].detail
    assert detail.startswith("labelled {image}{image}")
    assert len(detail) < 450


def test_many_labels_for_the_same_pixels_make_no_long_list():
    table = table_of(
        60, image=dict.fromkeys(range(40), image_id(0)), label={row: f"class {row:02}" for row in range(40)}
    )
    _, report = asked(table)
    check = found_by(report, "labels-conflict")
    assert check.found == 40
    assert check.violations[7].detail == "the same pixels are labelled class 00, class 01, class 02 and 37 others"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (table_of(20).drop(columns="phash"), "phash"),
        (table_of(20, label={3: None}), "label"),
        (table_of(20).iloc[:19], "19 rows, not 20"),
    ],
)
def test_facts_that_are_not_those_of_the_batch(facts, message):
    with pytest.raises(DamagedState, match=message):
        validate(facts, batch_of(table_of(20)), NOTHING_EARLIER, (), LENIENT)


@pytest.mark.parametrize("severity", ["refuse batch", "refuse image", "drop", "warn", "off"])
def test_what_follows_from_a_check_can_be_chosen(severity):
    table = table_of(100, sharpness={2: 1.0})
    if severity == "refuse batch":
        assert rejection(table, severity={"blurry": severity}).summary == "Quarantined: 1 blurred."
        return
    experience, report = asked(table, severity={"blurry": severity})
    assert experience.left_out == ((2,) if severity in ("refuse image", "drop") else ())
    assert ("blurry" in [check.name for check in report.checks]) == (severity != "off")


def test_unconfirmed_classes_wait_for_a_person_who_may_accept_them():
    table = table_of(label={2: "cow", 5: "cow"})
    params = ValidateParams(new_classes="ask", min_test=1)
    report = rejection(table, known=("cat", "dog"), new_classes="ask")
    assert report.summary == "Quarantined: 2 of a class that nobody has confirmed."
    accepted = batch_of(table).model_copy(update={"accepted": ("class-unconfirmed",)})
    experience, report = validate(table, accepted, NOTHING_EARLIER, ("cat", "dog"), params)
    assert experience.classes == ("cat", "cow", "dog")
    assert found_by(report, "class-unconfirmed").severity == "warn"


def test_an_image_that_is_refused_stands_in_the_way_of_no_other():
    alike = {2: "12a5f00fc3a55a34", 18: "12a5f00fc3a55a34"}
    table = table_of(mode={3: "P", 18: "P"}, image={5: image_id(3)}, phash=alike)
    experience, _ = asked(table, modes=("L",))
    assert experience.left_out == (3, 18), "row 5 is the first copy that counts, and row 2 is near no test image"


def test_an_image_of_a_format_that_is_put_up_with_is_looked_up_all_the_same():
    table = table_of(40, first=1000, format={4: "BMP"}, image={4: image_id(116)})
    experience, _ = asked(table, EARLIER, formats=("PNG",), severity={"format": "warn"})
    assert experience.left_out == (4,)


def test_what_is_left_out_for_its_own_looks_expels_no_other():
    same = "12a5f00fc3a55a34"
    earlier = earlier_of(table_of(20, first=100, phash={2: same}))
    experience, report = asked(table_of(phash={3: same, 18: same}), earlier)
    assert experience.left_out == (18,), "the test image is left out, so the training image is near none"
    assert found_by(report, "trained-near").found == 1


def test_classes_of_the_same_night_are_classes():
    table = table_of(label=dict.fromkeys(range(1, 20, 2), "Dog"))
    experience, _ = validate(table, batch_of(table), NOTHING_EARLIER, ("emu",), LENIENT, tonight=("Cat", "dog"))
    assert experience.left_out == tuple(range(1, 20, 2))
    params = LENIENT.model_copy(update={"new_classes": "ask"})
    table = table_of()
    assert validate(table, batch_of(table), NOTHING_EARLIER, ("emu",), params, tonight=("cat", "dog"))[1].admitted
    assert validate(table, batch_of(table), NOTHING_EARLIER, (), params, tonight=("emu",))[1].admitted


def test_an_image_that_cannot_be_decoded_is_never_learned():
    table = table_of(40, problem={2: "truncated"})
    accepted = batch_of(table).model_copy(update={"accepted": ("file-truncated",)})
    experience, _ = validate(table, accepted, NOTHING_EARLIER, (), LENIENT)
    assert experience.left_out == (2,)


def test_nobody_can_accept_that_there_is_nothing_to_learn():
    table = table_of(split=dict.fromkeys(range(20), "test"))
    accepted = batch_of(table).model_copy(update={"accepted": ("least-train",)})
    with pytest.raises(RejectedBatch, match="0 images left for training"):
        validate(table, accepted, NOTHING_EARLIER, (), LENIENT)


@pytest.mark.slow
def test_very_many_images_that_look_the_same_are_not_compared_one_by_one():
    """Each with a label of its own, in a few kilobytes: of their pairs there are a third of a million."""
    images = range(600)
    table = table_of(600, phash=dict.fromkeys(images, "12a5f00fc3a55a34"), label={n: f"c{n}" for n in images})
    asked(table_of())  # What is loaded once does not count.
    tracemalloc.start()
    report = rejection(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20
    assert found_by(report, "near-test").found == 450
