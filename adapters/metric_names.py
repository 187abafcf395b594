"""What metrics are called in MLflow, and were called before: runs of earlier releases are read under the new names.

MLflow's pages list metrics by name. So what one looks at first has the first names: averages, then the verdict's
numbers with their bounds (`bounds/`); what there is of every class and batch comes later.
"""

from collections.abc import Iterable, Mapping

from records.score_names import ACCURACY
from records.scores import ScoreMatrix

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


def scores(matrix: ScoreMatrix) -> dict[str, float | None]:
    """The averages of a matrix, by the names that they have as metrics; those that there is nothing of are None."""
    score = matrix.score_name
    return {
        f"average_{score}": matrix.average(),
        "average_forgetting": matrix.forgetting_from_best(),
        "forgetting_from_first": matrix.forgetting_from_first(),
        "forgetting_from_parent": matrix.forgetting_from_parent(),
        "backward_transfer": matrix.backward_transfer(),
        "forward_transfer": matrix.forward_transfer(),
        f"learning_{score}": matrix.learning_accuracy(),
        "taken_by_new_classes": matrix.taken_by_new_classes(),
    }


def under_present_names(numbers: Mapping[str, float], score: str = ACCURACY) -> dict[str, float]:
    """Metrics as they are called now, of a run or version whose score is `score`."""
    average = f"average_{score}"
    return {average if name == "average" else current(name): value for name, value in numbers.items()}


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
