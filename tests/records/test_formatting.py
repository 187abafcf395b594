"""Figures as a person reads them."""

from records.formatting import in_percent, listed


def test_percent_has_no_negative_zero():
    assert [in_percent(value) for value in (None, 0.12345, -0.0001, 1)] == ["–", "12.3%", "0.0%", "100.0%"]


def test_of_many_names_the_first_are_listed_and_the_others_counted():
    assert [listed(["a", "b", "c"][:n], 2) for n in range(4)] == ["", "a", "a, b", "a, b and 1 more"]
