"""What each step sees: which new images, which remembered ones, and how much each class and image counts.

The images that it may draw from are those that the strategy chose for the night (`Strategy.draw`).

A step's draw depends on the seed and the number of the step alone, so a night that goes on after an interruption sees
what it would have seen.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dataset.archive import ImageDataset
from models.augmentation import AS_IT_IS, Augmentation
from models.budget import Budget
from models.compute import ONE_CPU, Compute
from models.strategies.base import Minibatch

RESIDENT_BYTES = 512 * 2**20
"""Images up to so many bytes are held in working memory; of more, each step reads its own from disk."""
RESIDENT_SHARE = 0.5
"""Of a GPU's free memory that images may take, to be resident there."""

Imbalance = Literal["prior", "weights", "none"]
"""`prior`: balanced softmax, the loss corrects for each class's share of a step (Ren et al., 2020). `weights`: images
of rare classes count more, by the inverse of that share. `none`: as they come."""

Drawn = tuple[Tensor, Tensor, Tensor]
"""Positions among the new images, positions among the remembered ones, and the images of both."""


class BatchSampler:
    """The steps of a night, by number."""

    def __init__(
        self,
        new: Sequence[ImageDataset],
        replayed: ImageDataset | None,
        budget: Budget,
        classes: int,
        seed: int,
        imbalance: Imbalance = "prior",
        augmentation: Augmentation = AS_IT_IS,
        compute: Compute = ONE_CPU,
        prior_exponent: float = 0.0,
    ) -> None:
        if budget.replay_batch_size == 0 or replayed is None or len(replayed) == 0:
            replayed = None
        self.compute, self.augmentation = compute, augmentation
        self.new = Source.of(new, compute.device)
        self.old = Source.of([replayed], compute.device) if replayed else None
        self.new_visits = Permutation(len(self.new.target), budget.batch_size, seed)
        self.old_visits = Permutation(len(self.old.target), budget.replay_batch_size, seed + 1) if self.old else None
        prior = expected_log_prior(new, replayed, budget, classes, prior_exponent).to(compute.device)
        self.log_prior = prior if imbalance == "prior" else None
        self.class_weight = class_weights(prior) if imbalance == "weights" else None
        near = self.new.resident is not None and (self.old is None or self.old.resident is not None)
        self.drawn: Callable[[int], Drawn] = self._draw if near else ReadAhead(self._draw)

    def minibatch(self, number: int) -> Minibatch:
        """Minibatch `number`, from 0; with several processes, this process's part of it."""
        positions, again, images = self.drawn(number)
        targets, labelled_for, remembered = self.new.targets(positions), self.new.looked_for(positions), None
        if self.old is not None:
            targets = torch.cat([targets, self.old.targets(again)])
            if labelled_for is not None and (of_old := self.old.looked_for(again)) is not None:
                labelled_for = torch.cat([labelled_for, of_old])
            remembered = None if self.old.outputs is None else self.old.outputs[again]
        if self.augmentation.active and labelled_for is not None:
            images, targets = self.augmentation.with_masks(images, targets)
        elif self.augmentation.active:
            images = self.augmentation(images)
        weight = None if self.class_weight is None else self.class_weight[targets]
        minibatch = Minibatch(
            images, targets, len(positions), self.log_prior, weight, remembered=remembered, labelled_for=labelled_for
        )
        if not self.augmentation.mixup_alpha:
            return minibatch
        images, partner, mixup_lambda = self.augmentation.blend(images)
        return replace(minibatch, images=images, partner_targets=targets[partner], mixup_lambda=mixup_lambda)

    def close(self) -> None:
        """No more steps are drawn."""
        if isinstance(self.drawn, ReadAhead):
            self.drawn.reader.shutdown(cancel_futures=True)

    def _draw(self, number: int) -> Drawn:
        positions = self.compute.part(self.new_visits.at(number))
        if self.old is None or self.old_visits is None:
            return positions, positions[:0], self.new.images(positions)
        again = self.compute.part(self.old_visits.at(number))
        return positions, again, torch.cat([self.new.images(positions), self.old.images(again)])


class ReadAhead:
    """Reads the next step's images from disk, in a thread, while the present step is learned."""

    def __init__(self, draw: Callable[[int], Drawn]) -> None:
        self.draw = draw
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self.waiting: dict[int, Future[Drawn]] = {}

    def __call__(self, number: int) -> Drawn:
        """What step `number` sees; the step after it is begun."""
        present = self.waiting.pop(number, None) or self.reader.submit(self.draw, number)
        self.waiting = {number + 1: self.reader.submit(self.draw, number + 1)}
        return present.result()


