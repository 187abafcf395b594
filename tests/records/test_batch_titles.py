"""What deliveries are called."""

from records.batch import called, titles

FIRST, SECOND = "2026-03-02-" + "0e8d" * 8, "2026-03-09-" + "745f" * 8


def test_a_delivery_is_called_by_its_name():
    assert titles({FIRST: "monday", SECOND: "tuesday"}) == {FIRST: "monday", SECOND: "tuesday"}
    assert called(f"most of {FIRST}, 2%", {FIRST: "monday"}) == "most of monday, 2%"
    assert called(f"most of {FIRST}, 2%", {}) == "most of 2026-03-02-0e8d0e8d, 2%"


def test_deliveries_of_one_name_are_told_apart_by_the_day_and_those_of_one_day_by_the_digest():
    assert titles({FIRST: "monday", SECOND: "monday"}) == {FIRST: "monday 03-02", SECOND: "monday 03-09"}
    same = FIRST.replace("0e8d", "ffff")
    assert titles({FIRST: "monday", same: "monday"}) == {FIRST: "monday 03-02-0e8d", same: "monday 03-02-ffff"}
