"""Two versions compared on parts of the test images: by camera, by source, by whatever is known of an image.

From the outcomes stored with both versions and the columns of the shards; no model is run.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as parquet

from dataset.batches import read_batch
from records.batch import Batch
from records.errors import WrongInput
from records.record import Record
from records.score_names import ACCURACY
from tasks.queries.comparison import Change, change_of, join_answers, outcomes_of, scoring_of
from tasks.queries.scoring import RIGHT_OR_WRONG, Scoring
from tasks.workspace.workspace import Workspace

SOURCE = "source"
FACTS = ("label", "format", "mode")
BUILT_IN = (SOURCE, *FACTS)
"""Columns that every batch has: the delivery it came as, and facts of the image. A column of this name that was
delivered goes before them."""
NO_VALUE = "(none)"
"""Where an image's value is empty, or its batch was delivered without the column."""


class Slices(Record):
    """How two versions differ on the test images that both were examined on, value by value of a column."""

    first: int
    second: int
    by: str
    values: tuple[Change, ...]
    """One for each value, those with the most images first."""
    score_name: str = ACCURACY
    """Which score is compared."""
    noticeable: float = 0.0
    """By how much the score of an image must differ to be lost or gained."""


def compare_by(workspace: Workspace, first: int, second: int, by: str) -> Slices:
    """Compare two registered versions by the values of a column. Raises `WrongInput` if there is no such version or
    column.
    """
    rows = join_answers(outcomes_of(workspace, first), outcomes_of(workspace, second))
    both = rows[rows["_merge"] == "both"]
    batches = [read_batch(workspace.batches, batch) for batch in both["experience"].unique()]
    known = sorted({*BUILT_IN, *(column for batch in batches for column in batch.columns)})
    if by not in known and by in _columns_of(workspace, (first, second)):
        raise WrongInput(
            f"Only images that both v{first} and v{second} were examined on are compared, and none of them was "
            f"delivered with the column '{by}'. They have: {', '.join(known)}."
        )
    if by not in known:
        raise WrongInput(f"There is no column '{by}' to compare by; there are: {', '.join(known)}.")
    values = [values_of(workspace.batches, batch, by) for batch in batches]
    return slice_answers(first, second, by, both, values, scoring_of(workspace, first, second))


def _columns_of(workspace: Workspace, versions: Sequence[int]) -> set[str]:
    """Every column that any experience of the versions was delivered with, of those that are on this machine."""
    names = {name for version in versions for name in outcomes_of(workspace, version)["experience"].unique()}
    present = [name for name in names if (workspace.batches / name / "batch.json").exists()]
    return {column for name in present for column in read_batch(workspace.batches, name).columns}


def slice_answers(
    first: int,
    second: int,
    by: str,
    both: pd.DataFrame,
    values: Sequence[pd.DataFrame],
    scoring: Scoring = RIGHT_OR_WRONG,
) -> Slices:
    """The same from tables: `both` as `join_answers` makes it, and for each batch a value an image (columns experience,
    image, label, value).
    """
    # Of several copies of an image the first is the one that was learned.
    found = pd.concat(values).drop_duplicates(["experience", "image", "label"]) if values else None
    rows = (
        both.assign(value="") if found is None else both.merge(found, on=["experience", "image", "label"], how="left")
    )
    rows["value"] = rows["value"].fillna("").replace("", NO_VALUE)
    changes = [change_of(str(value), group, scoring) for value, group in rows.groupby("value")]
    return Slices(
        first=first,
        second=second,
        by=by,
        values=tuple(sorted(changes, key=lambda c: (-c.images, c.subject))),
        score_name=scoring.names[0],
        noticeable=scoring.noticeable,
    )


def values_of(batches: Path, batch: Batch, by: str) -> pd.DataFrame:
    """A column's value for each test image of a batch: columns experience, image, label, value."""
    column = f"user.{by}" if by in batch.columns else by if by in FACTS else None
    parts = []
    for shard in batch.shards:
        names = dict.fromkeys(["image", "label", *([column] if column else [])])
        file = batches / batch.id / shard.name
        parts.append(parquet.read_table(file, columns=list(names), filters=[("split", "=", "test")]).to_pandas())
    table: pd.DataFrame = pd.concat(parts)
    value = table[column] if column else (batch.source if by == SOURCE else "")
    return table[["image", "label"]].assign(experience=batch.id, value=value)
