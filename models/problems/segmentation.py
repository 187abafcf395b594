"""Semantic segmentation: each pixel has one class; the score is the mean intersection over union (mIoU).

An image is labelled for *some* classes only. New images do not label old classes: taken at its word, their background
teaches the network that old objects are background (Cermelli et al., 2020, "Modeling the Background for Incremental
Learning in Semantic Segmentation", arXiv:2002.00718). So

- where nobody looked, the champion's sure answers take the place of the background, and what it is unsure of is
  ignored (pseudo-labels, as in Douillard et al., 2021, "PLOP", arXiv:2011.11390, with a plain threshold);
- a pixel that is still background may belong to any class that neither a person nor the champion looked for: the loss
  is that of "one of these" (the unbiased cross-entropy of Cermelli et al.), and so is the distance to the champion;
- in a test a class that is seen where nobody looked for it counts in no score. Background there is right, so `kept`
  asks what became of old things in new images.

Targets are uint8 [n, H, W]: class indices, 0 for the background, 255 for what is ignored.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from models.problems.base import Answers, Problem
from models.statistics import Floats
from records.batch import BACKGROUND, IGNORED, Annotation

SURE = 0.7
"""Probability from which on a champion's answer is taken for one."""
SPECK = 1 / 400
"""Share of an image's pixels."""
OF_EACH = 3
"""Numbers of a tally for each class: intersection, union, and pixels of the truth."""


