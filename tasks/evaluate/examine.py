"""A version answers test images: which of them, and how right it is."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dataset.archive import Archive, ImageDataset
from models.compute import default_device
from models.learner import Learner
from models.memory import rank
from models.problems.base import Answers, Problem
from records.experience import Experience
from records.scores import Score

DIGITS = 6
"""Of a score that is kept; more than any number of test images can tell."""


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
