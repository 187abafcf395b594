"""What an image is to retain: its pixels once decoded, what it may cost, and the columns of its row in a shard."""

from dataclasses import dataclass

import pyarrow as pa
from pydantic import Field

from dataset.decoding.codecs import Pixels, pillow_on_our_terms, read_pixels
from records.record import Record

SHARD_SCHEMA = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("encoded", pa.binary()),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("problem", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("mode", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("frames", pa.int32(), nullable=False),
        pa.field("brightness", pa.float32(), nullable=False),
        pa.field("contrast", pa.float32(), nullable=False),
        pa.field("low", pa.float32(), nullable=False),
        pa.field("high", pa.float32(), nullable=False),
        pa.field("entropy", pa.float32(), nullable=False),
        pa.field("sharpness", pa.float32(), nullable=False),
        pa.field("phash", pa.string(), nullable=False),
    ]
)
"""One row an image. A manifest's further columns follow, each as a string `user.<name>`."""


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
