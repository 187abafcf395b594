"""What every kind of loss has in common: what was lost of some test images, and how many they are."""

from collections.abc import Sequence
from typing import Protocol, Self


class Losses(Protocol):
    """What one experience lost, or several together."""

    @property
    def experience(self) -> str:
        """Its name; of several, the first and the last of them."""

    @property
    def low(self) -> float:
        """The least loss possible: -1 where something can be gained as well, else 0."""

    @property
    def worst(self) -> tuple[str, float]:
        """Of several experiences together, the one that lost most, and what it lost."""

    @property
    def total(self) -> float:
        """Number of images; a fraction where one asks what more images would say."""

    @property
    def mean(self) -> float:
        """What was lost, `low`..1."""

    def scaled(self, times: float) -> Self:
        """The same loss if there were so many times the images, the rates being what they are."""

    @classmethod
    def pooled(cls, parts: Sequence[Self]) -> Self:
        """All images of several experiences as if they had come at once."""


def worst_of(parts: Sequence[Losses]) -> tuple[str, float]:
    """The experience that lost most, and what it lost."""
    named = [one.worst if one.worst[0] else (one.experience, one.mean) for one in parts]
    return max(named, key=lambda one: one[1])


def name_of(parts: Sequence[Losses]) -> str:
    """The name of several experiences together, by the first and the last of them."""
    return f"{parts[0].experience} to {parts[-1].experience}"
