"""The expectations that retain asks, each of Great Expectations' own, with a configuration that is made once.

The library makes the configuration of an expectation anew for each of its fields, some eighty times for one that is
kept, which is a third of the time that a suite takes. Importing this module takes seconds, as the library does.
"""

from typing import Any

from great_expectations.compatibility.pydantic import PrivateAttr
from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
from great_expectations.expectations.core.expect_column_values_to_not_be_in_set import ExpectColumnValuesToNotBeInSet


class Once:
    """An expectation that is not altered once it was asked for its configuration; the library asks copies of it."""

    _made: Any

    @property
    def configuration(self) -> Any:
        """What the expectation expects, as the library writes it."""
        if self._made is None:
            self._made = super().configuration  # type: ignore[misc]
        return self._made


class ExpectColumnToHoldOneOf(Once, ExpectColumnValuesToBeInSet):
    """Every value is in the set."""

    _made: Any = PrivateAttr(None)


class ExpectColumnToHoldNoneOf(Once, ExpectColumnValuesToNotBeInSet):
    """No value is in the set."""

    _made: Any = PrivateAttr(None)


class ExpectColumnToLieBetween(Once, ExpectColumnValuesToBeBetween):
    """Every value lies between two bounds."""

    _made: Any = PrivateAttr(None)