class Permutation:
    """Positions 0..size-1 in random order, over and over, `at_once` at a time; each epoch has an order of its own."""

    def __init__(self, size: int, at_once: int, seed: int) -> None:
        self.size, self.at_once, self.seed = size, at_once, seed
        self._orders: dict[int, Tensor] = {}

    def at(self, number: int) -> Tensor:
        """Positions [at_once] of visit `number`."""
        start, stop = number * self.at_once, (number + 1) * self.at_once
        parts = []
        for epoch in range(start // self.size, (stop - 1) // self.size + 1):
            first = epoch * self.size
            parts.append(self._order(epoch)[max(start - first, 0) : stop - first])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = torch.randperm(self.size, generator=generator)
        return self._orders[epoch]


@dataclass(frozen=True)
class Source:
    """Images of any number of datasets, ready to be drawn by position."""

    target: Tensor
    """[n] class index, on the device."""
    outputs: Tensor | None
    """[n, classes] what was answered when they were stored."""
    device: torch.device
    resident: Tensor | None
    """uint8 [n, C, H, W] on the device, if they fit there."""
    masks: Tensor | None
    """uint8 [n, H, W] class indices of their pixels, likewise."""
    labelled_for: Tensor | None
    """bool [n, classes] which classes were looked for in each image, on the device; None if every class was."""
    datasets: tuple[ImageDataset, ...]

    @classmethod
    def of(cls, datasets: Sequence[ImageDataset], device: torch.device) -> "Source":
        """Bring the images of `datasets` as near to the device as they fit."""
        size = sum(dataset.bytes for dataset in datasets)
        looked_for = [dataset.labelled_for for dataset in datasets if dataset.labelled_for is not None]
        fits = size <= (
            RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else RESIDENT_BYTES
        )
        return cls(
            target=torch.cat([dataset.target for dataset in datasets]).to(device),
            outputs=datasets[0].outputs.to(device) if len(datasets) == 1 and datasets[0].outputs is not None else None,
            device=device,
            resident=torch.cat([dataset.all_images() for dataset in datasets]).to(device) if fits else None,
            masks=torch.cat([d.targets(torch.arange(len(d))) for d in datasets]).to(device)
            if fits and looked_for
            else None,
            labelled_for=torch.cat(looked_for).to(device) if looked_for else None,
            datasets=tuple(datasets),
        )

    def targets(self, positions: Tensor) -> Tensor:
        """What the images at `positions` [k] shall be answered with, on the device."""
        if self.labelled_for is None:
            return self.target[positions]
        if self.masks is not None:
            return self.masks[positions.to(self.device)]
        return self._read(positions, ImageDataset.targets).to(self.device)

    def looked_for(self, positions: Tensor) -> Tensor | None:
        """bool [k, classes] on the device: which classes were looked for in them; None if every class was."""
        return None if self.labelled_for is None else self.labelled_for[positions.to(self.device)]

    def images(self, positions: Tensor) -> Tensor:
        """uint8 [k, C, H, W] on the device, of `positions` [k]."""
        if self.resident is not None:
            return self.resident[positions.to(self.device)]
        images = self._read(positions, ImageDataset.images)
        if self.device.type == "cuda":
            return images.pin_memory().to(self.device, non_blocking=True)
        return images

    def _read(self, positions: Tensor, of: Callable[[ImageDataset, Tensor], Tensor]) -> Tensor:
        """What `of` reads of each dataset, in the order of `positions`."""
        if len(self.datasets) == 1:
            return of(self.datasets[0], positions)
        starts = np.cumsum([0, *map(len, self.datasets)])
        found: Tensor | None = None
        for start, dataset in zip(starts.tolist(), self.datasets, strict=False):
            within = (positions >= start) & (positions < start + len(dataset))
            if within.any():
                part = of(dataset, positions[within] - start)
                found = torch.empty((len(positions), *part.shape[1:]), dtype=part.dtype) if found is None else found
                found[within] = part
        assert found is not None
        return found


def expected_log_prior(
    new: Sequence[ImageDataset],
    replayed: ImageDataset | None,
    budget: Budget,
    classes: int,
    prior_exponent: float = 0.0,
) -> Tensor:
    """[classes] log of each class's expected share of a step; one that does not occur counts as one in a million.

    With `prior_exponent`, shares are multiplied by that power of the number of different images that a class has.
    """
    shares = torch.bincount(torch.cat([dataset.target for dataset in new]), minlength=classes).double()
    shares = shares / shares.sum() * budget.batch_size
    if replayed is not None:
        counts = torch.bincount(replayed.target, minlength=classes).double()
        shares = shares + counts / counts.sum() * budget.replay_batch_size
    if prior_exponent:
        different = torch.bincount(torch.cat([dataset.target for dataset in [*new, *([replayed] if replayed else [])]]))
        shares = shares * torch.nn.functional.pad(different, (0, classes - len(different))).double() ** prior_exponent
    return (shares / shares.sum()).clamp_min(1e-6).log().float()


def class_weights(log_prior: Tensor) -> Tensor:
    """[classes] inverse of each class's share, 1 on average over the images of a step; at most a hundred."""
    share = log_prior.exp()
    occurring = share > 2e-6
    return torch.where(occurring, 1 / (share * occurring.sum()), torch.zeros_like(share)).clamp_max(100.0)
