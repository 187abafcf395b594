"""What a person is shown of the ids of batches."""

from datetime import date

from records.batch import id_of, shortened

DAY = date(2026, 1, 5)
ONE, TWO, THREE = (id_of(DAY, digits + "0" * 50) for digits in ("3f2a9c1b7", "3f2a9c1b75", "aa"))


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
