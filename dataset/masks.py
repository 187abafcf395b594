"""What is kept of an image's mask, and what is known of it once it is read: a batch's own values, its size, its shares.

A mask says of each pixel which class it belongs to. Here its values are those of a batch (`Batch.mask_classes`): 0 is
the background, 1 and above the other classes by name, 255 what nobody knows. What a sender's indices, colours or
outlines mean is found out where deliveries are read.
"""

import hashlib
import io
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from records.batch import BACKGROUND, IGNORED

Values = NDArray[np.uint8]
"""[height, width] values of a batch."""
MOST_CLASSES = 254
"""Beside the background: a value is one byte, and 255 is taken."""
PNG_LEVEL = 6
"""Of deflate. Masks shrink to a few percent; a batch's digest is that of their values, whatever zlib there is."""


class MaskFormat(Protocol):
    """How the masks of a delivery are written."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the values that `values` gives, as in `Batch.mask_classes`."""

    def values(self, encoded: bytes, max_pixels: int) -> Values:
        """Read what was delivered as the mask of one image. Within `pillow_on_our_terms` only.

        Raises `BadImage` with mask-size, mask-mode or mask-index, or with what is wrong with its file.
        """


class MaskFacts(NamedTuple):
    """What is known of one image's mask. The fields are columns of a shard, in order, see `shards.shard_schema`."""

    annotation: bytes | None = None
    """The mask as a grey PNG file of the image's size; None if there is none that can be used."""
    annotation_id: str = ""
    """32 hex digits that equal masks share, whatever they were delivered as; empty if there is none."""
    labelled_for: str = ""
    """Names of the classes that were looked for, sorted, with slashes between them; empty for all of the batch, and
    `background` alone if none was."""
    ignored: float = 0.0
    """Share of the pixels of which nobody knows what they are, 0 to 1."""
    background: float = 0.0
    """Share of all other pixels that belong to no class, 0 to 1."""
    class_pixels: tuple[int, ...] = ()
    """How many pixels have each value of `Batch.mask_classes`; empty if there is no mask."""


def in_canonical_order(names: Sequence[str]) -> tuple[str, ...]:
    """Names of values as `Batch.mask_classes` has them: the background first, the others sorted, each once."""
    return (BACKGROUND, *sorted({*names} - {BACKGROUND}))


def mask_facts(values: Values, classes: Sequence[str], labelled_for: str) -> MaskFacts:
    """What is kept and known of a mask whose value i means `classes[i]`."""
    picture = Pillow.fromarray(values)
    counts = picture.histogram()
    pixels = tuple(counts[: len(classes)])
    known = values.size - counts[IGNORED]
    return MaskFacts(
        annotation=_png(picture),
        annotation_id=annotation_id(values, classes, pixels),
        labelled_for=labelled_for,
        ignored=counts[IGNORED] / values.size,
        background=pixels[0] / known if known else 0.0,
        class_pixels=pixels,
    )


def annotation_id(values: Values, classes: Sequence[str], pixels: Sequence[int]) -> str:
    """First 32 hex digits of SHA-256 over size, the names that occur, and which of them each pixel has.

    `pixels`: how many pixels have each value. Names that do not occur have no part in it: the list that came with a
    delivery may be longer than that of another one.
    """
    occurring = [value for value, count in enumerate(pixels) if count and value > 0]
    dense = np.full(256, IGNORED, np.uint8)
    dense[[0, *occurring]] = range(len(occurring) + 1)
    height, width = values.shape
    # No name holds a slash or a line's end.
    digest = hashlib.sha256(f"{height}x{width}/{'/'.join(classes[value] for value in occurring)}\n".encode())
    digest.update(np.ascontiguousarray(dense[values]).data)
    return digest.hexdigest()[:32]


def label_of_mask(pixels: Sequence[int], classes: Sequence[str]) -> str:
    """The label of an image: names of the classes that occur in its mask, with slashes between them."""
    found = [name for name, count in zip(classes, pixels, strict=True) if count and name != BACKGROUND]
    return "/".join(found) or BACKGROUND


def looked_for(names: Sequence[str], classes: Sequence[str]) -> str:
    """Names of classes as the column `labelled_for` has them; those that are not in `classes` are left out."""
    wanted = [name for name in classes if name in names and name != BACKGROUND]
    if len(wanted) == len(classes) - 1:
        return ""
    return "/".join(wanted) or BACKGROUND


def _png(picture: Pillow.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=PNG_LEVEL)
    return file.getvalue()
