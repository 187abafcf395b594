"""A closed-form head on features that never change: what is learned in nights equals what is learned at once, exactly.

The head is ridge regression to the classes, or linear discriminant analysis. Either needs sums alone: of every feature
times every other (the Gram matrix), and of the features of each class. Nights add to the sums, workers' sums add up,
and an image that must be forgotten is subtracted. Old classes lose what a full retrain would take from them, and no
more, and no image is needed for it (Zhuang et al., 2022, "ACIL: Analytic Class-Incremental Learning", arXiv:2205.14922;
Hayes and Kanan, 2020, "Lifelong Machine Learning with Deep Streaming Linear Discriminant Analysis", arXiv:1909.01520;
McDonnell et al., 2023, "RanPAC", arXiv:2307.02251).

Features are rounded to whole numbers first, 16 to a standard deviation. So the sums are whole numbers, exact, and the
same in any order, on any number of workers. What is not whole follows from the sums each night anew. On a CPU
the features of `patches` do not depend on the images beside; those of other bodies, and any on a GPU, may in the last
bit, by the libraries they call, and then now and then one is rounded to the next whole number.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from dataset.archive import ImageDataset
from models.strategies.base import Losses, Minibatch, State, Strategy, TrainingContext, TrainingData

STEPS_PER_DEVIATION, LARGEST = 16, 127
"""How fine features are rounded, and where they are cut off: at eight standard deviations, the range of a byte.
Features whose body bounds them are rounded over their range."""
ROWS_AT_ONCE = 8192
"""Images whose products are added up before the sums are touched."""
EXACT_ROWS = 1000
"""Products of so many rows of bytes stay below 2**24, so that they may be added up in float32 without rounding."""
NEVER = -1e4
"""Logit of a class of which there is no image; infinity would spoil distances between logits."""


@dataclass(frozen=True)
class Sums:
    """All that has to be known of n images, with D features, of C classes. Whole numbers."""

    gram: Tensor
    """int64 [D + 1, D + 1] sum over images of each feature times each other; the last feature is 1."""
    cross: Tensor
    """int64 [D + 1, C] sum of the features of each class; the last row counts its images."""

    @classmethod
    def nothing(cls, features: int, classes: int) -> "Sums":
        """Of no image."""
        integer = torch.int64
        return cls(
            torch.zeros(features + 1, features + 1, dtype=integer), torch.zeros(features + 1, classes, dtype=integer)
        )

    def add(self, rounded: Tensor, targets: Tensor) -> None:
        """Take in images with features int8 [n, D] and classes int64 [n], in place."""
        for part, classes in zip(torch.split(rounded, ROWS_AT_ONCE), torch.split(targets, ROWS_AT_ONCE), strict=True):
            rows = torch.cat([part, torch.ones_like(part[:, :1])], dim=1)
            self.gram.add_(_whole_product(rows, rows))
            self.cross.add_(_whole_product(rows, functional.one_hot(classes, self.cross.shape[1]).to(torch.int8)))

    def __add__(self, other: "Sums") -> "Sums":
        """Of the images of both; the one that knows fewer classes has none of the others."""
        return self._with(other, 1)

    def __sub__(self, other: "Sums") -> "Sums":
        """As if the other's images had never been seen."""
        return self._with(other, -1)

    def _with(self, other: "Sums", sign: int) -> "Sums":
        classes = max(self.cross.shape[1], other.cross.shape[1])
        mine, its = (functional.pad(s.cross, (0, classes - s.cross.shape[1])) for s in (self, other))
        return Sums(self.gram + sign * other.gram, mine + sign * its)

    def packed(self) -> State:
        """For rest: half of the symmetric matrix, four bytes a number as long as that is enough."""
        rows, columns = torch.triu_indices(*self.gram.shape)
        half = self.gram[rows, columns]
        fits = int(half.abs().max()) < 2**31
        return {"gram": half.to(torch.int32) if fits else half, "cross": self.cross}

    @classmethod
    def unpacked(cls, state: State) -> "Sums":
        """What `packed` packed."""
        cross = state["cross"].cpu()
        rows, columns = torch.triu_indices(len(cross), len(cross))
        gram = torch.zeros(len(cross), len(cross), dtype=torch.int64)
        gram[rows, columns] = gram[columns, rows] = state["gram"].cpu().long()
        return cls(gram, cross)


