"""How right a candidate is, image by image: what a gate is given."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.columns import widened
from models.gates.tally_losses import Score, score_of
from models.statistics import Floats


@dataclass(frozen=True)
class Tallies:
    """What the score of n images is made of, where it is no mean over images: see `models/gates/tally_losses.py`.

    A tally may be shorter than another, as where fewer classes are known; it is filled up with zeros.
    """

    score: Score
    overall: Floats
    """[n, k] tally of each image when all classes compete."""
    among_known: Floats
    """[n, k] when only the classes known when the experience was first learned compete. The score of their sum may be
    lower than with all classes: pixels that a new class would take may be given to an old one, wrongly."""
    reference: Floats | None
    """[n, k] `among_known` of the best version so far on the same images; None if and only if new."""

    def __post_init__(self) -> None:
        """Raises ValueError if a tally is no row of numbers from 0 on."""
        given = [self.overall, self.among_known] + ([] if self.reference is None else [self.reference])
        if any(one.ndim != 2 or not one.shape[1] for one in given):
            raise ValueError("tallies must be a row of numbers for each image.")
        if not all((np.isfinite(one) & (one >= 0)).all() for one in given):
            raise ValueError("tallies must be numbers from 0 on.")
        width = max(one.shape[1] for one in given)
        object.__setattr__(self, "overall", widened(self.overall, width))
        object.__setattr__(self, "among_known", widened(self.among_known, width))
        object.__setattr__(self, "reference", None if self.reference is None else widened(self.reference, width))


@dataclass(frozen=True)
class Pairs:
    """Pairs of an image and a class that is in it, for the guard of each class where an image has several classes."""

    labels: NDArray[np.str_]
    """[m] the class of each pair."""
    overall: Floats
    """[m] 0..1, how right the candidate is on it when all classes compete."""
    reference: Floats
    """[m] 0..1, how right the best version so far was."""

    def __post_init__(self) -> None:
        """Raises ValueError if the arrays are not scores of the same pairs."""
        if not self.labels.shape == self.overall.shape == self.reference.shape or self.labels.ndim != 1:
            raise ValueError("pairs of an image and a class must be the same in all arrays.")
        if not all(((one >= 0) & (one <= 1)).all() for one in (self.overall, self.reference)):
            raise ValueError("how right pairs of an image and a class are must be scores from 0 to 1.")


@dataclass(frozen=True)
class Outcomes:
    """How right the candidate is on the n test images of one experience, image by image, each 0..1."""

    experience: str
    new: bool
    """Learned by this candidate for the first time."""
    overall: Floats
    """[n] when all classes compete."""
    among_known: Floats
    """[n] when only the classes known when the experience was first learned compete; never below `overall`, unless
    there are tallies."""
    reference: Floats | None
    """[n] `among_known` of the best version so far on the same images; None if and only if new."""
    labels: NDArray[np.str_] | None = None
    """[n] class of each image, for the guard of each class; None where there are none."""
    tallies: Tallies | None = None
    """What is judged where the score is no mean over images; the arrays above are for people then."""
    pairs: Pairs | None = None
    """In place of `labels` where an image has several classes; None where it has one, or the experience is new."""

    unlabelled: Pairs | None = None
    """Of a new experience: pairs of an image and a class that nobody looked for in it and the champion is sure to see,
    for the guard of each class."""

    def __post_init__(self) -> None:
        """Raises ValueError if the arrays are not scores of the same images."""
        arrays = [self.overall, self.among_known] + ([] if self.reference is None else [self.reference])
        if self.new != (self.reference is None):
            raise ValueError(f"{self.experience}: a past experience needs a reference, a new one must have none.")
        shapes = [a.shape for a in arrays] + ([] if self.labels is None else [self.labels.shape])
        if any(shape != (len(self.overall),) for shape in shapes) or not len(self.overall):
            raise ValueError(f"{self.experience}: outcomes must be of the same test images, at least one.")
        if not all(((a >= 0) & (a <= 1)).all() for a in arrays):
            raise ValueError(f"{self.experience}: outcomes must be scores from 0 to 1.")
        if self.tallies is not None:
            self._check(self.tallies)
        elif (self.among_known < self.overall - 1e-9).any():
            raise ValueError(f"{self.experience}: with fewer classes competing an answer cannot become worse.")

    def _check(self, tallies: Tallies) -> None:
        if len(tallies.overall) != len(self.overall) or self.new != (tallies.reference is None):
            raise ValueError(f"{self.experience}: tallies must be of the same test images and versions as the scores.")
        given = [one for one in (tallies.overall, tallies.among_known, tallies.reference) if one is not None]
        scores = score_of(tallies.score, np.stack([one.sum(axis=0) for one in given]))
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError(f"{self.experience}: the score of all tallies together must be from 0 to 1.")
