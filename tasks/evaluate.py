"""Evaluate: the candidate answers the test images of every experience it ever learned; the best earlier answers wait.

A version's outcomes are stored with it, image by image, and reused for ever. Two tables lie beside the score matrix:
`outcomes.parquet`, the candidate's; and `references.parquet`, what the next night will be compared with if this
candidate is accepted. The parent is evaluated once more, on the new images alone: what it knew of them before they were
learned is forward transfer.

Neither the cost of a night nor what it keeps may grow with the nights before it. So a version answers so many test
images and no more (`EvaluateParams.images`): of each experience the first by a rank that never changes, fewer of each
the more experiences there are. Every image of a later night was therefore answered before, and can be compared.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray
from pydantic import Field

from dataset.archive import Archive, ImageDataset
from models.bundle import ModelBundle, sha256
from models.compute import default_device
from models.learner import Learner
from models.measures import calibration_error, macro_f1, negative_flips, per_class, positive_flips
from models.memory import rank
from models.problems.base import TALLIES, Answers, Problem, names_of, padded
from models.statistics import Floats, certainly_better
from records.experience import Experience
from records.measures import Measures
from records.record import Record
from records.registration import APPROVAL, Approval
from records.scores import FirstSight, History, Score, ScoreMatrix, ScoreRow, thinned

OUTCOMES, REFERENCES, SCORES = "outcomes.parquet", "references.parquet", "scores.json"
DIGITS = 6
"""Of a score that is kept; more than any number of test images can tell."""


class EvaluateParams(Record):
    """Section `evaluate` of params.yaml."""

    reference_confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence with which a version must beat the best one so far on an experience to take its place. The error is
    spread over all versions that try, see `certainly_better`."""
    max_images: int = Field(default=100_000, ge=1)
    """Test images that a version answers at most. With more in the archive each experience is asked for as many as the
    others, or for all that it has if it has fewer."""


@dataclass(frozen=True)
class ExaminedExperience:
    """One experience's test images, answered by a version."""

    experience: str
    image: NDArray[np.str_]
    truth: NDArray[np.int64] | NDArray[np.bool_]
    """[n] class index, or [n, classes] which classes an image shows."""
    answers: Answers
    chance: float
    """The score that is expected of an untrained network."""


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
    seen = _first_sight(parent / "snapshot", new, archive, problem, choose_images) if parent and new else {}
    out.mkdir(parents=True, exist_ok=True)
    _write_outcomes(examined, learner.classes, out / OUTCOMES)
    _write_references(examined, earlier, params, out / REFERENCES)
    matrix = ScoreMatrix(
        experiences=tuple(e.batch for e in snapshot.experiences),
        new=tuple(e.batch for e in new),
        rows=(*earlier.lineage, ScoreRow(version="candidate", scores=scores(examined, problem))),
        references={name: reference.version for name, reference in earlier.references.items()},
        history=earlier.history,
        before={**earlier.before, **seen},
        measures=_measures(examined, learner.classes, earlier, problem),
        outcomes={name: sha256(out / name) for name in (OUTCOMES, REFERENCES)},
    )
    matrix.write(out / SCORES)
    return matrix


def choose(dataset: ImageDataset, most: int, before: Mapping[str, Collection[str]], key: str = "") -> ImageDataset:
    """Of test images those that are asked: at most `most`, of each experience the first by rank.

    `before`: experience to the images that were asked of it earlier; others of it have nothing to be compared with.
    """
    sizes = np.bincount(dataset.batch, minlength=len(dataset.batches))
    at_most = _level(sizes, most)
    if sizes.max() > at_most:
        ranks = np.array([rank(0, image, key) for image in dataset.image], dtype=np.int64)
        ordered = np.lexsort((ranks, dataset.batch))
        place = np.arange(len(dataset)) - np.repeat(sizes.cumsum() - sizes, sizes)
        dataset = dataset.at(np.sort(ordered[place < at_most]))
    earlier = [(number, before[name]) for number, name in enumerate(dataset.batches) if name in before]
    unknown = [(dataset.batch == number) & ~np.isin(dataset.image, list(images)) for number, images in earlier]
    missing = np.logical_or.reduce([np.zeros(len(dataset), dtype=bool), *unknown])
    return dataset.at(np.flatnonzero(~missing)) if missing.any() else dataset


def _level(sizes: NDArray[np.int64], most: int) -> int:
    """The largest k for which min(size, k), summed over `sizes`, is at most `most`; 1 at the least."""
    levels = np.arange(1, sizes.max() + 1)
    ascending = np.sort(sizes)
    smaller = np.searchsorted(ascending, levels)
    sums = np.concatenate([[0], ascending.cumsum()])[smaller] + (len(sizes) - smaller) * levels
    return max(1, int(np.count_nonzero(sums <= most)))


