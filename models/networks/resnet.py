"""ResNet-18 for small images: the stem of He et al. (2016) for CIFAR, then the four stages of their ImageNet form.

The stem is a 3 x 3 convolution that keeps the image's size. Group normalisation for the reason that `cnn.py` gives, in
8 groups: Wu and He (2018, table 3) found 2 to 64 about equal. The last scale of each block starts at zero (Goyal et al.
2017, section 5.1), so a fresh network is its shortcuts alone and deep ones learn from the first step on.

For photographs of 100 pixels and more, `{name: torchvision, model: resnet18}` costs a sixteenth.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from models.networks.base import Recipe
from records.snapshot import InputSpec

GROUPS = 8


class ResNet18(Recipe):
    """Four stages of two blocks; each but the first halves the image until it would be smaller than 4 pixels."""

    name: Literal["resnet18"] = "resnet18"
    width: int = Field(default=64, ge=8, le=512, multiple_of=8)
    """Channels of the first stage; each stage doubles them."""

    def body(self, spec: InputSpec) -> tuple[nn.Module, int]:
        """Features are the last stage's channels, averaged over the image."""
        layers: list[nn.Module] = [*_convolution(spec.channels, self.width), nn.ReLU()]
        side = min(spec.height, spec.width)
        channels = self.width
        for stage in range(4):
            width = self.width * 2**stage
            stride = 2 if stage and side >= 8 else 1
            layers += [Block(channels, width, stride), Block(width, width)]
            channels, side = width, -(-side // stride)
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels


class Block(nn.Module):
    """Two 3 x 3 convolutions that are added to what came in, or to its projection where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        last = _convolution(width, width)
        nn.init.zeros_(last[1].weight)
        self.residual = nn.Sequential(*_convolution(channels, width, stride), nn.ReLU(), *last)
        same = channels == width and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(channels, width, stride, side=1))

    def forward(self, images: Tensor) -> Tensor:
        """[N, width, H / stride, W / stride] of [N, channels, H, W], sides rounded up."""
        return nn.functional.relu(self.residual(images) + self.shortcut(images))


def _convolution(channels: int, width: int, stride: int = 1, side: int = 3) -> tuple[nn.Conv2d, nn.GroupNorm]:
    convolution = nn.Conv2d(channels, width, side, stride, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution, nn.GroupNorm(GROUPS, width)
