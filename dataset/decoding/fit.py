"""From pixels of any size to those that a network sees.

Like the decoder (`codecs.py`) this file goes into every logged model, so that an image is brought to size there exactly
as it was in training; so it imports nothing of retain.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow


def fit(pixels: NDArray[np.uint8], channels: int, height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [channels, height, width] from uint8 [H, W, 1 or 3]: bilinear, antialiased, filled, cropped at the centre.

    Three channels become one as ITU-R 601 luma, one becomes three by repeating. Raises `ValueError` for other counts.
    """
    if channels not in (1, 3):
        raise ValueError(f"Images have 1 or 3 channels, not {channels}.")
    picture = picture_of(pixels)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Pillow.Resampling.BILINEAR, box=centre(picture.size, height, width))
    picture = picture.convert("L" if channels == 1 else "RGB")
    return np.ascontiguousarray(np.asarray(picture).reshape(height, width, channels).transpose(2, 0, 1))


def unfit(values: NDArray[np.uint8], height: int, width: int, outside: int) -> NDArray[np.uint8]:
    """uint8 [height, width], the size of an image, from what each pixel was given that `fit` made of it.

    Nearest, the inverse of `fit`; `outside` where `fit` cropped.
    """
    scale = min(height / values.shape[0], width / values.shape[1])
    rows, columns = (
        np.floor((np.arange(extent) + 0.5 - extent / 2) / scale + seen / 2).astype(np.int64)
        for extent, seen in zip((height, width), values.shape, strict=True)
    )
    high, wide = (rows >= 0) & (rows < values.shape[0]), (columns >= 0) & (columns < values.shape[1])
    whole = np.full((height, width), outside, dtype=np.uint8)
    whole[np.ix_(high, wide)] = values[np.ix_(rows[high], columns[wide])]
    return whole


def picture_of(pixels: NDArray[np.uint8]) -> Pillow.Image:
    """As Pillow holds it, mode L or RGB, of uint8 [H, W, 1 or 3]."""
    return Pillow.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def centre(size: tuple[int, int], height: int, width: int) -> tuple[float, float, float, float]:
    """The largest centred box (left, top, right, bottom) within `size` (width, height) that has the wanted aspect."""
    scale = min(size[0] / width, size[1] / height)
    left, top = (size[0] - width * scale) / 2, (size[1] - height * scale) / 2
    return left, top, size[0] - left, size[1] - top