class Analytic(Strategy):
    """Adds the new images' sums, and solves for the head. The body stays as it is; take one that is worth it:
    `patches` for small images, `torchvision` with weights for photographs."""

    name: Literal["analytic"] = "analytic"
    per_image: ClassVar[bool] = True
    descends: ClassVar[bool] = False
    corrected: ClassVar[bool] = False
    blends: ClassVar[bool] = False
    head: Literal["ridge", "lda"] = "ridge"
    """`lda` does not care how many images a class has; `ridge` is a little better where classes are even."""
    ridge: float = Field(default=1e-4, gt=0, le=1)
    """Added to the variance of each feature, as a share of it."""

    def draw(self, data: TrainingData) -> tuple[tuple[ImageDataset, ...], ImageDataset | None]:
        """New images, once."""
        return (data.new,), None

    def finish(self, context: TrainingContext, data: TrainingData) -> None:
        """Add up, solve, and set the head. If the past was learned in another way, it is gone through once."""
        state = context.state
        body = _digest(context.network.body)
        if "gram" in state and torch.equal(state["body"].cpu(), body):
            sums, datasets = Sums.unpacked(state), [data.new]
        else:
            state.clear()
            datasets = [dataset for dataset in (data.archive, data.new) if dataset is not None]
            state["centre"], state["scale"] = _scale(context, datasets[0])
            sums = Sums.nothing(context.network.width, 0)
        for dataset in datasets:
            sums = sums + self.sums(context, dataset)
        self._set_head(context, sums)
        state.update(sums.packed())
        state["body"] = body

    def forget(self, context: TrainingContext, dataset: ImageDataset) -> None:
        """Take the images of `dataset` out of what was learned, as if never seen. No command calls it yet."""
        sums = Sums.unpacked(context.state) - self.sums(context, dataset)
        self._set_head(context, sums)
        context.state.update(sums.packed())

    def sums(self, context: TrainingContext, dataset: ImageDataset) -> Sums:
        """The sums of a dataset's images."""
        sums = Sums.nothing(context.network.width, context.network.head.out_features)
        centre, scale = context.state["centre"], context.state["scale"]
        waiting: list[Tensor] = []
        start = 0
        with torch.inference_mode():
            for images, _ in dataset.parts(context.device):
                features = (context.network.features(images).float() - centre) * scale
                waiting.append(features.round().clamp(-LARGEST, LARGEST).to(torch.int8))
                stop = start + sum(map(len, waiting))
                if stop - start >= ROWS_AT_ONCE or stop == len(dataset):
                    sums.add(torch.cat(waiting), dataset.target[start:stop].to(context.device))
                    start, waiting = stop, []
        return sums

    def loss(self, context: TrainingContext, minibatch: Minibatch) -> Losses:
        """There are no steps."""
        raise NotImplementedError

    def _set_head(self, context: TrainingContext, sums: Sums) -> None:
        weight, bias = (lda if self.head == "lda" else ridge)(sums, self.ridge)
        centre, scale = context.state["centre"].cpu().double(), context.state["scale"].cpu().double()
        head = context.network.head
        with torch.no_grad():  # The head sees features as they are, not rounded.
            head.weight.copy_(weight * scale)
            head.bias.copy_((bias - weight @ (centre * scale)).masked_fill(sums.cross[-1] == 0, NEVER))


def ridge(sums: Sums, strength: float) -> tuple[Tensor, Tensor]:
    """Weights [C, D] and biases [C] of ridge regression to one-hot classes, as logits.

    Features are brought to deviation 1 by the sums themselves. If residuals are taken to be normal, a class's logit is
    its output over their variance; that makes confidences worth looking at, and changes no answer.
    """
    centred, mean, count = _centred(sums)
    cross = sums.cross.double()
    towards = cross[:-1] - mean[:, None] * cross[-1]
    weight = _solve(centred, towards, count, strength)
    bias = cross[-1] / count - mean @ weight
    explained = (weight * towards).sum(dim=0) / count
    shares = cross[-1] / count
    variance = (shares * (1 - shares) - explained).clamp_min(1e-3).mean()
    return (weight / variance).T, bias / variance


