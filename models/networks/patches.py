"""Features of random patches: filters are patches of the first images, whitened; nothing is trained.

Coates, Ng and Lee (2011), "An Analysis of Single-Layer Networks in Unsupervised Feature Learning": each patch of an
image is brought to mean 0 and deviation 1, whitened, compared with some dozens of patches drawn from the first night's
images, and the answers are averaged over the cells of a grid, likeness and unlikeness apart. The square root evens out
large and small answers (Perronnin, Sanchez and Mensink, 2010). On small images a linear head over such features beats a
trained network of the same cost, and since they never change, its sums can be added up for ever (strategy `analytic`).
"""

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from models.networks.base import Recipe
from records.snapshot import InputSpec

IMAGES_AT_ONCE = 100
"""More would leave the processor's caches."""
PATCHES = 100_000
"""That whitening is estimated from."""
CONTRAST = 0.3
"""Of a patch, in deviations of all pixels: with much less it is nearly flat, and is not blown up to deviation 1."""
FLAT = 0.1
"""Variance, after that, below which a patch is no candidate for a filter."""
FARTHEST = 4.0
"""Deviations at which a feature is cut off. Later nights' images may look like nothing that the first night had."""
LEAST_DEVIATION = 0.01
"""Of a feature; what varies less over the first images is not blown up more."""
RIDGE = 0.2
"""Share of the mean eigenvalue that is added before whitening, so that noise is not blown up."""


class Patches(Recipe):
    """Fixed features, `2 x filters x pooling_grid x pooling_grid` or fewer; with `hidden`, trained layers on top."""

    name: Literal["patches"] = "patches"
    filters: int = Field(default=80, ge=1, le=4096)
    """Patches that every patch is compared with."""
    patch_size: int | None = Field(default=None, ge=2, le=32)
    """Side of a patch in pixels; null takes a quarter of the image's side, 3 to 6."""
    pooling_grid: int = Field(default=4, ge=1, le=16)
    """Cells along each side that the answers are averaged over."""
    channels: int | None = Field(default=None, ge=1, le=8192)
    """Principal components that the answers of a cell, `2 x filters`, are brought down to; null keeps them all."""
    hidden: tuple[int, ...] = ()
    """Widths of trained layers with ReLU on top, for strategies that descend."""

    @property
    def begins_as_chance(self) -> bool:
        """The filters are drawn from the first images; trained layers on top are chance."""
        return bool(self.hidden)

    def body(self, spec: InputSpec) -> tuple[nn.Module, int]:
        """Features of mean 0 and deviation 1 over the first images, or what the trained layers make of them."""
        fixed = PatchFeatures(self, spec)
        widths = (fixed.width, *self.hidden)
        layers = [layer for n, m in pairwise(widths) for layer in (nn.Linear(n, m), nn.ReLU())]
        return nn.Sequential(fixed, *layers), widths[-1]

    def bound(self, body: nn.Module) -> float | None:
        """Fixed features are cut off."""
        return None if self.hidden else FARTHEST

    def adapt(self, body: nn.Module, images: Tensor) -> None:
        """Draw the filters from the first images."""
        assert isinstance(body, nn.Sequential)
        assert isinstance(body[0], PatchFeatures)
        body[0].draw(images)