def everything(dataset: ImageDataset) -> ImageDataset:
    """Every test image is asked."""
    return dataset


def examine(
    learner: Learner,
    experiences: Sequence[Experience],
    known: Sequence[int],
    archive: Archive,
    problem: Problem,
    choose_images: Callable[[ImageDataset], ImageDataset] = everything,
) -> tuple[ExaminedExperience, ...]:
    """`learner` answers test images of `experiences`; `known` is how many classes there were when each was learned.

    `choose_images` selects those images. A forward pass takes images of several experiences, as many as fit. Classes
    that the learner does not know come after its own, so no answer to them is right.
    """
    strange = {name for e in experiences for name in e.classes}.difference(learner.classes)
    dataset = choose_images(archive.dataset(experiences, "test", (*learner.classes, *sorted(strange)), learner.spec))
    parts: list[list[tuple[Answers, float]]] = [[] for _ in experiences]
    for positions in torch.split(torch.arange(len(dataset)), dataset.at_once):
        outputs = learner.outputs_of_parts([dataset.images(positions)], default_device())
        of_part = dataset.batch[positions.numpy()]
        for number in np.unique(of_part).tolist():
            within = torch.from_numpy(of_part == number)
            given = dataset.at(positions[within].numpy())
            targets = given.targets(torch.arange(len(given)))
            answers = problem.outcomes(outputs[within], targets, known[number], given.labelled_for)
            parts[number].append((answers, problem.chance(targets, known[number])))
    return tuple(
        _together(e.batch, dataset.at(np.flatnonzero(dataset.batch == number)), parts[number])
        for number, e in enumerate(experiences)
    )


def _together(experience: str, dataset: ImageDataset, parts: Sequence[tuple[Answers, float]]) -> ExaminedExperience:
    truth = dataset.target.numpy() if dataset.annotations is None else dataset.annotations.shows
    chance = np.average([chance for _, chance in parts], weights=[len(answers.overall) for answers, _ in parts])
    return ExaminedExperience(experience, dataset.image, truth, Answers.together([a for a, _ in parts]), float(chance))


def scores(examined: Sequence[ExaminedExperience], problem: Problem) -> dict[str, Score]:
    """Experience to score."""
    found = {}
    for e in examined:
        overall, among_known = (round(score, DIGITS) for score in problem.scores_of(e.answers))
        found[e.experience] = Score(overall=overall, among_known=among_known, images=len(e.image))
    return found


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


def _measures(
    examined: Sequence[ExaminedExperience], classes: Sequence[str], earlier: Earlier, problem: Problem
) -> Measures:
    tallies = padded([e.answers.tally for e in examined])
    if tallies is not None:
        sums = tallies.sum(axis=0)
        return Measures(per_class=problem.per_class(sums, classes), further=problem.report(sums, classes))
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


def _write_outcomes(examined: Sequence[ExaminedExperience], classes: Sequence[str], path: Path) -> None:
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
                **_tallies(e.answers),
            }
        )
        for e in examined
    ]
    parquet.write_table(pa.concat_tables(parts), path, compression="ZSTD")


def _tallies(answers: Answers) -> dict[str, pa.Array]:
    """Columns of lists, if the score is of tallies."""
    found = {name: getattr(answers, name) for name in TALLIES}
    return {name: pa.array(list(tally), pa.list_(pa.float64())) for name, tally in found.items() if tally is not None}


def _write_references(
    examined: Sequence[ExaminedExperience], earlier: Earlier, params: EvaluateParams, path: Path
) -> None:
    parts = []
    for e in examined:
        version, right, granted = "candidate", e.answers.among_known, earlier.granted(e.experience)
        tally = e.answers.tally_known
        if e.experience in earlier.references:
            best = earlier.references[e.experience]
            reference = np.array([best.right[image] for image in e.image])
            # Every version since, and the candidate; where a version was rolled back, some that never tried as well.
            challengers = earlier.version - int(best.version.removeprefix("v")) + 1
            if not certainly_better(right, reference, params.reference_confidence, look=challengers):
                version, right = best.version, reference
                tally = padded([best.tally[image][None] for image in e.image]) if best.tally else None
        columns = {
            "experience": [e.experience] * len(e.image),
            "version": [version] * len(e.image),
            "granted": [granted] * len(e.image),
            "image": e.image.tolist(),
            "right": right,
        }
        if tally is not None:
            columns["tally"] = pa.array(list(tally), pa.list_(pa.float64()))
        parts.append(pa.table(columns))
    parquet.write_table(pa.concat_tables(parts), path, compression="ZSTD")
