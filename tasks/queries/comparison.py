"""Two versions compared: what the second learned, and what it lost."""

from collections.abc import Sequence

import pandas as pd
import pyarrow.parquet as parquet

from records.record import Record
from tasks.evaluate.tables import OUTCOMES
from tasks.workspace.versions import version_folder
from tasks.workspace.workspace import Workspace


class Change(Record):
    """How two versions differ on the same test images: of one experience, of one class, or of all that both know."""

    subject: str
    images: int
    first: float | None
    second: float | None
    """Scores of both versions, 0..1. None if that version was never examined on it; then the other one stands alone."""
    lost: int
    """Images that the first answers rightly and the second does not (negative flips)."""
    gained: int
    """Images that the second answers rightly and the first does not."""


class VersionComparison(Record):
    """What `second` learned and what it lost against `first`."""

    first: int
    second: int
    total: Change | None
    """On all images that both were examined on; None if there are none."""
    experiences: tuple[Change, ...]
    """Those of both versions, oldest first."""
    classes: tuple[Change, ...]
    """Those of both versions, as they were learned."""
    confused: dict[str, int]
    """`label → answer` to number of images that the second lost so, most frequent first."""


def compare_versions(workspace: Workspace, first: int, second: int) -> VersionComparison:
    """Compare two registered versions image by image, from the outcomes stored with them; no model runs.

    Raises `WrongInput` if one of them does not exist.
    """
    return compare_answers(first, second, outcomes_of(workspace, first), outcomes_of(workspace, second))


def compare_answers(first: int, second: int, before: pd.DataFrame, after: pd.DataFrame) -> VersionComparison:
    """Compare two versions by their answers: a row an image, with columns experience, image, label, answer, overall."""
    rows = join_answers(before, after)
    both = rows[rows["_merge"] == "both"]
    lost = both[both["overall_first"] > both["overall_second"]]
    pairs = (lost["label"] + " → " + lost["answer_second"]).value_counts()
    return VersionComparison(
        first=first,
        second=second,
        total=change_of("all", both) if len(both) else None,
        experiences=_changes(rows, "experience", (before, after)),
        classes=_changes(rows, "label", (before, after)),
        confused={str(pair): int(count) for pair, count in pairs.items()},
    )


def join_answers(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """A row an image that either version was examined on: answer_first, answer_second, ..., and which in `_merge`."""
    keys = ["experience", "image", "label"]
    return before.merge(after, on=keys, how="outer", suffixes=("_first", "_second"), indicator=True)


def outcomes_of(workspace: Workspace, version: int) -> pd.DataFrame:
    """What a registered version answered: experience, image, label, answer, overall. Raises `WrongInput` if there is no
    such version.
    """
    folder = version_folder(workspace, version)
    assert folder is not None, "version 0 is not registered"
    columns = ["experience", "image", "label", "answer", "overall"]
    table: pd.DataFrame = parquet.read_table(folder / "evaluation" / OUTCOMES, columns=columns).to_pandas()
    return table


def _changes(rows: pd.DataFrame, by: str, tables: Sequence[pd.DataFrame]) -> tuple[Change, ...]:
    groups = dict(list(rows.groupby(by, sort=False)))
    in_order = pd.concat([table[by] for table in tables]).unique()
    return tuple(change_of(str(subject), groups[subject]) for subject in in_order)


def change_of(subject: str, rows: pd.DataFrame) -> Change:
    """How the versions differ on some rows of `join_answers`."""
    shared = rows[rows["_merge"] == "both"]
    counted = shared if len(shared) else rows
    return Change(
        subject=subject,
        images=len(counted),
        first=_score(counted["overall_first"]),
        second=_score(counted["overall_second"]),
        lost=int((shared["overall_first"] > shared["overall_second"]).sum()),
        gained=int((shared["overall_first"] < shared["overall_second"]).sum()),
    )


def _score(outcomes: "pd.Series[float]") -> float | None:
    known = outcomes.dropna()
    return round(float(known.mean()), 6) if len(known) else None
