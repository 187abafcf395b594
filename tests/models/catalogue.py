"""What the catalogue lists, for the contract tests: a new entry is tested without a line here or there."""

from typing import Any, get_args


def listed(choice: Any) -> list[Any]:
    """Every member of a choice of `models/catalogue.py`, as it is if nothing is set."""
    kinds = get_args(choice)[0]
    return [kind() for kind in get_args(kinds) or (kinds,)]
