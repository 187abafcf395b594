"""Judge: may the candidate become the champion? Outcomes on every experience in, a verdict out, nothing touched.

What counts as forgotten is defined in `models/gates/questions.py`; what follows from it, in `models/gates/decision.py`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet

from models.gates.base import Gate
from models.gates.decision import decide
from models.gates.outcomes import Outcomes, Pairs, Tallies
from models.gates.wording import Wording
from models.problems.base import Problem
from models.problems.classification import Classification
from records.scores import ScoreMatrix
from records.verdict import Verdict
from tasks.evaluate.earlier import Reference, read_references
from tasks.evaluate.tables import OUTCOMES, SCORES, UNLABELLED, classes_of, stacked
from tasks.evaluate.unlabelled import read_kept

CLASSIFICATION = Classification()


def judge(outcomes: Sequence[Outcomes], gate: Gate, attempt: int = 1, problem: Problem = CLASSIFICATION) -> Verdict:
    """The verdict on a candidate. The same outcomes, gate and attempt give the same verdict.

    `attempt` counts the candidates that were judged on these data and this parent, this one included. Raises ValueError
    if there are no outcomes, or some of a kind that the gate cannot judge.
    """
    return decide(gate, outcomes, attempt, Wording(problem.score_name, problem.class_score_name))


def read_pairs(evaluation: Path, earlier: Path | None, problem: Problem = CLASSIFICATION) -> tuple[Outcomes, ...]:
    """What the gate judges: for each experience the candidate's outcomes and, for past ones, the best earlier ones.

    `earlier` is the evaluation folder of the version that the candidate was made from, None for version 0.
    """
    matrix = ScoreMatrix.read(evaluation / SCORES)
    table = parquet.read_table(evaluation / OUTCOMES).to_pandas()
    references = read_references(earlier, 0)
    classes = classes_of(evaluation / OUTCOMES)
    kept = read_kept(evaluation / UNLABELLED)
    pairs = []
    for experience in matrix.experiences:
        mine = table[table["experience"] == experience]
        best = references.get(experience)
        reference = None if best is None else np.array([best.right[image] for image in mine["image"]])
        tallies = _tallies(mine, best, problem) if classes else None
        pairs.append(
            Outcomes(
                experience=experience,
                new=experience in matrix.new,
                overall=mine["overall"].to_numpy(),
                among_known=mine["among_known"].to_numpy(),
                reference=reference,
                labels=None if tallies else mine["label"].to_numpy(dtype=str),
                tallies=tallies,
                pairs=_of_classes(tallies, classes, problem) if tallies else None,
                unlabelled=kept.get(experience) if experience in matrix.new else None,
            )
        )
    return tuple(pairs)


def _tallies(mine: pd.DataFrame, best: Reference | None, problem: Problem) -> Tallies:
    """What the score of the images of an experience is made of, and that of the best version so far."""
    reference = None if best is None else stacked([best.tally[image] for image in mine["image"]])
    return Tallies(problem.score, stacked(mine["tally"]), stacked(mine["tally_known"]), reference)


def _of_classes(tallies: Tallies, classes: Sequence[str], problem: Problem) -> Pairs | None:
    """How right each image is and was for each class that it shows; of what is new there is nothing to be lost."""
    if tallies.reference is None:
        return None
    now, before = problem.by_class(tallies.overall), problem.by_class(tallies.reference)
    shown = ~np.isnan(now) & ~np.isnan(before)
    return Pairs(np.array(classes)[np.nonzero(shown)[1]], now[shown], before[shown])
