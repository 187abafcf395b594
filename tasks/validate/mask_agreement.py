"""How masks agree with a model that answers every pixel: for each image and class, over regions of the image."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from records.batch import IGNORED


@dataclass(frozen=True)
class MaskAgreement:
    """Of n images, for a model of k classes; the first is the background."""

    labelled: Tensor
    """[n, k] mean probability of a class over the pixels that are labelled so; not a number where none is."""
    likely: Tensor
    """int64 [n, k] the class whose mean probability is the largest over these pixels."""
    of_likely: Tensor
    """[n, k] that probability."""
    area: Tensor
    """[n, k] how many pixels these are."""
    missed: Tensor
    """[n, k] mean probability of a class over the pixels that are labelled background and that the model answers with
    it; not a number where there are none, or if nobody looked for the class."""
    missed_area: Tensor
    """[n, k] how many pixels these are."""

    @classmethod
    def of(cls, probability: Tensor, masks: Tensor, looked: Tensor) -> "MaskAgreement":
        """`probability` [n, k, H, W]; `masks` uint8 [n, H, W] class indices, 255 where nobody knows or the model knows
        no such class; `looked` bool [n, k] classes that were looked for."""
        labelled, area = _by_class(masks, probability)
        of_likely, likely = labelled.max(dim=2)
        answer = torch.where(masks == 0, probability.argmax(dim=1), IGNORED)
        answered, missed_area = _by_class(answer, probability)
        beside = ~looked | (torch.arange(looked.shape[1], device=looked.device) == 0)
        return cls(
            labelled=labelled.diagonal(dim1=1, dim2=2).where(area > 0, torch.nan),
            likely=likely,
            of_likely=of_likely,
            area=area,
            missed=answered.diagonal(dim1=1, dim2=2).where((missed_area > 0) & ~beside, torch.nan),
            missed_area=missed_area,
        )

    @classmethod
    def together(cls, parts: Sequence["MaskAgreement"]) -> "MaskAgreement":
        """Those of several parts, on the CPU."""
        return cls(*(torch.cat([getattr(part, field.name).cpu() for part in parts]) for field in fields(cls)))


def _by_class(values: Tensor, probability: Tensor) -> tuple[Tensor, Tensor]:
    """[n, k, k] mean probability of each class over the pixels of each value, and [n, k] how many pixels those are."""
    classes = probability.shape[1]
    counted = values != IGNORED
    member = functional.one_hot(values.long().where(counted, 0), classes) * counted[..., None]
    member = member.flatten(1, 2).to(probability.dtype)
    area = member.sum(dim=1)
    sums = member.transpose(1, 2) @ probability.flatten(2).transpose(1, 2)
    return sums / area.clamp_min(1)[:, :, None], area
