"""Judge: may the candidate become the champion? Outcomes on every experience in, a verdict out, nothing touched.

What counts as forgotten is defined in `models/gates/questions.py`; what follows from it, in `models/gates/decision.py`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet

from models.gates.base import Gate
from models.gates.decision import decide
from models.gates.outcomes import Outcomes
from models.gates.wording import Wording
from models.problems.base import Problem
from models.problems.classification import Classification
from records.scores import ScoreMatrix
from records.verdict import Verdict
from tasks.evaluate.earlier import read_references
from tasks.evaluate.tables import OUTCOMES, SCORES

CLASSIFICATION = Classification()


def judge(outcomes: Sequence[Outcomes], gate: Gate, attempt: int = 1, problem: Problem = CLASSIFICATION) -> Verdict:
    """The verdict on a candidate. The same outcomes, gate and attempt give the same verdict.

    `attempt` counts the candidates that were judged on these data and this parent, this one included. Raises ValueError
    if there are no outcomes, or some of a kind that the gate cannot judge.
    """
    return decide(gate, outcomes, attempt, Wording(problem.score_name, problem.class_score_name))


def read_pairs(evaluation: Path, earlier: Path | None) -> tuple[Outcomes, ...]:
    """What the gate judges: for each experience the candidate's outcomes and, for past ones, the best earlier ones.

    `earlier` is the evaluation folder of the version that the candidate was made from, None for version 0.
    """
    matrix = ScoreMatrix.read(evaluation / SCORES)
    table = parquet.read_table(evaluation / OUTCOMES).to_pandas()
    references = read_references(earlier, 0)
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
                labels=mine["label"].to_numpy(dtype=str),
            )
        )
    return tuple(pairs)
