"""What an image is to retain: its pixels, its content id, the facts that checks and slices need, its row in a shard."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydantic import Field

from models.codecs import BadImage, Header, Pixels, read_pixels
from records.batch import Split
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
        pa.field("sharpness", pa.float32(), nullable=False),
        pa.field("phash", pa.string(), nullable=False),
    ]
)
"""One row an image. A manifest's further columns follow, each as a string `user.<name>`."""

LOOK_SIDE = 512
"""Grey levels are looked at in a copy whose longer side has at most so many pixels, so that large files cost little."""

LEVELS = np.arange(256, dtype=np.int64)


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


@dataclass(frozen=True)
class Facts:
    """What is known of one image file. The fields are columns of `SHARD_SCHEMA`."""

    image: str
    """First 32 hex digits of SHA-256: of size, channels and pixels; of the file's bytes if it cannot be decoded."""
    sha256: str = ""
    """Of the file's bytes; empty if they were not read."""
    bytes: int = 0
    problem: str = ""
    """Empty, or one word as in `BadImage`."""
    detail: str = ""
    format: str = ""
    mode: str = ""
    width: int = 0
    """In pixels, after turning as EXIF says; 0 if unknown."""
    height: int = 0
    frames: int = 0
    brightness: float = 0.0
    """Mean grey level, 0 (black) to 1 (white)."""
    contrast: float = 0.0
    """Standard deviation of the grey levels scaled to 0..1, so 0 to 0.5."""
    sharpness: float = 0.0
    """Variance of the Laplacian of the grey levels 0..255 (Pech-Pacheco et al. 2000): low means blurred."""
    phash: str = ""
    """Difference hash of 64 bits, 16 hex digits (N. Krawetz, "Kind of Like That", 2013). Empty if not decodable."""


def decode(encoded: bytes, limits: ImageLimits) -> Image:
    """Decode a file's bytes: first frame, turned as EXIF says. Threads take turns; to go faster, use processes.

    Grey stays one channel. Sixteen bits become eight by their high byte. What is transparent shows white behind it.
    CMYK becomes RGB without its colour profile. Raises `BadImage`, pixels of 32 bit, float or Lab included.
    """
    pixels, header = read_pixels(encoded, limits.max_pixels)
    return Image(pixels=pixels, format=header.format, mode=header.mode, frames=header.frames)


def facts(encoded: bytes, limits: ImageLimits) -> Facts:
    """Everything that a shard says of a file's bytes. A file that is no usable image is a fact too: it never raises."""
    sha256 = hashlib.sha256(encoded).hexdigest()
    try:
        pixels, header = read_pixels(encoded, limits.max_pixels)
    except BadImage as bad:
        return _facts_without_pixels(sha256, len(encoded), bad)
    grey = _grey_copy(pixels)
    brightness, contrast = _light(grey)
    return Facts(
        image=content_id(pixels),
        sha256=sha256,
        bytes=len(encoded),
        format=header.format,
        mode=header.mode,
        width=header.width,
        height=header.height,
        frames=header.frames,
        brightness=brightness,
        contrast=contrast,
        sharpness=_sharpness(np.asarray(grey)),
        phash=_difference_hash(grey),
    )


def content_id(pixels: Pixels) -> str:
    """First 32 hex digits of SHA-256 over 'height x width x channels' and the pixels, row by row."""
    digest = hashlib.sha256("x".join(str(side) for side in pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()[:32]


def split_of(image: str, test: float, validation: float) -> Split:
    """The split of an image, for ever, by its content id alone. `test` and `validation` are shares, 0..1."""
    place = int(image[:16], 16) / 2**64
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


def fit(pixels: Pixels, channels: int, height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [channels, height, width] from uint8 [H, W, 1 or 3]: bilinear, antialiased, filled, cropped at the centre.

    Three channels become one as ITU-R 601 luma, one becomes three by repeating. Raises `ValueError` for other counts.
    """
    if channels not in (1, 3):
        raise ValueError(f"Images have 1 or 3 channels, not {channels}.")
    picture = _picture(pixels)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Pillow.Resampling.BILINEAR, box=_centre(picture.size, height, width))
    picture = picture.convert("L" if channels == 1 else "RGB")
    return np.ascontiguousarray(np.asarray(picture).reshape(height, width, channels).transpose(2, 0, 1))


def _centre(size: tuple[int, int], height: int, width: int) -> tuple[float, float, float, float]:
    """The largest centred box (left, top, right, bottom) within `size` (width, height) that has the wanted aspect."""
    scale = min(size[0] / width, size[1] / height)
    left, top = (size[0] - width * scale) / 2, (size[1] - height * scale) / 2
    return left, top, size[0] - left, size[1] - top


def _facts_without_pixels(sha256: str, size: int, bad: BadImage) -> Facts:
    header: Header = bad.header
    return Facts(
        image=sha256[:32],
        sha256=sha256,
        bytes=size,
        problem=bad.problem,
        detail=bad.detail,
        format=header.format,
        mode=header.mode,
        width=header.width,
        height=header.height,
        frames=header.frames,
    )


def _picture(pixels: Pixels) -> Pillow.Image:
    return Pillow.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _grey_copy(pixels: Pixels) -> Pillow.Image:
    picture = _picture(pixels)
    shrink = math.ceil(max(picture.size) / LOOK_SIDE)
    return (picture.reduce(shrink) if shrink > 1 else picture).convert("L")


def _light(grey: Pillow.Image) -> tuple[float, float]:
    """Mean and standard deviation of the grey levels, scaled to 0..1."""
    counts = np.array(grey.histogram(), dtype=np.int64)
    mean, variance = _moments(int(counts.sum()), int(counts @ LEVELS), int(counts @ LEVELS**2))
    return mean / 255, math.sqrt(variance) / 255


def _sharpness(levels: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian over inner pixels; 0 for images too small to have any."""
    if min(levels.shape) < 3:
        return 0.0
    grey = levels.astype(np.int64)
    centre = grey[1:-1, 1:-1]
    laplacian = (grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * centre).ravel()
    return _moments(laplacian.size, int(laplacian.sum()), int(laplacian @ laplacian))[1]


def _moments(count: int, total: int, squares: int) -> tuple[float, float]:
    """Mean and variance from whole-number sums: the same bits on every processor, so equal files have equal facts."""
    return total / count, (count * squares - total * total) / (count * count)


def _difference_hash(grey: Pillow.Image) -> str:
    """One bit for each of 8 x 8 pairs of neighbours in a 9 x 8 copy, row by row: 1 if the right one is brighter."""
    small = np.asarray(grey.resize((9, 8), Pillow.Resampling.BILINEAR))
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()
