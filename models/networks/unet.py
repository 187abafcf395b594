"""A small U-Net for small images: an answer at each pixel, from what is near it and from the image as a whole.

Ronneberger et al. (2015), "U-Net": stages that halve the image, and stages that bring it back to its size, each with
what the stage of the same size saw. At the image's full size there is one convolution each way rather than two: it is
where a step costs most, and with two a network learns more slowly. And the head sees features of two stages, the finest
and a coarse one (Hariharan et al., 2015, "Hypercolumns"): what a thing is need not come through all stages on the way
back. Without, a network finds things soon and takes hundreds of steps until it tells their classes apart.

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
STAGES = 6
"""At most; the last one then sees images of 256 pixels as 8 x 8."""
WIDEST = 8
"""Times the first stage's channels: no stage has more."""
BROAD = 2
"""Times the first stage's channels: features of the coarse stage that the head sees."""


class UNet(Recipe):
    """Stages until the image would be smaller than 4 pixels, and back to features of the image's size."""

    dense: ClassVar[bool] = True
    name: Literal["unet"] = "unet"
    width: int = Field(default=8, ge=8, le=512, multiple_of=8)
    """Channels of the first stage; each stage doubles them, up to eight times as many."""

    def body(self, spec: InputSpec) -> tuple[nn.Module, int]:
        """Features [N, 3 * width, H, W], for any height and width."""
        widths, side = [self.width], min(spec.height, spec.width)
        while side >= 8 and len(widths) < STAGES:
            widths.append(min(2 * widths[-1], WIDEST * self.width))
            side = -(-side // 2)
        return Stages(spec.channels, widths), self.width + BROAD * self.width


class Stages(nn.Module):
    """Down and back up; `widths` are the stages' channels."""

    def __init__(self, channels: int, widths: list[int]) -> None:
        super().__init__()
        steps = list(pairwise(widths))
        self.first = nn.Sequential(*_convolution(channels, widths[0]))
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), *_convolution(fine, coarse), *_convolution(coarse, coarse))
            for fine, coarse in steps
        )
        self.up = nn.ModuleList(Up(fine, coarse, twice=fine > widths[0]) for fine, coarse in reversed(steps))
        self.broad_stage = max(0, len(widths) - 2)
        self.broad = nn.Conv2d(widths[self.broad_stage], BROAD * widths[0], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, 3 * widths[0], H, W] of normalised images [N, C, H, W]."""
        seen = [self.first(images)]
        for stage in self.down:
            seen.append(stage(seen[-1]))
        features: Tensor = seen.pop()
        coarse = features
        for stage in self.up:
            features = stage(seen.pop(), features)
            if len(seen) == self.broad_stage:
                coarse = features
        broad = functional.interpolate(self.broad(coarse), size=images.shape[2:], mode="bilinear", align_corners=False)
        return torch.cat([features, broad], dim=1)


class Up(nn.Module):
    """Brings coarse features to the size of fine ones and looks at both."""

    def __init__(self, fine: int, coarse: int, twice: bool) -> None:
        super().__init__()
        # Narrowed before it grows: a quarter of the cost, and the same, as each pixel is only repeated.
        self.narrow = nn.Conv2d(coarse, fine, 1)
        again = _convolution(fine, fine) if twice else []
        self.both = nn.Sequential(*_convolution(2 * fine, fine), *again)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """[N, fine, H, W] of [N, fine, H, W] and [N, coarse, H / 2, W / 2], sides rounded up."""
        grown = functional.interpolate(self.narrow(coarse), size=fine.shape[2:], mode="nearest")
        return self.both(torch.cat([fine, grown], dim=1))  # type: ignore[no-any-return]


def _convolution(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.GroupNorm(GROUPS, width), nn.ReLU()]
