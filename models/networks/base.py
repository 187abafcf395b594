"""What a network is to the rest: a body that turns images into features, and a head that grows with the classes.

To add a network, write its file beside this one and list it in `models/catalogue.py`.
"""

import warnings
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from records.record import Record
from records.snapshot import InputSpec


class Recipe(Record):
    """How to build a body. A recipe is a choice: its fields are its hyper-parameters, nothing learned lives in it."""

    dense: ClassVar[bool] = False
    """True if features are a map over the image, so the network answers at each pixel and not once an image."""

    @property
    def begins_as_chance(self) -> bool:
        """True if features are worth nothing until a strategy that descends has trained the body."""
        return True

    def check(self, size: int | None) -> None:
        """Raise `WrongParameters` if the recipe names something that does not exist, or cannot take images of `size`
        pixels a side, if that is known before there is an image."""

    def body(self, spec: InputSpec) -> tuple[nn.Module, int]:
        """A module from normalised images [N, C, H, W] to features [N, D], and D. Needs no weights but random ones.

        The features of a `dense` recipe are [N, D, h, w], of any h and w.
        """
        raise NotImplementedError

    def bound(self, body: nn.Module) -> float | None:
        """Features lie within plus and minus this number; None if nothing bounds them."""
        return None

    def adapt(self, body: nn.Module, images: Tensor) -> None:
        """Set what the body takes from the first night's normalised images [N, C, H, W]; most bodies take nothing."""

    def load_pretrained(self, body: nn.Module) -> None:
        """Fill a fresh body with what the recipe starts from, if that is not chance; never called for one on disk."""


class Network(nn.Module):
    """Body and head. The head's row i belongs to class index i for ever; growing only appends rows."""

    mean: Tensor
    std: Tensor

    def __init__(self, recipe: Recipe, spec: InputSpec, classes: int) -> None:
        super().__init__()
        self.body, self.width = recipe.body(spec)
        self.bound = recipe.bound(self.body)
        self.size = (spec.height, spec.width) if recipe.dense else None
        self.head = self._head(classes)
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, -1, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(spec.std).view(1, -1, 1, 1) * 255)

    def features(self, images: Tensor) -> Tensor:
        """Features [N, D], or [N, D, h, w] if dense, of uint8 images [N, C, H, W].

        Normalisation is part of the network, so none can forget it.
        """
        return self.body(self.normalised(images))  # type: ignore[no-any-return]

    def normalised(self, images: Tensor) -> Tensor:
        """Float [N, C, H, W] of mean 0 and deviation 1 over the first images, of uint8 images."""
        return (images.float() - self.mean) / self.std

    def adapt(self, recipe: Recipe, images: Tensor, seed: int) -> None:
        """Let the body of a fresh network take what its recipe wants from the first uint8 images [N, C, H, W]."""
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            recipe.adapt(self.body, self.normalised(images))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes], or [N, classes, H, W] if dense, of uint8 images [N, C, H, W]."""
        return self.head(self.features(images))  # type: ignore[no-any-return]

    def floats(self) -> list[Tensor]:
        """Weights, and statistics such as batch normalisation keeps: what a mean of networks is the mean of."""
        return [*self.parameters(), *(buffer for buffer in self.buffers() if buffer.is_floating_point())]

    def grow(self, classes: int) -> None:
        """Give the head rows for `classes` classes; the rows it has stay as they are."""
        old = self.head
        if classes <= old.out_features:
            return
        self.head = self._head(classes)
        with torch.no_grad():
            self.head.weight[: old.out_features] = old.weight
            self.head.bias[: old.out_features] = old.bias

    def _head(self, classes: int) -> nn.Linear:
        with warnings.catch_warnings():
            # Version 0 knows no class, and a matrix without rows is what it should have.
            warnings.filterwarnings("ignore", "Initializing zero-element tensors", UserWarning)
            return nn.Linear(self.width, classes) if self.size is None else PixelHead(self.width, classes, self.size)


class PixelHead(nn.Linear):
    """The same linear map at each place of the features; its answers are brought to the size of the image."""

    def __init__(self, width: int, classes: int, size: tuple[int, int]) -> None:
        super().__init__(width, classes)
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, classes, H, W] of features [N, D, h, w], bilinear between the places."""
        if not self.out_features:  # torch brings nothing to no size.
            return features.new_zeros(len(features), 0, *self.size)
        logits = functional.conv2d(features, self.weight[:, :, None, None], self.bias)
        if logits.shape[2:] == self.size:
            return logits
        return functional.interpolate(logits, self.size, mode="bilinear", align_corners=False)
