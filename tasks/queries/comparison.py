"""Two versions compared: what the second learned, and what it lost."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pyarrow.parquet as parquet

from records.record import Record
from records.score_names import ACCURACY
from tasks.evaluate.tables import OUTCOMES, classes_of, problem_of
from tasks.params.params import params_of
from tasks.queries.scoring import RIGHT_OR_WRONG, Scoring, longer
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
    """Images that the first answers rightly and the second does not (negative flips); or of a segmentation, whose own
    score is noticeably lower."""
    gained: int
    """Images that the second answers rightly and the first does not; or whose own score is noticeably higher."""


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
    """`label → answer` to number of images that the second lost so, most frequent first; of masks, where one image
    holds many answers, nothing."""
    score_name: str = ACCURACY
    """Which score is compared."""
    class_score_name: str = ACCURACY
    """Which score of a class."""
    noticeable: float = 0.0
    """By how much the score of an image must differ to be lost or gained."""


def compare_versions(workspace: Workspace, first: int, second: int) -> VersionComparison:
    """Compare two registered versions image by image, from the outcomes stored with them; no model runs.

    Raises `WrongInput` if one of them does not exist.
    """
    before, after = outcomes_of(workspace, first), outcomes_of(workspace, second)
    return compare_answers(first, second, before, after, scoring_of(workspace, first, second))


def compare_answers(
    first: int, second: int, before: pd.DataFrame, after: pd.DataFrame, scoring: Scoring = RIGHT_OR_WRONG
) -> VersionComparison:
    """Compare two versions by their answers: a row an image, with columns experience, image, label, answer, overall,
    and tally if the score is of tallies."""
    rows = join_answers(before, after)
    both = rows[rows["_merge"] == "both"]
    score_name, class_score_name = scoring.names
    return VersionComparison(
        first=first,
        second=second,
        total=change_of("all", both, scoring) if len(both) else None,
        experiences=_changes(rows, "experience", (before, after), scoring),
        classes=_of_classes(rows, (before, after), scoring),
        confused={} if scoring.classes else _confused(both),
        score_name=score_name,
        class_score_name=class_score_name,
        noticeable=scoring.noticeable,
    )


def _confused(both: pd.DataFrame) -> dict[str, int]:
    lost = both[both["overall_first"] > both["overall_second"]]
    pairs = (lost["label"] + " → " + lost["answer_second"]).value_counts()
    return {str(pair): int(count) for pair, count in pairs.items()}


def _of_classes(rows: pd.DataFrame, tables: Sequence[pd.DataFrame], scoring: Scoring) -> tuple[Change, ...]:
    if not scoring.classes:
        return _changes(rows, "label", tables, scoring)
    found = (asdict(one) for one in scoring.of_classes(rows))
    return tuple(Change(subject=one.pop("name"), **one) for one in found)


def join_answers(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """A row an image that either version was examined on: answer_first, answer_second, ..., and which in `_merge`."""
    keys = ["experience", "image", "label"]
    return before.merge(after, on=keys, how="outer", suffixes=("_first", "_second"), indicator=True)


def outcomes_of(workspace: Workspace, version: int) -> pd.DataFrame:
    """What a registered version answered: experience, image, label, answer, overall, and tally if there is one. Raises
    `WrongInput` if there is no such version.
    """
    path = _outcomes(workspace, version)
    columns = ["experience", "image", "label", "answer", "overall", *(["tally"] if classes_of(path) else [])]
    table: pd.DataFrame = parquet.read_table(path, columns=columns).to_pandas()
    return table


def scoring_of(workspace: Workspace, first: int, second: int) -> Scoring:
    """How answers of two registered versions are scored."""
    tables = [_outcomes(workspace, version) for version in (first, second)]
    classes = [classes_of(table) for table in tables]
    if not all(classes):
        return RIGHT_OR_WRONG
    # The second is the later one as a rule, and params.yaml may ask for another problem by now.
    problem = problem_of(tables[1]) or params_of(workspace).update.problem
    return Scoring(problem, longer(*classes))


def _outcomes(workspace: Workspace, version: int) -> Path:
    folder = version_folder(workspace, version)
    assert folder is not None, "version 0 is not registered"
    return folder / "evaluation" / OUTCOMES


def _changes(rows: pd.DataFrame, by: str, tables: Sequence[pd.DataFrame], scoring: Scoring) -> tuple[Change, ...]:
    groups = dict(list(rows.groupby(by, sort=False)))
    in_order = pd.concat([table[by] for table in tables]).unique()
    return tuple(change_of(str(subject), groups[subject], scoring) for subject in in_order)


def change_of(subject: str, rows: pd.DataFrame, scoring: Scoring = RIGHT_OR_WRONG) -> Change:
    """How the versions differ on some rows of `join_answers`."""
    shared = rows[rows["_merge"] == "both"]
    counted = shared if len(shared) else rows
    drop = shared["overall_first"] - shared["overall_second"]
    return Change(
        subject=subject,
        images=len(counted),
        first=scoring.score(counted, "first"),
        second=scoring.score(counted, "second"),
        lost=int((drop > scoring.noticeable).sum()),
        gained=int((drop < -scoring.noticeable).sum()),
    )
