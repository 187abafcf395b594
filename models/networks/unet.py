"""A small U-Net for small images: an answer at each pixel, from what is near it and from the image as a whole.

Ronneberger et al. (2015), "U-Net": stages that halve the image, and stages that bring it back to its size, each with
what the stage of the same size saw. Three things make it quick to learn on a CPU.

- No stage works at the image's full size, where a step would cost most. The first one sees blocks of pixels as one
  place with a channel each, and features for each pixel of a block are made at the end (Shi et al., 2016, "Real-Time
  Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", arXiv:1609.05158).
- Pixels' features come from two stages, the finest and a coarse one (Hariharan et al., 2015, "Hypercolumns"): what a
  thing is need not come through all stages on the way back. Without, a network finds things soon and takes hundreds of
  steps until it tells their classes apart.
- Stages on the way back have one convolution rather than two.

Group normalisation for the reason that `cnn.py` gives: a step mixes new and replayed images, and statistics of such a
batch are those of neither. In 4 groups, because with one channel a group a stage no longer sees how bright a thing is.
"""

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from models.networks.base import Recipe
from records.snapshot import InputSpec

GROUPS = 4
STAGES = 5
"""At most; with blocks of two the last one then sees images of 256 pixels as 8 x 8."""
LEAST = 8
"""Places a side: a stage that sees fewer halves them no further."""
WIDEST = 8
"""Times the first stage's channels: no stage has more."""
BROAD = 2
"""Times the first stage's channels: features of the coarse stage."""
FINE = 8
"""Features of a pixel, which the head sees."""


class UNet(Recipe):
    """Stages until the image would be smaller than 8 places, and back to features of the image's size."""

    dense: ClassVar[bool] = True
    name: Literal["unet"] = "unet"
    width: int = Field(default=16, ge=8, le=512, multiple_of=8)
    """Channels of the first stage; each stage doubles them, up to eight times as many."""
    block: int = Field(default=2, ge=1, le=8)
    """Side, in pixels, of the blocks that the first stage sees as one place. 1 sees finer lines, at some three times
    the cost."""

    def body(self, spec: InputSpec) -> tuple[nn.Module, int]:
        """Features [N, 8, H, W], for any height and width."""
        widths, side = [self.width], -(-min(spec.height, spec.width) // self.block)
        while side >= 2 * LEAST and len(widths) < STAGES:
            widths.append(min(2 * widths[-1], WIDEST * self.width))
            side = -(-side // 2)
        return Blocks(spec.channels, self.block, widths), FINE


class Blocks(nn.Module):
    """Lets stages see blocks of pixels as places, and makes features of pixels from those of places."""

    def __init__(self, channels: int, block: int, widths: list[int]) -> None:
        super().__init__()
        self.block = block
        self.channels = block**2 * channels
        self.stages = Stages(self.channels, widths)
        self.fine = nn.Conv2d(self.stages.features, FINE * block**2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, 8, H, W] of normalised images [N, C, H, W]; blocks at the edge are filled with zeros."""
        height, width = images.shape[2:]
        whole = functional.pad(images, (0, -width % self.block, 0, -height % self.block))
        blocks = functional.pixel_unshuffle(whole, self.block)
        # Of no images, it forgets how many channels they had.
        blocks = blocks.reshape(images.shape[0], self.channels, *(side // self.block for side in whole.shape[2:]))
        return functional.pixel_shuffle(self.fine(self.stages(blocks)), self.block)[:, :, :height, :width]


class Stages(nn.Module):
    """Down and back up; `widths` are the stages' channels."""

    def __init__(self, channels: int, widths: list[int]) -> None:
        super().__init__()
        steps = list(pairwise(widths))
        self.first = nn.Sequential(*_convolution(channels, widths[0]), *_convolution(widths[0], widths[0]))
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), *_convolution(fine, coarse), *_convolution(coarse, coarse))
            for fine, coarse in steps
        )
        self.up = nn.ModuleList(Up(fine, coarse) for fine, coarse in reversed(steps))
        self.broad_stage = max(0, len(widths) - 2)
        self.broad = nn.Conv2d(widths[self.broad_stage], BROAD * widths[0], 1)
        self.features = (1 + BROAD) * widths[0]

    def forward(self, places: Tensor) -> Tensor:
        """Features [N, 3 * widths[0], h, w] of places [N, channels, h, w]."""
        seen = [self.first(places)]
        for stage in self.down:
            seen.append(stage(seen[-1]))
        features: Tensor = seen.pop()
        coarse = features
        for stage in self.up:
            features = stage(seen.pop(), features)
            if len(seen) == self.broad_stage:
                coarse = features
        broad = functional.interpolate(self.broad(coarse), size=places.shape[2:], mode="bilinear", align_corners=False)
        return torch.cat([features, broad], dim=1)


class Up(nn.Module):
    """Brings coarse features to the size of fine ones and looks at both."""

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        # Narrowed before it grows: a quarter of the cost, and the same, as each place is only repeated.
        self.narrow = nn.Conv2d(coarse, fine, 1)
        self.both = nn.Sequential(*_convolution(2 * fine, fine))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """[N, fine, h, w] of [N, fine, h, w] and [N, coarse, h / 2, w / 2], sides rounded up."""
        grown = functional.interpolate(self.narrow(coarse), size=fine.shape[2:], mode="nearest")
        return self.both(torch.cat([fine, grown], dim=1))  # type: ignore[no-any-return]


def _convolution(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.GroupNorm(GROUPS, width), nn.ReLU()]
