"""What an image is to retain: its pixels once decoded, and what it may cost."""

from dataclasses import dataclass

from pydantic import Field

from dataset.decoding.codecs import pillow_on_our_terms, read_pixels
from dataset.decoding.levels import Pixels
from records.record import Record


class ImageLimits(Record):
    """What an image may cost."""

    max_pixels: int = Field(default=50_000_000, ge=1)
    """Width times height, read from the file's header before anything is decoded."""


@dataclass(frozen=True)
class Image:
    """A decoded image."""

    pixels: Pixels
    """uint8 [height, width, channels] with 1 or 3 channels."""
    format: str
    """PNG, JPEG, WEBP, BMP, TIFF or GIF."""
    mode: str
    """Pillow's name of how the file stores a pixel, such as L, RGB, P, CMYK or I;16."""
    frames: int
    """Number of frames or pages in the file; only the first is decoded."""


def decode(encoded: bytes, limits: ImageLimits) -> Image:
    """Decode a file's bytes: first frame, turned as EXIF says. Threads take turns; to go faster, use processes.

    Grey stays one channel. Sixteen bits become eight by their high byte. What is transparent shows white behind it.
    CMYK becomes RGB without its colour profile. Raises `BadImage`, pixels of 32 bit, float or Lab included.
    """
    with pillow_on_our_terms():
        decoded = read_pixels(encoded, limits.max_pixels)
    header = decoded.header
    return Image(pixels=decoded.pixels, format=header.format, mode=header.mode, frames=header.frames)
