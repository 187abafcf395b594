"""What metrics are called in MLflow, and were called before: runs of earlier releases are read under the new names."""

RENAMED = {
    "average": "average_accuracy",
    "forgetting_from_best": "average_forgetting",
    "calibration_error": "expected_calibration_error",
}
RENAMED_GROUPS = {"class": "class_accuracy", "score": "accuracy", "score_among_known": "accuracy_among_known"}
"""What stands before the first `/` of a name."""


def current(name: str) -> str:
    """The name that a metric has now, whatever name it was logged under."""
    group, slash, rest = name.partition("/")
    return f"{RENAMED_GROUPS.get(group, group)}/{rest}" if slash else RENAMED.get(name, name)


def earlier(name: str) -> str | None:
    """The name that a metric had before; None if it always had the one that it has."""
    for before, now in (*RENAMED.items(), *((f"{old}/", f"{new}/") for old, new in RENAMED_GROUPS.items())):
        if name == now or (now.endswith("/") and name.startswith(now)):
            return before + name.removeprefix(now)
    return None
