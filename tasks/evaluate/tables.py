"""What an evaluation leaves behind: a score matrix, and two tables with a row an image."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from pydantic import TypeAdapter

from models.catalogue import ProblemChoice
from models.problems.base import TALLIES, Answers, Problem, names_of
from models.statistics import Floats
from tasks.evaluate.examine import ExaminedExperience

OUTCOMES, REFERENCES, SCORES = "outcomes.parquet", "references.parquet", "scores.json"
UNLABELLED = "unlabelled.parquet"
"""Of problems whose images may show what nobody looked for: see `tasks/evaluate/unlabelled.py`."""
CLASSES, PROBLEM = b"classes", b"problem"
"""Keys of what tallies are of, in the metadata of a table of outcomes: the names of the classes, and the problem."""


def write_outcomes(
    examined: Sequence[ExaminedExperience], classes: Sequence[str], problem: Problem, path: Path
) -> None:
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
    table = pa.concat_tables(parts)
    if "tally" in table.column_names:
        table = table.replace_schema_metadata({CLASSES: json.dumps(list(classes)), PROBLEM: problem.model_dump_json()})
    parquet.write_table(table, path, compression="ZSTD")


def classes_of(outcomes: Path) -> tuple[str, ...]:
    """The classes that the tallies of a table of outcomes are of, in their order; none if it has no tallies."""
    return tuple(json.loads(_said(outcomes).get(CLASSES, b"[]")))


def problem_of(outcomes: Path) -> Problem | None:
    """What the answers of a table of outcomes were judged as; None if it has no tallies, or was written earlier."""
    said = _said(outcomes).get(PROBLEM)
    return None if said is None else TypeAdapter[Problem](ProblemChoice).validate_json(said)


def _said(outcomes: Path) -> dict[bytes, bytes]:
    return parquet.read_schema(outcomes).metadata or {}


def _tallies_of(answers: Answers) -> dict[str, pa.Array]:
    """Columns of lists, if the score is of tallies."""
    found = {name: getattr(answers, name) for name in TALLIES}
    return {name: lists(tally) for name, tally in found.items() if tally is not None}


def lists(rows: Floats) -> pa.Array:
    """A column of lists from the rows of [n, k]."""
    return pa.array(list(rows), pa.list_(pa.float64()))


def stacked(rows: Iterable[Floats]) -> Floats:
    """[n, k] from a list of each of n images, filled up with zeros for classes that an image was not asked for."""
    given = list(rows)
    table = np.zeros((len(given), max(map(len, given))))
    for row, values in zip(table, given, strict=True):
        row[: len(values)] = values
    return table
