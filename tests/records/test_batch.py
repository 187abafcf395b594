"""What a person is shown of batches: their ids, and what deliveries are called."""

import json
from datetime import date

from records.batch import Batch, called, id_of, shortened, titles

DAY = date(2026, 1, 5)
ONE, TWO, THREE = (id_of(DAY, digits + "0" * 50) for digits in ("3f2a9c1b7", "3f2a9c1b75", "aa"))
FIRST, SECOND = "2026-03-02-" + "0e8d" * 8, "2026-03-09-" + "745f" * 8


def test_an_id_has_the_day_and_32_digits_of_the_digest():
    assert id_of(DAY, "f" * 64) == "2026-01-05-" + "f" * 32


def test_a_person_is_shown_eight_digits():
    assert shortened(f"{THREE} is corrected as {THREE}.") == "2026-01-05-aa000000 is corrected as 2026-01-05-aa000000."
    assert shortened("2026-01-05-3f2a9c1b was written by an earlier retain") == (
        "2026-01-05-3f2a9c1b was written by an earlier retain"
    )


def test_ids_that_begin_alike_are_told_apart():
    assert shortened(f"{ONE}, {TWO}, {THREE}") == "2026-01-05-3f2a9c1b70, 2026-01-05-3f2a9c1b75, 2026-01-05-aa000000"


def test_paths_stay_as_they_are():
    for path in (f"quarantine/{ONE}/report.html", f"/shop/data/batches/{ONE}", f"{ONE}/files", f"{ONE}-1"):
        assert shortened(path) == path


def test_a_delivery_is_called_by_its_name():
    assert titles({FIRST: "monday", SECOND: "tuesday"}) == {FIRST: "monday", SECOND: "tuesday"}
    assert called(f"most of {FIRST}, 2%", {FIRST: "monday"}) == "most of monday (2026-03-02), 2%"
    same = FIRST.replace("0e8d", "ffff")
    names = {FIRST: "monday", SECOND: "monday", same: "monday"}
    assert called(f"{FIRST} to {SECOND}, {same}", names) == (
        "monday (2026-03-02-0e8d0e8d) to monday (2026-03-09), monday (2026-03-02-ffffffff)"
    )
    assert called(f"most of {FIRST}, 2%", {}) == "most of 2026-03-02-0e8d0e8d, 2%"


def test_deliveries_of_one_name_are_told_apart_by_the_day_and_those_of_one_day_by_the_digest():
    assert titles({FIRST: "monday", SECOND: "monday"}) == {FIRST: "monday 03-02", SECOND: "monday 03-09"}
    same = FIRST.replace("0e8d", "ffff")
    assert titles({FIRST: "monday", same: "monday"}) == {FIRST: "monday 03-02-0e8d", same: "monday 03-02-ffff"}


def test_a_batch_without_masks_is_written_as_before_there_were_masks() -> None:
    batch = Batch(
        id="2026-01-05-3f2a9c1b",
        digest="0" * 64,
        arrived=date(2026, 1, 5),
        source="monday",
        images=1,
        classes=("cat",),
        shards=(),
    )
    assert not {"annotation", "mask_classes"} & json.loads(batch.model_dump_json()).keys()
    masked = batch.model_copy(update={"annotation": "mask", "mask_classes": ("background", "cat")})
    assert Batch.model_validate_json(masked.model_dump_json()) == masked
    assert Batch.model_validate_json(batch.model_dump_json()) == batch
