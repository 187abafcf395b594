"""Classification: each image has one class; the score is accuracy."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from models.problems.base import Answers, Problem


class Classification(Problem):
    """One class an image, one head over all classes, no hint at test time which night an image came with."""

    name: Literal["classification"] = "classification"

    def losses(
        self,
        outputs: Tensor,
        targets: Tensor,
        log_prior: Tensor | None = None,
        labelled_for: Tensor | None = None,
    ) -> Tensor:
        """Cross-entropy; with `log_prior` it is the balanced softmax of Ren et al. (2020, arXiv:2007.10740).

        Adding the log prior to the logits while training takes the step's class frequencies out of what is learned:
        a night with 95% new classes does not teach that everything is new.
        """
        adjusted = outputs if log_prior is None else outputs + log_prior
        return functional.cross_entropy(adjusted, targets, reduction="none")

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean squared difference of the logits of the classes that the teacher knows (Buzzega et al., 2020)."""
        return functional.mse_loss(student[:, : teacher.shape[1]], teacher)

    def divergence(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Kullback-Leibler divergence over the classes that the teacher knows, times temperature squared, which keeps
        gradients of one size (Hinton et al., 2015, "Distilling the Knowledge in a Neural Network")."""
        mine = (student[:, : teacher.shape[1]] / temperature).log_softmax(dim=1)
        its = (teacher / temperature).log_softmax(dim=1)
        return functional.kl_div(mine, its, reduction="batchmean", log_target=True) * temperature**2

    def outcomes(self, outputs: Tensor, targets: Tensor, known: int, labelled_for: Tensor | None = None) -> Answers:
        """Right or wrong, 1 or 0, image by image, with all classes and with the first `known` alone.

        Outputs that are no numbers, of a training that diverged, are wrong with confidence 0.
        """
        finite = outputs.isfinite().all(dim=1)
        outputs = torch.where(finite[:, None], outputs, 0.0)
        highest, answer = outputs.max(dim=1)
        # The softmax of the highest output alone: several times faster than all of them when classes are few.
        confidence = 1 / (outputs - highest[:, None]).exp().sum(dim=1)
        among_known = answer if known >= outputs.shape[1] else outputs[:, :known].argmax(dim=1)
        return Answers(
            answer=answer.cpu().numpy(),
            confidence=(confidence * finite).double().cpu().numpy(),
            overall=((answer == targets) & finite).double().cpu().numpy(),
            among_known=((among_known == targets) & finite).double().cpu().numpy(),
        )

    def score(self, sums: Tensor) -> Tensor:
        """Accuracy: right answers by images."""
        return sums[:, 0] / sums[:, 1]

    def chance(self, targets: Tensor, known: int) -> float:
        """The share of images whose class is known, divided by the number of known classes.

        Over all initialisations of the weights each of the known classes is equally likely to be the answer, and
        another class never is.
        """
        return float((targets < known).double().mean()) / max(known, 1)
