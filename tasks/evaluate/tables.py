"""What an evaluation leaves behind: a score matrix, and two tables with a row an image."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from models.problems.base import TALLIES, Answers, names_of
from models.statistics import Floats
from tasks.evaluate.examine import ExaminedExperience

OUTCOMES, REFERENCES, SCORES = "outcomes.parquet", "references.parquet", "scores.json"


def write_outcomes(examined: Sequence[ExaminedExperience], classes: Sequence[str], path: Path) -> None:
    """What was answered to every image, and how right it is."""
    parts = [
        pa.table(
            {
                "experience": pa.array([e.experience] * len(e.image), pa.string()),
                "image": pa.array(e.image.tolist(), pa.string()),
                "label": pa.array(names_of(e.truth, classes), pa.string()),
                "answer": pa.array(names_of(e.answers.answer, classes), pa.string()),
                "confidence": pa.array(e.answers.confidence, pa.float32()),
                "overall": pa.array(e.answers.overall),
                "among_known": pa.array(e.answers.among_known),
                **_tallies_of(e.answers),
            }
        )
        for e in examined
    ]
    parquet.write_table(pa.concat_tables(parts), path, compression="ZSTD")


def _tallies_of(answers: Answers) -> dict[str, pa.Array]:
    """Columns of lists, if the score is of tallies."""
    found = {name: getattr(answers, name) for name in TALLIES}
    return {name: lists(tally) for name, tally in found.items() if tally is not None}


def lists(rows: Floats) -> pa.Array:
    """A column of lists from the rows of [n, k]."""
    return pa.array(list(rows), pa.list_(pa.float64()))