class PatchFeatures(nn.Module):
    """The fixed part. Until `draw` was called its filters are noise."""

    filters: Tensor
    pooling: Tensor
    mixing: Tensor | None
    centre: Tensor
    scale: Tensor

    def __init__(self, recipe: Patches, spec: InputSpec) -> None:
        super().__init__()
        side = min(spec.height, spec.width)
        self.patch_size = min(recipe.patch_size or min(max(side // 4, 3), 6), side)
        self.stride = max(1, side // 32)
        rows, columns = ((extent - self.patch_size) // self.stride + 1 for extent in (spec.height, spec.width))
        cells = _cells(rows, min(recipe.pooling_grid, rows)), _cells(columns, min(recipe.pooling_grid, columns))
        pooling = torch.einsum("ai,bj->abij", *cells).reshape(-1, rows * columns)
        channels = min(recipe.channels or 2 * recipe.filters, 2 * recipe.filters)
        self.width = channels * len(pooling)
        self.register_buffer("pooling", pooling.bfloat16(), persistent=False)
        self.register_buffer("filters", torch.randn(spec.channels * self.patch_size**2, recipe.filters).bfloat16())
        mixing = torch.eye(2 * recipe.filters)[:, :channels] if recipe.channels else None
        self.register_buffer("mixing", mixing)
        self.register_buffer("centre", torch.zeros(self.width))
        self.register_buffer("scale", torch.ones(self.width))

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, width] of normalised images [N, C, H, W].

        On a CPU those of an image are the same bit for bit whatever images are beside it; that is no claim for GPUs.
        """
        with torch.no_grad():
            return ((self._answers(images) - self.centre) * self.scale).clamp(-FARTHEST, FARTHEST)

    @torch.no_grad()
    def draw(self, images: Tensor) -> None:
        """Take filters, whitening and the features' mean and deviation from images [N, C, H, W]."""
        chosen = images[torch.randperm(len(images))[:2000]]
        patches = self._patches(chosen).flatten(0, 1)
        patches = patches[torch.randperm(len(patches))[:PATCHES]]
        patches -= patches.mean(dim=1, keepdim=True)
        patches = patches[patches.square().mean(dim=1) > FLAT]
        if len(patches):
            self._draw_filters(patches)
        if self.mixing is not None:
            self._draw_mixing(chosen)
        answers = self._answers(chosen)
        self.centre.copy_(answers.mean(dim=0))
        deviation = answers.std(dim=0, correction=0)
        self.scale.copy_(1 / (deviation + 0.05 * deviation.mean()).clamp_min(LEAST_DEVIATION))

    def _draw_filters(self, patches: Tensor) -> None:
        """Whitened patches; each answers with deviation 1. If every image is blank they stay noise instead."""
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        whiten = vectors @ torch.diag((values.clamp_min(0) + RIDGE * values.mean() + 1e-9).rsqrt()) @ vectors.T
        drawn = torch.randint(len(patches), (self.filters.shape[1],))
        filters = whiten @ functional.normalize(patches[drawn] @ whiten, dim=1).T
        filters -= filters.mean(dim=0)
        self.filters.copy_(filters / (patches @ filters).std(dim=0, correction=0).clamp_min(1e-3))

    def _answers(self, images: Tensor) -> Tensor:
        """Of all cells [N, width], as they come."""
        return torch.cat([self._answers_of_few(part) for part in torch.split(images, IMAGES_AT_ONCE)])

    def _answers_of_few(self, images: Tensor) -> Tensor:
        likeness = self._patches(images).bfloat16() @ self.filters
        both = [self.pooling @ functional.relu(likeness), self.pooling @ functional.relu(-likeness)]
        cells = torch.cat(both, dim=2).float().clamp_min(0).sqrt()
        return (cells if self.mixing is None else cells @ self.mixing).flatten(1)

    def _draw_mixing(self, images: Tensor) -> None:
        """Principal components of the answers, each of deviation 1, over all cells."""
        assert self.mixing is not None
        kept, self.mixing = self.mixing.shape[1], None
        answers = self._answers(images).view(-1, 2 * self.filters.shape[1])
        deviation = answers.std(dim=0, correction=0).clamp_min(1e-3)
        _, vectors = torch.linalg.eigh(torch.cov((answers / deviation).T, correction=0))
        self.mixing = (vectors[:, -kept:] / deviation[:, None]).contiguous()

    def _patches(self, images: Tensor) -> Tensor:
        """[N, positions, values], each of deviation 1 unless it is flat. Filters of mean 0 do not see its mean."""
        mean, square = (
            functional.avg_pool2d(values.mean(dim=1, keepdim=True), self.patch_size, self.stride)
            for values in (images, images**2)
        )
        contrast = (square - mean**2).clamp_min(0).add(CONTRAST**2).rsqrt().flatten(2)
        return (functional.unfold(images, self.patch_size, stride=self.stride) * contrast).transpose(1, 2)


def _cells(positions: int, cells: int) -> Tensor:
    """[cells, positions] shares of each position in the mean over a cell; a position between two belongs to both."""
    edges = torch.linspace(0, positions, cells + 1)
    starts = torch.arange(positions)
    inside = torch.minimum(starts + 1, edges[1:, None]) - torch.maximum(starts, edges[:-1, None])
    return functional.normalize(inside.clamp_min(0), p=1, dim=1)
