"""Augmentation: every image of a step is seen turned, moved, scaled or mirrored a little differently.

Off by default, since labels need not survive it: a mirrored 2 is no 2, a 6 on its head is a 9. All four are one affine
map an image, drawn anew at each step, and one bilinear sampling of the whole step (Jaderberg et al., 2015,
arXiv:1506.02025).
"""

import math

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from records.batch import IGNORED
from records.record import Record


class Augmentation(Record):
    """How far an image may be changed. What leaves the frame is gone; what enters repeats the border."""

    flip: bool = False
    """Mirror every other image left to right."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """Turn by up to so many degrees either way."""
    translate: float = Field(default=0.0, ge=0, lt=1)
    """Move by up to this share of the side, along each axis: a crop elsewhere."""
    scale: float = Field(default=0.0, ge=0, lt=1)
    """Enlarge or shrink by up to this share."""

    mixup_alpha: float = Field(default=0.0, ge=0, le=2)
    """Blend every image with another one of its step, with a weight from Beta(alpha, alpha) whose larger part is the
    image's own (Zhang et al., 2018, "mixup", arXiv:1710.09412). New and remembered images mix freely, and a
    teacher answers the blend, so a small memory teaches as a larger one would; with a large one it costs more than it
    brings."""

    @property
    def active(self) -> bool:
        """Whether any image is changed by itself."""
        return self.flip or self.rotate > 0 or self.translate > 0 or self.scale > 0

    def __call__(self, images: Tensor) -> Tensor:
        """Float [n, C, H, W], 0..255, of uint8 images; the random numbers are torch's own."""
        grid = self._grid(images)
        return functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)

    def with_masks(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and uint8 masks [n, H, W] that are moved with their images: each pixel takes the nearest value, and
        what enters the frame is ignored."""
        grid = self._grid(images)
        moved = functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
        # The difference from "ignored" is sampled, since zeros are what enters.
        rest = functional.grid_sample(
            IGNORED - masks[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False
        )
        return moved, (IGNORED - rest[:, 0]).to(masks.dtype)

    def _grid(self, images: Tensor) -> Tensor:
        """[n, H, W, 2] from where each pixel of a changed image is taken."""
        n, _, height, width = images.shape
        draw = torch.rand(4, n) * 2 - 1  # on the CPU, so that every device sees the same images
        turn, grow = draw[0] * math.radians(self.rotate), 1 + draw[1] * self.scale
        mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0) if self.flip else torch.ones(n)
        aspect = width / height
        maps = torch.empty(n, 2, 3)
        maps[:, 0, 0], maps[:, 0, 1], maps[:, 0, 2] = (
            mirror * turn.cos(),
            -turn.sin() / aspect,
            draw[2] * 2 * self.translate,
        )
        maps[:, 1, 0], maps[:, 1, 1], maps[:, 1, 2] = (
            mirror * turn.sin() * aspect,
            turn.cos(),
            draw[3] * 2 * self.translate,
        )
        maps[:, :, :2] /= grow.view(-1, 1, 1)
        return functional.affine_grid(maps.to(images.device), list(images.shape), align_corners=False)

    def blend(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Float [n, C, H, W], each image blended with another; which one [n]; and its own weight [n], 0.5 to 1."""
        n = len(images)
        mixup_lambda = torch.from_numpy(
            np.random.default_rng(int(torch.randint(2**62, ()))).beta(self.mixup_alpha, self.mixup_alpha, n)
        ).float()
        mixup_lambda = torch.maximum(mixup_lambda, 1 - mixup_lambda).to(images.device)
        partner = torch.randperm(n).to(images.device)
        images = images.float()
        return torch.lerp(images[partner], images, mixup_lambda.view(-1, 1, 1, 1)), partner, mixup_lambda


AS_IT_IS = Augmentation()
"""No change."""
