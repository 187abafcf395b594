"""How the current model sees images: features and answers, for checks that doubt labels and look for drift.

Before there is a model, small grey pictures take the place of its features, so that the labels of the first delivery,
often the largest of all, are doubted too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dataset.archive import Archive
from models.compute import default_device
from models.learner import Learner
from records.snapshot import InputSpec
from tasks.validate.mask_agreement import MaskAgreement

SMALL = InputSpec(channels=1, height=16, width=16, mean=(0.0,), std=(1.0,))


@dataclass(frozen=True)
class Embeddings:
    """What is seen of some images."""

    features: NDArray[np.float32]
    """[n, width]"""
    answers: NDArray[np.str_] | None = None
    """[n] the class that the model answers with; None without a model, or if it answers every pixel."""


class Champion(Protocol):
    """Whatever looks at images for validation."""

    classes: tuple[str, ...]

    def see(self, batch: str, rows: Sequence[int]) -> Embeddings:
        """Look at decodable rows of a batch."""
        ...

    def agreement(self, batch: str, rows: Sequence[int], looked: NDArray[np.bool_]) -> MaskAgreement | None:
        """How rows of a batch with masks agree with its answers; None if it does not answer every pixel.

        `looked` [n, classes]: which of its classes were looked for in each.
        """
        ...


class NullModel:
    """Sees nothing: the checks that need eyes are not asked."""

    classes: tuple[str, ...] = ()

    def see(self, batch: str, rows: Sequence[int]) -> Embeddings:
        """Nothing, of any image."""
        return Embeddings(np.zeros((len(rows), 0), dtype=np.float32))

    def agreement(self, batch: str, rows: Sequence[int], looked: NDArray[np.bool_]) -> MaskAgreement | None:
        """None: it answers nothing."""
        return None


class Thumbnails:
    """Before there is a model: grey pictures of 16 x 16 pixels."""

    classes: tuple[str, ...] = ()

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def see(self, batch: str, rows: Sequence[int]) -> Embeddings:
        """Grey levels, 0..1."""
        pixels = self._archive.some(batch, rows, SMALL)
        return Embeddings(np.divide(pixels.reshape(len(rows), -1), 255, dtype=np.float32))

    def agreement(self, batch: str, rows: Sequence[int], looked: NDArray[np.bool_]) -> MaskAgreement | None:
        """None: it answers nothing."""
        return None


class Model:
    """The current model, from the folder of its version."""

    def __init__(self, archive: Archive, version: Path) -> None:
        self._archive = archive
        self._learner = Learner.read(version / "snapshot")
        self.classes = self._learner.classes

    @torch.inference_mode()
    def see(self, batch: str, rows: Sequence[int]) -> Embeddings:
        """Features before the head, those of places averaged, and answers among all classes."""
        learner, device = self._learner, default_device()
        network = learner.network.to(device).eval()
        pixels = self._archive.some(batch, rows, learner.spec)
        features, answers = [], []
        for part in torch.split(torch.from_numpy(pixels), learner.at_once):
            seen = network.features(part.to(device))
            if learner.recipe.dense:
                features.append(seen.float().mean(dim=(2, 3)).cpu())
                continue
            features.append(seen.float().cpu().flatten(1))
            answers.append(network.head(seen).argmax(1).cpu())
        none = torch.zeros(0, learner.network.width), torch.zeros(0, dtype=torch.int64)
        found = torch.cat([none[0], *features]).numpy()
        if learner.recipe.dense:
            return Embeddings(found)
        return Embeddings(found, np.array(self.classes)[torch.cat([none[1], *answers]).numpy()])

    @torch.inference_mode()
    def agreement(self, batch: str, rows: Sequence[int], looked: NDArray[np.bool_]) -> MaskAgreement | None:
        """At the size that the network sees."""
        learner, device = self._learner, default_device()
        if not learner.recipe.dense:
            return None
        network = learner.network.to(device).eval()
        pixels = self._archive.some(batch, rows, learner.spec)
        masks, meaning = self._archive.masks(batch, learner.spec), self._archive.meaning(batch, self.classes)
        chosen, parts = np.asarray(rows, dtype=np.int64), []
        for places in torch.split(torch.arange(len(rows)), learner.at_once):
            at = places.numpy()
            probability = network(torch.from_numpy(pixels[at]).to(device)).float().softmax(dim=1)
            labelled = torch.from_numpy(meaning[masks[chosen[at]]]).to(device)
            parts.append(MaskAgreement.of(probability, labelled, torch.from_numpy(looked[at]).to(device)))
        return MaskAgreement.together(parts)
