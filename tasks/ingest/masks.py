"""The masks of images, each read and looked at once, after its image and in the same process."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from dataset.decoding.codecs import pillow_on_our_terms
from dataset.decoding.formats import BadImage
from dataset.deliveries.items import Item
from dataset.deliveries.reading import Reader
from dataset.facts import Facts
from dataset.masks import MaskFacts, MaskFormat, label_of_mask, mask_facts

PROBLEMS = {"missing": "mask-missing"}
"""What is wrong with a mask, by what is wrong with its file; all else is `mask-unreadable`."""


class Mask(NamedTuple):
    """What became of the mask of one image."""

    facts: MaskFacts
    label: str = ""
    """Of the image; empty if there is no mask."""
    problem: str = ""
    """One word that begins with `mask-`, or empty."""
    detail: str = ""
    digest: str = ""
    """SHA-256 of what was delivered as a mask and is none."""

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes the mask of an image the same mask."""
        return self.facts.annotation_id or self.problem, self.digest, self.facts.labelled_for

    def judged(self, image: Facts) -> Facts:
        """The facts of its image: a problem of the mask is reported only of an image that is intact."""
        return image if image.problem else image._replace(problem=self.problem, detail=self.detail)


def masks_of(
    items: Sequence[Item], found: Sequence[Facts], reader: Reader, masks: MaskFormat, max_pixels: int
) -> list[Mask]:
    """The masks of some images, whose facts are `found`. It never raises because of a mask."""
    with pillow_on_our_terms():
        return [
            unknown_mask(item) if facts.problem else _mask_of(item, facts, reader, masks, max_pixels)
            for item, facts in zip(items, found, strict=True)
        ]


def unknown_mask(item: Item) -> Mask:
    """That of an image which cannot be used: nobody looks at it."""
    return Mask(MaskFacts(labelled_for=item.labelled_for))


def _mask_of(item: Item, image: Facts, reader: Reader, masks: MaskFormat, max_pixels: int) -> Mask:
    assert item.mask is not None
    encoded = b""
    try:
        encoded = reader.read(item.mask)
        values = masks.values(encoded, max_pixels)
        height, width = values.shape
        if (width, height) != (image.width, image.height):
            size = f"{width} x {height} pixels, and the image has {image.width} x {image.height}"
            raise BadImage("mask-size", f"it has {size}")
    except BadImage as bad:
        problem = bad.problem if bad.problem.startswith("mask-") else PROBLEMS.get(bad.problem, "mask-unreadable")
        digest = hashlib.sha256(encoded).hexdigest() if encoded else ""
        return unknown_mask(item)._replace(problem=problem, detail=f"{item.mask.path}: {bad.detail}", digest=digest)
    facts = mask_facts(values, masks.classes, item.labelled_for)
    return Mask(facts, label_of_mask(facts.class_pixels, masks.classes))
