"""From a decoded picture to levels: uint8, one or three channels, turned as it is meant to be seen."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

# Relative: these files go into every logged model, where there is no package `dataset`.
from .formats import BadImage, Header

Pixels = NDArray[np.uint8]
"""[height, width, channels] with 1 or 3 channels."""
STRIPE = 2**20
"""Pixels that are laid on white at a time: on the way they take 16 bytes each."""
ONE_CHANNEL = ("L", "1")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
THREE_CHANNELS = ("RGB", "RGBX", "CMYK", "YCbCr", "P")
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")


def eight_bit(file: Pillow.Image, header: Header) -> Pixels:
    """uint8 [height, width, 1 or 3]. What is transparent shows white behind it, as on a page."""
    if file.mode in SIXTEEN_BIT:
        return _high_byte(file)
    if file.mode in TRANSPARENT or (file.mode in ("L", "P", "RGB") and "transparency" in file.info):
        return _on_white(file)
    if file.mode in ONE_CHANNEL:
        return np.asarray(file if file.mode == "L" else file.convert("L"))[:, :, None]
    if file.mode in THREE_CHANNELS:
        return np.asarray(file if file.mode == "RGB" else file.convert("RGB"))
    raise BadImage("format", f"pixels of mode {file.mode} have no known range; 8 or 16 bits can be read", header)


def _high_byte(file: Pillow.Image) -> Pixels:
    # Pillow brings 16-bit colour to 8 bits in the same way, so grey and colour files agree.
    return (np.asarray(file) >> 8).astype(np.uint8)[:, :, None]


def _on_white(file: Pillow.Image) -> Pixels:
    """Colour times alpha plus white times the rest, rounded to the nearest integer; some rows at a time."""
    mode = "LA" if file.mode in ("L", "LA", "La") else "RGBA"
    pixels = np.empty((file.height, file.width, len(mode) - 1), np.uint8)
    rows = max(1, STRIPE // file.width)
    for top in range(0, file.height, rows):
        stripe = file.crop((0, top, file.width, min(top + rows, file.height)))
        layers = np.asarray(stripe.convert(mode)).astype(np.uint16)
        colour, alpha = layers[:, :, :-1], layers[:, :, -1:]
        pixels[top : top + rows] = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return pixels


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Pixels as they are meant to be seen. Orientation as in EXIF 2.32, tag 0x0112; unknown values change nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
