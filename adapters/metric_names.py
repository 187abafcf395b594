"""What metrics are called in MLflow, and were called before: runs of earlier releases are read under the new names.

MLflow's pages list metrics by name. So what one looks at first has the first names: averages, then the verdict's
numbers with their bounds (`bounds/`); what there is of every class and batch comes later.
"""

from collections.abc import Iterable

RENAMED = {
    "average": "average_accuracy",
    "forgetting_from_best": "average_forgetting",
    "calibration_error": "expected_calibration_error",
    "forgotten/mean": "bounds/forgotten",
    "taken/mean": "bounds/taken",
    "class": "class_accuracy",
    "score": "test_accuracy",
    "score_among_known": "test_accuracy_among_known",
}
"""Of a name, or of the group that it is in."""


def current(name: str) -> str:
    """The name that a metric has now, whatever name it was logged under."""
    return _renamed(name, RENAMED.items()) or name


def earlier(name: str) -> str | None:
    """The name that a metric had before; None if it always had the one that it has."""
    return _renamed(name, ((now, before) for before, now in RENAMED.items()))


def _renamed(name: str, pairs: Iterable[tuple[str, str]]) -> str | None:
    for old, new in pairs:
        if name == old or name.startswith(f"{old}/"):
            return new + name.removeprefix(old)
    return None
