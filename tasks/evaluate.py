"""Evaluate: the candidate answers the test images of every experience it ever learned; the best earlier answers wait.

Nothing is asked twice: a version's outcomes are stored with it, image by image, and reused for ever. Two tables lie
beside the score matrix: `outcomes.parquet`, the candidate's; and `references.parquet`, what the next night will be
compared with if this candidate is accepted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray
from pydantic import Field

from models.archive import Archive
from models.gates.base import Outcomes
from models.knowledge import Knowledge, sha256
from models.learner import Learner
from models.problems.base import Answers, Problem
from models.statistics import certainly_better
from records.experience import Experience
from records.record import Record
from records.scores import Score, ScoreMatrix, ScoreRow

OUTCOMES, REFERENCES, SCORES = "outcomes.parquet", "references.parquet", "scores.json"


class EvaluateParams(Record):
    """Section `evaluate` of params.yaml."""

    better: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence with which a version must beat the best one so far on an experience to take its place. The error is
    spread over all versions that try, see `certainly_better`."""


@dataclass(frozen=True)
class Examined:
    """One experience's test images, answered by the candidate."""

    experience: str
    image: NDArray[np.str_]
    target: NDArray[np.int64]
    answers: Answers


def evaluate(
    candidate: Path, parent: Path | None, archive: Archive, problem: Problem, params: EvaluateParams, out: Path
) -> ScoreMatrix:
    """Score the candidate on every experience and write matrix and tables below `out`.

    `candidate` is a snapshot's folder; `parent` is the evaluation folder of the version it was made from, None for
    version 0. One forward pass over the test images, in large batches.
    """
    known = Knowledge.read(candidate)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    examined = [
        _examine(known.learner, e, known.snapshot.known_at[e.batch], archive, problem, device)
        for e in known.snapshot.experiences
    ]
    references = read_references(parent, known.snapshot.parent)
    lineage = _named(ScoreMatrix.read(parent / SCORES), known.snapshot.parent) if parent else ()
    out.mkdir(parents=True, exist_ok=True)
    _write_outcomes(examined, known.learner.classes, out / OUTCOMES)
    _write_references(examined, references, lineage, params, out / REFERENCES)
    matrix = _matrix(examined, references, lineage, problem)
    matrix = matrix.model_copy(update={"outcomes": {name: sha256(out / name) for name in (OUTCOMES, REFERENCES)}})
    matrix.write(out / SCORES)
    return matrix


def read_pairs(evaluation: Path, parent: Path | None) -> tuple[Outcomes, ...]:
    """What the gate judges: for each experience the candidate's outcomes and, for past ones, the best earlier ones."""
    matrix = ScoreMatrix.read(evaluation / SCORES)
    table = parquet.read_table(evaluation / OUTCOMES).to_pandas()
    references = read_references(parent, 0)
    pairs = []
    for experience in matrix.experiences:
        mine = table[table["experience"] == experience]
        reference = None
        if experience in references:
            best = references[experience].right
            reference = np.array([best[image] for image in mine["image"]])
        pairs.append(
            Outcomes(
                experience=experience,
                new=experience in matrix.new,
                overall=mine["overall"].to_numpy(),
                among_known=mine["among_known"].to_numpy(),
                reference=reference,
            )
        )
    return tuple(pairs)


@dataclass(frozen=True)
class Reference:
    """The best version so far on one experience, and how right it was among the classes known at first."""

    version: str
    right: dict[str, float]
    """Image to outcome."""


def read_references(evaluation: Path | None, version: int) -> dict[str, Reference]:
    """Experience to reference, as registered `version` left them in its evaluation folder; none for version 0."""
    if evaluation is None:
        return {}
    table = parquet.read_table(evaluation / REFERENCES).to_pandas()
    return {
        str(experience): Reference(
            version=str(rows["version"].iloc[0]).replace("candidate", f"v{version}"),
            right=dict(zip(rows["image"], rows["right"], strict=True)),
        )
        for experience, rows in table.groupby("experience", sort=False)
    }


def _examine(
    learner: Learner, experience: Experience, known: int, archive: Archive, problem: Problem, device: torch.device
) -> Examined:
    pool = archive.pool([experience], "test", learner.classes, learner.spec)
    parts = torch.split(torch.arange(len(pool)), learner.at_once)
    outputs = torch.cat([learner.outputs(pool.images(part), device) for part in parts])
    return Examined(experience.batch, pool.image, pool.target.numpy(), problem.outcomes(outputs, pool.target, known))


def _write_outcomes(examined: Sequence[Examined], classes: Sequence[str], path: Path) -> None:
    names = np.array(classes, dtype=object)
    parts = [
        pa.table(
            {
                "experience": pa.array([e.experience] * len(e.image), pa.string()),
                "image": pa.array(e.image.tolist(), pa.string()),
                "label": pa.array(names[e.target].tolist(), pa.string()),
                "answer": pa.array(names[e.answers.answer].tolist(), pa.string()),
                "confidence": pa.array(e.answers.confidence),
                "overall": pa.array(e.answers.overall),
                "among_known": pa.array(e.answers.among_known),
            }
        )
        for e in examined
    ]
    parquet.write_table(pa.concat_tables(parts), path, compression="NONE")


def _write_references(
    examined: Sequence[Examined],
    references: dict[str, Reference],
    lineage: Sequence[ScoreRow],
    params: EvaluateParams,
    path: Path,
) -> None:
    versions = [row.version for row in lineage]
    parts = []
    for e in examined:
        version, right = "candidate", e.answers.among_known
        if e.experience in references:
            best = references[e.experience]
            earlier = np.array([best.right[image] for image in e.image])
            challengers = len(versions) - versions.index(best.version)  # every version since, and the candidate
            if not certainly_better(right, earlier, params.better, look=challengers):
                version, right = best.version, earlier
        columns = {"experience": [e.experience] * len(e.image), "version": [version] * len(e.image)}
        parts.append(pa.table({**columns, "image": e.image.tolist(), "right": right}))
    parquet.write_table(pa.concat_tables(parts), path, compression="NONE")


def _matrix(
    examined: Sequence[Examined], references: dict[str, Reference], lineage: Sequence[ScoreRow], problem: Problem
) -> ScoreMatrix:
    scores = {
        e.experience: Score(
            overall=problem.score(e.answers.overall),
            among_known=problem.score(e.answers.among_known),
            images=len(e.image),
        )
        for e in examined
    }
    past = {e for row in lineage for e in row.scores}
    return ScoreMatrix(
        experiences=tuple(scores),
        new=tuple(e for e in scores if e not in past),
        rows=(*lineage, ScoreRow(version="candidate", scores=scores)),
        references={name: reference.version for name, reference in references.items()},
    )


def _named(earlier: ScoreMatrix, parent: int) -> tuple[ScoreRow, ...]:
    # When the parent was judged it was a candidate; it got its number by being accepted.
    return (*earlier.rows[:-1], earlier.candidate.model_copy(update={"version": f"v{parent}"}))
