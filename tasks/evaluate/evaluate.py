"""Evaluate: the candidate answers the test images of every experience it ever learned; the best earlier answers wait.

A version's outcomes are stored with it, image by image, and reused for ever. Two tables lie beside the score matrix:
`outcomes.parquet`, the candidate's; and `references.parquet`, what the next night will be compared with if this
candidate is accepted. The parent is evaluated once more, on the new images alone: what it knew of them before they were
learned is forward transfer.

Neither the cost of a night nor what it keeps may grow with the nights before it. So a version answers so many test
images and no more (`EvaluateParams.images`): of each experience the first by a rank that never changes, fewer of each
the more experiences there are. Every image of a later night was therefore answered before, and can be compared.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import pyarrow.parquet as parquet

from dataset.archive import Archive, ImageDataset
from models.bundle import ModelBundle, sha256
from models.measures import calibration_error, macro_f1, negative_flips, per_class, positive_flips
from models.problems.base import Problem, padded
from records.experience import Experience
from records.measures import Measures
from records.scores import FirstSight, ScoreMatrix, ScoreRow
from records.snapshot import Snapshot
from tasks.evaluate.earlier import Earlier
from tasks.evaluate.examine import ExaminedExperience, choose, examine, scores
from tasks.evaluate.references import write_references
from tasks.evaluate.settings import EvaluateParams
from tasks.evaluate.tables import OUTCOMES, REFERENCES, SCORES, UNLABELLED, write_outcomes
from tasks.evaluate.unlabelled import kept_table


def evaluate(
    candidate: Path,
    parent: Path | None,
    archive: Archive,
    problem: Problem,
    params: EvaluateParams,
    out: Path,
    key: str = "",
) -> ScoreMatrix:
    """Score the candidate on every experience and write matrix and tables below `out`.

    `key` is the workspace's, see `models.memory.rank`.

    `candidate` is a snapshot's folder; `parent` is the folder of the version it was made from, with `snapshot` and
    `evaluation` in it, None for version 0. The candidate answers every test image once, in large batches, and the
    parent those of the new experiences.
    """
    known = ModelBundle.read(candidate)
    snapshot, learner = known.snapshot, known.learner
    earlier = Earlier.read(parent / "evaluation", snapshot.parent) if parent else Earlier()
    known_at = [max(snapshot.known_at[e.batch], earlier.granted(e.batch)) for e in snapshot.experiences]
    choose_images = partial(choose, most=params.max_images, before=earlier.right, key=key)
    examined = examine(learner, snapshot.experiences, known_at, archive, problem, choose_images)
    new = [e for e in snapshot.experiences if e.batch not in earlier.right]
    written = [OUTCOMES, REFERENCES]
    seen = _first_sight(parent / "snapshot", new, archive, problem, choose_images) if parent and new else {}
    out.mkdir(parents=True, exist_ok=True)
    write_outcomes(examined, learner.classes, problem, out / OUTCOMES)
    write_references(examined, earlier, problem, params, out / REFERENCES)
    if problem.unlabelled and parent and new:
        champion = ModelBundle.read(parent / "snapshot").learner
        table = kept_table(learner, champion, new, archive, problem, choose_images)
        parquet.write_table(table, out / UNLABELLED, compression="ZSTD")
        written.append(UNLABELLED)
    matrix = ScoreMatrix(
        experiences=tuple(e.batch for e in snapshot.experiences),
        new=tuple(e.batch for e in new),
        rows=(*earlier.lineage, ScoreRow(version="candidate", scores=scores(examined, problem))),
        references={name: reference.version for name, reference in earlier.references.items()},
        history=earlier.history,
        before={**earlier.before, **seen},
        score_name=problem.score_name,
        class_score_name=problem.class_score_name,
        measures=_measures(examined, learner.classes, _known_before(snapshot, new), earlier, problem),
        outcomes={name: sha256(out / name) for name in written},
    )
    matrix.write(out / SCORES)
    return matrix


def _first_sight(
    parent: Path,
    new: Sequence[Experience],
    archive: Archive,
    problem: Problem,
    choose_images: Callable[[ImageDataset], ImageDataset],
) -> dict[str, FirstSight]:
    learner = ModelBundle.read(parent).learner
    known = len(learner.classes)
    return {
        e.experience: FirstSight(overall=problem.scores_of(e.answers)[0], untrained=e.chance)
        for e in examine(learner, new, [known] * len(new), archive, problem, choose_images)
    }


def _known_before(snapshot: Snapshot, new: Sequence[Experience]) -> int:
    """How many classes there were before the new experiences were learned; they are the first ones."""
    fresh = {e.batch for e in new}
    return max((known for e, known in snapshot.known_at.items() if e not in fresh), default=0)


def _measures(
    examined: Sequence[ExaminedExperience],
    classes: Sequence[str],
    known_before: int,
    earlier: Earlier,
    problem: Problem,
) -> Measures:
    tallies = padded([e.answers.tally for e in examined])
    if tallies is not None:
        sums = tallies.sum(axis=0)
        of_class = problem.per_class(sums, classes)
        further = problem.report(sums, classes) | _old_and_new(of_class, classes[:known_before], problem)
        return Measures(per_class=of_class, further=further)
    target = np.concatenate([e.truth for e in examined])
    overall = np.concatenate([e.answers.overall for e in examined])
    past = [e for e in examined if e.experience in earlier.right]
    before = np.array([earlier.right[e.experience][image] for e in past for image in e.image])
    after = np.concatenate([np.zeros(0), *(e.answers.overall for e in past)])
    return Measures(
        per_class=per_class(target, overall, classes),
        macro_f1=macro_f1(target, np.concatenate([e.answers.answer for e in examined])),
        calibration_error=calibration_error(np.concatenate([e.answers.confidence for e in examined]), overall),
        negative_flips=negative_flips(before, after) if past else None,
        positive_flips=positive_flips(before, after) if past else None,
    )


def _old_and_new(of_class: Mapping[str, float], known: Sequence[str], problem: Problem) -> dict[str, float]:
    """Mean score of the classes that were known before this night, and of those that are new with it."""
    parts = {
        "old": [score for name, score in of_class.items() if name in known],
        "new": [score for name, score in of_class.items() if name not in known],
    }
    return {f"{problem.class_score_name}_{part}": fmean(scores) for part, scores in parts.items() if scores}
