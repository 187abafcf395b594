"""Figures as a person reads them."""

from records.formatting import in_percent


def test_percent_has_no_negative_zero():
    assert [in_percent(value) for value in (None, 0.12345, -0.0001, 1)] == ["–", "12.3%", "0.0%", "100.0%"]