def lda(sums: Sums, strength: float) -> tuple[Tensor, Tensor]:
    """Weights [C, D] and biases [C] of linear discriminant analysis with even priors."""
    counts = sums.cross[-1].double().clamp_min(1)
    means = sums.cross[:-1].double() / counts
    centred, _, count = _centred(sums)
    overall = sums.cross[:-1].double().sum(dim=1, keepdim=True) / count
    apart = (means - overall) * counts.sqrt()
    weight = _solve(centred - apart @ apart.T, means * count, count, strength)
    return weight.T, -(means * weight).sum(dim=0) / 2


def _centred(sums: Sums) -> tuple[Tensor, Tensor, float]:
    """Sum of products of centred features [D, D], their means [D], and the number of images."""
    gram, count = sums.gram.double(), max(float(sums.gram[-1, -1]), 1.0)
    total = gram[-1, :-1]
    return gram[:-1, :-1] - torch.outer(total, total) / count, total / count, count


def _solve(scatter: Tensor, towards: Tensor, count: float, strength: float) -> Tensor:
    """[D, C] what `scatter`, with a ridge on its diagonal, maps to `towards`; features are scaled to variance 1."""
    variance = scatter.diagonal() / count
    unit = (variance + 1e-6 * variance.mean() + 1e-12).rsqrt()
    scaled = scatter / count * unit[:, None] * unit
    scaled.diagonal().add_(strength)
    factor = torch.linalg.cholesky(scaled)
    solved: Tensor = torch.cholesky_solve(unit[:, None] * towards / count, factor) * unit[:, None]
    return solved


def _whole_product(left: Tensor, right: Tensor) -> Tensor:
    """Whole numbers [a, b], on the CPU, of int8 [n, a] and [n, b]; exact."""
    if left.device.type == "cpu" and _multiplies_bytes_exactly():
        product: Tensor = torch._int_mm(left.t(), right)
        return product
    rows = zip(torch.split(left.float(), EXACT_ROWS), torch.split(right.float(), EXACT_ROWS), strict=True)
    return torch.stack([(x.t() @ y).to("cpu", torch.int64) for x, y in rows]).sum(dim=0)


@cache
def _multiplies_bytes_exactly() -> bool:
    """False on processors without instructions for it (VNNI): there, pairs of products are cut off at 16 bits."""
    largest = torch.full((64, 64), LARGEST, dtype=torch.int8)
    return bool((torch._int_mm(largest, largest) == 64 * LARGEST**2).all())


def _scale(context: TrainingContext, dataset: ImageDataset) -> tuple[Tensor, Tensor]:
    """Centre [D] and steps per unit [D]: of features with a bound by that, else of at most 2,000 first images'."""
    bound = context.network.bound
    if bound is not None:
        width = context.network.width
        return torch.zeros(width).to(context.device), torch.full((width,), LARGEST / bound).to(context.device)
    generator = torch.Generator().manual_seed(context.seed)
    chosen = torch.randperm(len(dataset), generator=generator)[:2000]
    with torch.inference_mode():
        parts = [dataset.images(part).to(context.device) for part in torch.split(chosen, dataset.at_once)]
        features = torch.cat([context.network.features(part).float() for part in parts])
    deviation = features.std(dim=0, correction=0)
    return features.mean(dim=0), STEPS_PER_DEVIATION / (deviation + 0.05 * deviation.mean() + 1e-9)


def _digest(body: nn.Module) -> Tensor:
    """int64 [1]: another number for other weights, with which no earlier sums agree."""
    content = hashlib.sha256()
    for name, value in sorted(body.state_dict().items()):
        content.update(name.encode() + value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return torch.tensor([int.from_bytes(content.digest()[:7], "big")])