class Segmentation(Problem):
    """One class a pixel, one head over all classes."""

    name: Literal["segmentation"] = "segmentation"
    annotation: ClassVar[Annotation] = "mask"
    dense: ClassVar[bool] = True
    counted: ClassVar[bool] = False
    prior: ClassVar[bool] = False
    score_name: ClassVar[str] = "miou"
    class_score_name: ClassVar[str] = "iou"
    unlabelled: ClassVar[bool] = True
    always: ClassVar[tuple[str, ...]] = (BACKGROUND,)
    defaults: ClassVar[Mapping[str, Any]] = {"network": {"name": "unet"}, "imbalance": "none"}
    cross_entropy_weight: float = Field(default=1.0, ge=0, le=100)
    """Weight of the cross-entropy of a pixel."""
    dice_weight: float = Field(default=1.0, ge=0, le=100)
    """Weight of one minus the Dice coefficient (Milletari et al., 2016, "V-Net", arXiv:1606.04797), over the classes
    that an image shows: it counts a small object as much as a large one."""
    pseudo_labels: float | None = Field(default=SURE, gt=0, lt=1)
    """How sure the champion must be, 0..1, that its answer takes the place of a background that nobody looked at for
    the class; what it is less sure of is ignored. Null: a background is taken at its word, and forgetting is taught."""

    @property
    def completes(self) -> bool:
        """Whether pseudo-labels are on."""
        return self.pseudo_labels is not None

    def losses(
        self,
        outputs: Tensor,
        targets: Tensor,
        log_prior: Tensor | None = None,
        labelled_for: Tensor | None = None,
    ) -> Tensor:
        """Cross-entropy, averaged over the pixels that count, plus Dice loss; both weighted. Of an image without any
        pixel that counts it is 0."""
        targets = targets.long()
        counted = targets != IGNORED
        log_probability = outputs.log_softmax(dim=1)
        folded = self._folded(log_probability, labelled_for)
        of_target = folded.gather(1, targets.where(counted, 0)[:, None])[:, 0] * counted
        losses = -self.cross_entropy_weight * of_target.sum(dim=(1, 2)) / counted.sum(dim=(1, 2)).clamp_min(1)
        if self.dice_weight:
            losses = losses + self.dice_weight * _dice_loss(folded.exp(), targets, counted)
        return losses

    def _folded(self, log_probability: Tensor, labelled_for: Tensor | None) -> Tensor:
        """Log probabilities in which the background stands for all that nobody looked for as well."""
        if labelled_for is None or not self.completes:
            return log_probability
        possible = ~labelled_for
        possible[:, 0] = True
        hidden = ~possible[:, :, None, None]
        background = log_probability.masked_fill(hidden, -torch.inf).logsumexp(dim=1, keepdim=True)
        return torch.cat([background, log_probability[:, 1:]], dim=1)

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Kullback-Leibler divergence from the teacher's answers, of the average pixel.

        Not of logits, as for whole images: most pixels are background, far from any doubt, and holding their logits in
        place leaves a network no room to learn new classes.
        """
        return self.divergence(student, teacher, temperature=1.0)

    def divergence(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Kullback-Leibler divergence of the average pixel, times temperature squared (Hinton et al., 2015).

        What the teacher takes for background may be background or any class that it does not know (the unbiased
        distillation of Cermelli et al., 2020).
        """
        known = teacher.shape[1]
        mine = (student / temperature).log_softmax(dim=1)
        background = torch.cat([mine[:, :1], mine[:, known:]], dim=1).logsumexp(dim=1, keepdim=True)
        mine = torch.cat([background, mine[:, 1:known]], dim=1)
        its = (teacher / temperature).log_softmax(dim=1)
        divergence = functional.kl_div(mine, its, reduction="none", log_target=True).sum(dim=1)
        return divergence.mean() * temperature**2

    def complete(self, targets: Tensor, labelled_for: Tensor | None, teacher: Tensor) -> tuple[Tensor, Tensor | None]:
        """Where a class was not looked for that the champion knows, its sure answers replace the background.

        Of every pixel labelled background: a class that was not looked for, if the champion is sure of it; ignored, if
        the champion is sure neither of such a class nor of the rest. Afterwards the champion's classes count as looked
        for. `teacher` are its outputs [n, its classes, H, W].
        """
        if self.pseudo_labels is None or labelled_for is None:
            return targets, labelled_for
        looked = labelled_for.clone()
        looked[:, : teacher.shape[1]] = True
        return _completed(targets, labelled_for, teacher, self.pseudo_labels), looked

    def kept(self, outputs: Tensor, targets: Tensor, labelled_for: Tensor | None, teacher: Tensor) -> Tensor:
        """IoU of the candidate's answers and the champion's sure ones, of each class and image, among pixels where a
        person saw nothing.

        A champion errs, so two things are passed over: what is smaller than a speck; and what lies for the greater part
        on objects that a person has labelled, since it is the rim of one that the champion takes for its own.
        """
        classes = max(outputs.shape[1], teacher.shape[1])
        if labelled_for is None:
            return outputs.new_full((len(targets), teacher.shape[1]), torch.nan)
        nothing = torch.zeros_like(targets)
        seen = _completed(nothing, labelled_for, teacher, self.pseudo_labels or SURE).long()
        asked = (targets == 0) & (seen != IGNORED)
        answer = outputs.argmax(dim=1)
        truth = _counts(seen, asked, classes)
        on_others = _counts(seen, (targets != 0) & (targets != IGNORED) & (seen != IGNORED), classes)
        both = _counts(seen, asked & (answer == seen), classes)
        either = truth + _counts(answer, asked, classes) - both
        unlooked = ~functional.pad(labelled_for, (0, classes - labelled_for.shape[1]))
        unlooked[:, 0] = False
        sighted = unlooked & (truth >= SPECK * targets[0].numel()) & (truth > on_others)
        return torch.where(sighted, both / either.clamp_min(1), torch.nan)[:, : teacher.shape[1]]

    def outcomes(self, outputs: Tensor, targets: Tensor, known: int, labelled_for: Tensor | None = None) -> Answers:
        """Intersection, union and truth of each class and image; what nobody looked for counts nowhere.

        `overall` of an image is its own mIoU, 1 if no pixel of it counts. Outputs that are no numbers answer nothing
        right.
        """
        classes = max(outputs.shape[1], 1 + int(targets.where(targets != IGNORED, 0).max()))
        finite = outputs.isfinite().all(dim=1)
        probability = torch.where(finite[:, None], outputs, 0.0).softmax(dim=1)
        confidence, answer = probability.max(dim=1)
        among_known = answer if known >= outputs.shape[1] else outputs[:, :known].argmax(dim=1)
        looked = _looked_for(labelled_for, len(targets), classes, known, outputs.device)
        tallies = [_tally(a.where(finite, -1), targets.long(), looked, classes) for a in (answer, among_known)]
        found = functional.one_hot(answer, outputs.shape[1]).amax(dim=(1, 2)).bool().cpu().numpy()
        return Answers(
            answer=found,
            confidence=(confidence * finite).mean(dim=(1, 2)).double().cpu().numpy(),
            overall=self._of_each(tallies[0]),
            among_known=self._of_each(tallies[1]),
            tally=tallies[0].cpu().numpy(),
            tally_known=tallies[1].cpu().numpy(),
        )

    def _of_each(self, tally: Tensor) -> Floats:
        return self.score(tally).cpu().numpy()

    def score(self, sums: Tensor) -> Tensor:
        """Mean IoU over the classes that the images show, the background among them; 1 if they show nothing at all."""
        intersection, union, truth = sums.view(len(sums), -1, OF_EACH).unbind(dim=2)
        shown = truth > 0
        iou = torch.where(shown, intersection / union.clamp_min(1e-12), 0.0)
        mean = iou.sum(dim=1) / shown.sum(dim=1).clamp_min(1)
        return torch.where(shown.any(dim=1), mean, 1.0)

    def by_class(self, tally: Floats) -> Floats:
        """IoU of each class that an image shows."""
        intersection, union, truth = np.moveaxis(tally.reshape(len(tally), -1, OF_EACH), 2, 0)
        return np.where(truth > 0, intersection / np.maximum(union, 1), np.nan)

    def per_class(self, sums: Floats, classes: Sequence[str]) -> dict[str, float]:
        """IoU of each class that the images show."""
        intersection, union, truth = sums.reshape(-1, OF_EACH).T
        return {classes[c]: float(intersection[c] / max(union[c], 1)) for c in np.flatnonzero(truth).tolist()}

    def report(self, sums: Floats, classes: Sequence[str]) -> dict[str, float]:
        """`pixel_accuracy`, and `mean_dice` over the classes that the images show."""
        intersection, union, truth = sums.reshape(-1, OF_EACH).T
        shown = truth > 0
        dice = 2 * intersection[shown] / np.maximum(union[shown] + intersection[shown], 1)
        accuracy = float(intersection.sum() / max(truth.sum(), 1))
        return {"pixel_accuracy": accuracy, "mean_dice": float(dice.mean()) if len(dice) else 1.0}

    def chance(self, targets: Tensor, known: int) -> float:
        """The mIoU of answers drawn evenly from the known classes, pixel by pixel, over many pixels.

        Of a class with the share t of the pixels, t / known are met and t + (1 - t) / known are of either.
        """
        counted = targets[targets != IGNORED].long().flatten()
        if not known or not len(counted):
            return 0.0
        share = torch.bincount(counted).double() / len(counted)
        iou = share / known / (share + (1 - share) / known)
        return float(iou[:known].sum() / (share > 0).sum())


