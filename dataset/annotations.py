"""What images come with besides the name of one class: masks, and which classes were looked for in each image.

A mask at rest is a grey PNG file of the image's size whose values are a batch's own; what they mean is said in the
batch's record. In memory they are class indices of the learner.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor

from dataset.decoding.fit import centre
from records.batch import IGNORED

VALUES = 256
"""That a pixel of a mask can have."""


@dataclass(frozen=True)
class Annotations:
    """What n images came with besides one class each: masks, and the classes that were looked for."""

    shows: NDArray[np.bool_]
    """[n, classes] which classes an image shows; the background only if it shows nothing else."""
    labelled_for: NDArray[np.bool_]
    """[n, classes] which classes were looked for in it."""
    values: tuple[NDArray[np.uint8], ...]
    """For each batch, [rows, H, W] masks with values of the batch's own."""
    meaning: NDArray[np.uint8]
    """[batches, 256] the class index that a value of a batch means."""

    def masks(self, batch: NDArray[np.int64], row: NDArray[np.int64]) -> Tensor:
        """uint8 [k, H, W] class indices of the pixels of some images, by batch and row."""
        drawn = np.empty((len(row), *self.values[0].shape[1:]), dtype=np.uint8)
        for index in np.unique(batch):
            of_batch = batch == index
            drawn[of_batch] = self.meaning[index][self.values[index][row[of_batch]]]
        return torch.from_numpy(drawn)

    @classmethod
    def together(cls, parts: Sequence["Annotations"]) -> "Annotations":
        """Those of several batches, one after the other."""
        return cls(
            shows=np.concatenate([part.shows for part in parts]),
            labelled_for=np.concatenate([part.labelled_for for part in parts]),
            values=tuple(values for part in parts for values in part.values),
            meaning=np.concatenate([part.meaning for part in parts]),
        )

    def at(self, positions: NDArray[np.int64]) -> "Annotations":
        """Of the images at `positions` alone."""
        return replace(self, shows=self.shows[positions], labelled_for=self.labelled_for[positions])

    def loaded(self, batch: NDArray[np.int64], row: NDArray[np.int64]) -> "Annotations":
        """With the masks of all images, by batch and row, in one array in working memory."""
        same = np.arange(VALUES, dtype=np.uint8)[None]
        return replace(self, values=(self.masks(batch, row).numpy(),), meaning=same)


def meaning(mask_classes: Sequence[str], index: Mapping[str, int]) -> NDArray[np.uint8]:
    """[256] the class index that each value of a batch's masks means, 255 for those that mean none."""
    found = np.full(VALUES, IGNORED, dtype=np.uint8)
    for value, name in enumerate(mask_classes):
        found[value] = index.get(name, IGNORED)
    return found


def fit_mask(encoded: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [height, width] from a mask as it is kept, brought to size as its image is (`dataset/decoding/fit.py`): the
    same box of it, each pixel the nearest one."""
    mask: Pillow.Image = Pillow.open(io.BytesIO(encoded))
    if mask.size != (width, height):
        mask = mask.resize((width, height), Pillow.Resampling.NEAREST, box=centre(mask.size, height, width))
    return np.asarray(mask, dtype=np.uint8)
