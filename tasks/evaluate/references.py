"""Which version the next night is compared with on each experience: the best so far, by evidence."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from models.comparison import certainly_higher
from models.problems.base import Problem
from models.statistics import Floats, certainly_better
from tasks.evaluate.earlier import Earlier
from tasks.evaluate.examine import ExaminedExperience
from tasks.evaluate.settings import EvaluateParams
from tasks.evaluate.tables import lists, stacked


def write_references(
    examined: Sequence[ExaminedExperience], earlier: Earlier, problem: Problem, params: EvaluateParams, path: Path
) -> None:
    """The table of what the next night is compared with if this candidate is accepted."""
    parts = []
    for e in examined:
        version, right, granted = "candidate", e.answers.among_known, earlier.granted(e.experience)
        tally = e.answers.tally_known
        if e.experience in earlier.references:
            best = earlier.references[e.experience]
            reference = np.array([best.right[image] for image in e.image])
            # Every version since, and the candidate; where a version was rolled back, some that never tried as well.
            challengers = earlier.version - int(best.version.removeprefix("v")) + 1
            before = stacked([best.tally[image] for image in e.image]) if best.tally else None
            if not _is_better((right, tally), (reference, before), problem, params.reference_confidence, challengers):
                version, right, tally = best.version, reference, before
        columns = {
            "experience": [e.experience] * len(e.image),
            "version": [version] * len(e.image),
            "granted": [granted] * len(e.image),
            "image": e.image.tolist(),
            "right": right,
        }
        if tally is not None:
            columns["tally"] = lists(tally)
        parts.append(pa.table(columns))
    parquet.write_table(pa.concat_tables(parts), path, compression="ZSTD")


Answered = tuple[Floats, Floats | None]
"""How right each of n images is, and its tally, [n] and [n, k]; None if the score is the mean of the first."""


def _is_better(candidate: Answered, best: Answered, problem: Problem, confidence: float, look: int) -> bool:
    """Whether a version is better by evidence than the best so far, on the same images."""
    (right, tally), (reference, before) = candidate, best
    if tally is None or before is None:
        return certainly_better(right, reference, confidence, look)
    return certainly_higher(problem.score, tally, before, confidence, look)