def _completed(targets: Tensor, labelled_for: Tensor, teacher: Tensor, confidence: float) -> Tensor:
    """Targets [n, H, W] in which the champion's answers of more than `confidence` replace the background, see
    `Segmentation.complete`."""
    probability = teacher.softmax(dim=1)
    unlooked = ~labelled_for[:, : teacher.shape[1], None, None]
    unlooked[:, 0] = False
    of_unlooked = probability * unlooked
    surest, answer = of_unlooked.max(dim=1)
    rest = 1 - of_unlooked.sum(dim=1)  # Probability of the background, and of what a person has looked for.
    found = torch.where(rest > confidence, 0, torch.full_like(answer, IGNORED))
    found = torch.where(surest > confidence, answer, found).to(targets.dtype)
    return torch.where(targets == 0, found, targets)


def _dice_loss(probability: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
    """[n] one minus the mean soft Dice coefficient of the classes that each image shows, background apart."""
    n, classes = probability.shape[:2]
    answered = (probability * counted[:, None]).sum(dim=(2, 3))
    of_target = probability.gather(1, targets.where(counted, 0)[:, None])[:, 0]
    # Summed by image and class; one number a pixel and class, as a one-hot mask has it, is several times slower.
    images = torch.arange(n, device=targets.device)[:, None, None]
    cells = (images * classes + targets)[counted]
    none = torch.zeros(n * classes, dtype=probability.dtype, device=probability.device)
    both = none.index_add(0, cells, of_target[counted]).view(n, classes)
    truth = torch.bincount(cells, minlength=n * classes).view(n, classes)
    shown = truth > 0
    shown[:, 0] = False
    dice = (2 * both + 1) / (answered + truth + 1)
    return ((1 - dice) * shown).sum(dim=1) / shown.sum(dim=1).clamp_min(1)


def _looked_for(labelled_for: Tensor | None, images: int, classes: int, known: int, device: torch.device) -> Tensor:
    """bool [n, classes]: if nothing else is said, all that was known when the images came was looked for."""
    if labelled_for is not None:
        return functional.pad(labelled_for, (0, classes - labelled_for.shape[1]))
    return (torch.arange(classes, device=device) < known).expand(images, classes)


def _tally(answer: Tensor, targets: Tensor, looked: Tensor, classes: int) -> Tensor:
    """float64 [n, 3 * classes] of answers [n, H, W]; an answer of -1 is wrong whatever the truth."""
    images = torch.arange(len(answer), device=answer.device)[:, None, None]
    beside = (targets == 0) & (answer > 0) & ~looked[images, answer.clamp_min(0)]
    counted = (targets != IGNORED) & ~beside
    answered = _counts(answer, counted & (answer >= 0), classes)
    truth = _counts(targets, counted, classes)
    both = _counts(answer, counted & (answer == targets), classes)
    return torch.stack([both, answered + truth - both, truth], dim=2).flatten(1)


def _counts(values: Tensor, counted: Tensor, classes: int) -> Tensor:
    """float64 [n, classes] how many of the pixels that are counted have each value."""
    images = torch.arange(len(values), device=values.device)[:, None, None]
    cells = (images * classes + values)[counted]
    return torch.bincount(cells, minlength=len(values) * classes).view(len(values), classes).double()
