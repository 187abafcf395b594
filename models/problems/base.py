"""What a problem is to the rest: targets, a loss, a distance between two models' outputs, tallies, a score.

Strategies and gates never ask which problem they serve. A strategy calls `distance`, and its context `losses`; a gate
compares the `score` of sums of tallies, one vector a test image: nearly every score of the field is a function of such
a sum (accuracy, mIoU, average precision), so images can be drawn again without asking any model again.

To add a problem, write its file beside this one and list it in `models/catalogue.py`; see docs/extending.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.columns import stacked
from models.statistics import Floats
from records.batch import BACKGROUND, Annotation
from records.record import Record
from records.score_names import ACCURACY


@dataclass(frozen=True)
class Answers:
    """What a model says of n images, image by image, and how right it is."""

    answer: NDArray[np.int64] | NDArray[np.bool_]
    """[n] class index that it answers with when all classes compete; or [n, classes], which classes it finds."""
    confidence: Floats
    """[n] its probability of that answer, 0..1."""
    overall: Floats
    """[n] 0..1, how right the answer to this image is when all classes compete."""
    among_known: Floats
    """[n] 0..1, how right it is when only the first `known` classes compete."""
    tally: Floats | None = None
    """[n, k] what of each image enters the score, all classes competing; None if the score is the mean of `overall`."""
    tally_known: Floats | None = None
    """[n, k] the same when only the first `known` classes compete."""

    @classmethod
    def together(cls, parts: Sequence["Answers"]) -> "Answers":
        """Those to all images of several parts."""
        columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in PLAIN}
        columns |= {name: padded([getattr(part, name) for part in parts]) for name in TALLIES}
        return cls(**columns)


PLAIN = ("answer", "confidence", "overall", "among_known")
TALLIES = ("tally", "tally_known")


def padded(tallies: Sequence[Floats | None]) -> Floats | None:
    """[n, k] tallies of several parts, one below the other, with zeros for classes that a part does not know."""
    found = [tally for tally in tallies if tally is not None]
    return stacked(found) if found else None


def names_of(found: NDArray[np.int64] | NDArray[np.bool_], classes: Sequence[str]) -> list[str]:
    """What is written of n images: the name of each one's class, of [n]; or of all its classes, sorted, with slashes
    between them and the background only if there is nothing else, of [n, classes]."""
    if found.ndim == 1:
        return [classes[index] for index in found.tolist()]
    return [
        "/".join(sorted({classes[c] for c in np.flatnonzero(row).tolist()} - {BACKGROUND})) or BACKGROUND
        for row in found
    ]


class Problem(Record):
    """A kind of question that images can be asked."""

    name: str
    annotation: ClassVar[Annotation] = ""
    """What an image must come with, besides the names of its classes."""
    dense: ClassVar[bool] = False
    """Whether every pixel is answered: outputs [n, classes, H, W] rather than [n, classes], by a network for that."""
    counted: ClassVar[bool] = True
    """Whether an answer to an image is right or wrong and nothing in between, and the score the share of right ones."""
    prior: ClassVar[bool] = True
    """Whether the loss can correct for how often each class occurs in a step."""
    score_name: ClassVar[str] = ACCURACY
    """What the score is called in the names of metrics; `records/score_names.py` says how people write it."""
    class_score_name: ClassVar[str] = ACCURACY
    """What the score of one class is called there."""
    unlabelled: ClassVar[bool] = False
    """Whether an image may show classes that nobody looked for in it, so that `kept` has something to say."""
    always: ClassVar[tuple[str, ...]] = ()
    """Classes that every version has, in the first places of its head."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Of the section `update` of params.yaml, where they are others than classification's."""

    def losses(
        self,
        outputs: Tensor,
        targets: Tensor,
        log_prior: Tensor | None = None,
        labelled_for: Tensor | None = None,
    ) -> Tensor:
        """[n] loss of each image. `log_prior` [classes] corrects for how often each class occurs in a training step.

        `labelled_for` bool [n, classes]: the classes that were looked for in each image; None if all were.
        """
        raise NotImplementedError

    def loss(
        self, outputs: Tensor, targets: Tensor, log_prior: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        """Mean loss, a scalar; `weight` [n] says how much each image counts."""
        losses = self.losses(outputs, targets, log_prior)
        return losses.mean() if weight is None else (losses * weight).sum() / weight.sum()

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """How far a student's outputs are from its teacher's on the classes that the teacher knows, a scalar.

        A class that the teacher does not know costs nothing while the student does not answer with it.
        """
        raise NotImplementedError

    def divergence(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """The same for softened answers: the higher the temperature, the more the teacher's doubts count. A scalar."""
        raise NotImplementedError

    @property
    def completes(self) -> bool:
        """Whether the champion is asked for what nobody looked for in an image."""
        return False

    def kept(self, outputs: Tensor, targets: Tensor, labelled_for: Tensor | None, teacher: Tensor) -> Tensor:
        """[n, classes of the teacher] 0..1, how much of each class that nobody looked for in an image, and that the
        champion is sure to see there, the candidate sees as well; NaN where there is no such thing.

        `outputs` are the candidate's, `teacher` the champion's. Asked of problems that are `unlabelled`.
        """
        raise NotImplementedError

    def complete(self, targets: Tensor, labelled_for: Tensor | None, teacher: Tensor) -> tuple[Tensor, Tensor | None]:
        """Targets and `labelled_for`, filled with the sure answers of the champion, whose outputs are `teacher`."""
        return targets, labelled_for

    def outcomes(self, outputs: Tensor, targets: Tensor, known: int, labelled_for: Tensor | None = None) -> Answers:
        """How right `outputs` are on `targets` of n images; `known` classes existed when these were learned."""
        raise NotImplementedError

    def score(self, sums: Tensor) -> Tensor:
        """[r] scores, 0..1, higher is better, of r sums of tallies, float64 [r, k].

        It can be differentiated, and twice as many images of the same kind score the same.
        """
        raise NotImplementedError

    def by_class(self, tally: Floats) -> Floats:
        """[n, classes] how right each image is for each class, 0..1, from its tally; NaN where the class is not."""
        raise NotImplementedError

    def per_class(self, sums: Floats, classes: Sequence[str]) -> dict[str, float]:
        """Class to its own score, 0..1, from a sum of tallies [k]; classes that no image shows are absent."""
        raise NotImplementedError

    def report(self, sums: Floats, classes: Sequence[str]) -> dict[str, float]:
        """What people of the field expect to read besides the score, by name, from a sum of tallies [k]; 0..1."""
        return {}

    def chance(self, targets: Tensor, known: int) -> float:
        """The score on `targets` of n images that is expected of an untrained network with `known` classes, 0..1."""
        raise NotImplementedError

    def score_of(self, tally: Floats) -> float:
        """The score of n images from their tallies [n, k]."""
        return float(self.score(torch.from_numpy(tally.sum(axis=0, keepdims=True)))[0])

    def scores_of(self, answers: Answers) -> tuple[float, float]:
        """The score when all classes compete, and when only those known at first do."""
        if answers.tally is None or answers.tally_known is None:
            return float(answers.overall.mean()), float(answers.among_known.mean())
        return self.score_of(answers.tally), self.score_of(answers.tally_known)
