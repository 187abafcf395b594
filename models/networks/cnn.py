"""A small convolutional network for small images: three stages, group normalisation, global average pooling.

Group normalisation (Wu and He, 2018) rather than batch normalisation, because a step mixes new and replayed images:
statistics of such a batch are those of neither, and they are what a later night would overwrite first.
"""

from typing import Literal

from pydantic import Field
from torch import nn

from models.networks.base import Recipe
from records.snapshot import InputSpec


class CNN(Recipe):
    """Three stages of two 3 x 3 convolutions; each stage halves the image until it would be smaller than 4 pixels."""

    name: Literal["cnn"] = "cnn"
    width: int = Field(default=32, ge=8, le=512, multiple_of=8)
    """Channels of the first stage; each stage doubles them."""

    def body(self, spec: InputSpec) -> tuple[nn.Module, int]:
        """Features are the last stage's channels, averaged over the image."""
        layers: list[nn.Module] = []
        side = min(spec.height, spec.width)
        channels, width = spec.channels, self.width
        for _ in range(3):
            layers += [*_convolution(channels, width), *_convolution(width, width)]
            if side >= 8:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            channels, width = width, width * 2
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels


def _convolution(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.GroupNorm(8, width), nn.ReLU()]
