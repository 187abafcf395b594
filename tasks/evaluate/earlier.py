"""What the version that a candidate was made from left behind, and the best earlier answers to every image."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as parquet

from models.statistics import Floats
from records.registration import APPROVAL, Approval
from records.scores import FirstSight, History, ScoreMatrix, ScoreRow, thinned
from tasks.evaluate.tables import OUTCOMES, REFERENCES, SCORES


@dataclass(frozen=True)
class Reference:
    """The best version so far on one experience, and how right it was among the classes known at first."""

    version: str
    right: dict[str, float]
    """Image to outcome."""
    granted: int = 0
    """How many classes compete since a person granted what was lost until then; 0 if nobody did."""
    tally: dict[str, Floats] = field(default_factory=dict)
    """Image to its tally, if the score is of tallies."""


def read_references(evaluation: Path | None, version: int) -> dict[str, Reference]:
    """Experience to reference, as registered `version` left them in its evaluation folder; none for version 0.

    A version that a person let in is the reference for everything itself, as it answered among all that it knew: what
    it had forgotten until then, and what new classes had taken, is granted.
    """
    if evaluation is None:
        return {}
    if (evaluation / APPROVAL).exists():
        classes = Approval.read(evaluation / APPROVAL).classes
        table = parquet.read_table(evaluation / OUTCOMES).to_pandas()
        return {
            str(experience): Reference(f"v{version}", by_image(rows, "overall"), classes, by_image(rows, "tally"))
            for experience, rows in table.groupby("experience", sort=False)
        }
    table = parquet.read_table(evaluation / REFERENCES).to_pandas()
    return {
        str(experience): Reference(
            version=str(rows["version"].iloc[0]).replace("candidate", f"v{version}"),
            right=by_image(rows, "right"),
            granted=int(rows["granted"].iloc[0]) if "granted" in rows else 0,
            tally=by_image(rows, "tally"),
        )
        for experience, rows in table.groupby("experience", sort=False)
    }


def by_image(rows: pd.DataFrame, column: str) -> dict[str, Any]:
    """Image to its value in a column, which may be missing."""
    return dict(zip(rows["image"], rows[column], strict=True)) if column in rows else {}


@dataclass(frozen=True)
class Earlier:
    """What the version that the candidate was made from left behind; of version 0, nothing."""

    lineage: tuple[ScoreRow, ...] = ()
    """The scores of its ancestors and its own, oldest first; of old ones only some."""
    history: dict[str, History] = field(default_factory=dict)
    """Experience to what all of these scored on it."""
    version: int = 0
    """Its number."""
    before: dict[str, FirstSight] = field(default_factory=dict)
    references: dict[str, Reference] = field(default_factory=dict)
    """Experience to the best version so far."""
    right: dict[str, dict[str, float]] = field(default_factory=dict)
    """Experience to image to how right the version itself was, all classes competing."""

    @classmethod
    def read(cls, evaluation: Path, version: int) -> "Earlier":
        """From the evaluation folder of registered `version`."""
        matrix = ScoreMatrix.read(evaluation / SCORES)
        # When it was judged it was a candidate; it got its number by being accepted.
        itself = matrix.candidate.model_copy(update={"version": f"v{version}"})
        history = {name: History.after(matrix.history.get(name), score) for name, score in itself.scores.items()}
        return cls(
            lineage=thinned((*matrix.rows[:-1], itself)),
            history=history,
            version=version,
            before=matrix.before,
            references=read_references(evaluation, version),
            right=_right(evaluation),
        )

    def granted(self, experience: str) -> int:
        """How many classes compete on an experience since a person granted what it had lost; 0 if nobody did."""
        return self.references[experience].granted if experience in self.references else 0


def _right(evaluation: Path) -> dict[str, dict[str, float]]:
    """Experience to image to how right the version was, all classes competing."""
    table = parquet.read_table(evaluation / OUTCOMES, columns=["experience", "image", "overall"]).to_pandas()
    return {str(experience): by_image(rows, "overall") for experience, rows in table.groupby("experience", sort=False)}
