"""Deliveries to measure ingestion with, written as files in class folders by several processes; always the same.

Grey PNG files of Fashion-MNIST; photographs, random cuts of scikit-learn's two, as JPEG files; small drawn patches.
"""

import io
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from dataset.processes import in_order

CLASSES = 10
PART = 250
Draw = Callable[[int], tuple[str, bytes]]
"""From an image's number to its path within the delivery and the content of its file."""


def write(folder: Path, draw: Draw, count: int, processes: int) -> Iterator[int]:
    """Write images 0 to `count` - 1 below `folder`; tells now and then how many are there."""
    for number in range(CLASSES):
        (folder / str(number)).mkdir(parents=True, exist_ok=True)
    parts = [range(start, min(start + PART, count)) for start in range(0, count, PART)]
    done = 0
    for written in in_order(partial(_write_part, folder, draw), parts, processes, instead=_failed):
        done += written
        yield done


def fashion(root: Path, number: int) -> tuple[str, bytes]:
    """Image `number` of Fashion-MNIST's 70,000 as a PNG file of 28 x 28 pixels."""
    images, labels = _fashion(root)
    return f"{labels[number]}/{number:05d}.png", _encoded(Image.fromarray(images[number]), "PNG")


def photograph(number: int) -> tuple[str, bytes]:
    """A JPEG file of 640 x 480 pixels, quality 85: a cut of one of two photographs, enlarged, mirrored, brightened."""
    dice = np.random.default_rng([0, number])
    source = _photographs()[number % 2]
    width = dice.uniform(240, 560)
    height = width * 3 / 4
    left, top = dice.uniform(0, source.width - width), dice.uniform(0, source.height - height)
    box = (left, top, left + width, top + height)
    picture = source.resize((640, 480), Image.Resampling.BICUBIC, box=box)
    if dice.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    gain = dice.uniform(0.7, 1.2)
    picture = picture.point([min(255, round(gain * level)) for level in range(256)] * 3)
    return f"{number % CLASSES}/{number:05d}.jpg", _encoded(picture, "JPEG", quality=85)


def patch(seed: int, number: int) -> tuple[str, bytes]:
    """A PNG file of 16 x 16 grey pixels at random. Another number or another seed is another image."""
    pixels = np.random.default_rng([seed, number]).integers(0, 256, (16, 16), dtype=np.uint8)
    return f"{number % CLASSES}/{number:06d}.png", _encoded(Image.fromarray(pixels), "PNG")


def _write_part(folder: Path, draw: Draw, numbers: range) -> int:
    for number in numbers:
        path, content = draw(number)
        (folder / path).write_bytes(content)
    return len(numbers)


def _failed(numbers: range, why: str) -> int:
    raise SystemExit(f"The process that wrote images {numbers.start} to {numbers.stop - 1} {why}.")


@cache
def _fashion(root: Path) -> tuple[np.ndarray, np.ndarray]:
    from dataset.streams.fashion_mnist import fashion_mnist  # brings torch along, which the other deliveries do without

    pictures = fashion_mnist(root)
    return pictures.pixels, pictures.labels


@cache
def _photographs() -> list[Image.Image]:
    from sklearn.datasets import load_sample_images

    return [Image.fromarray(pixels) for pixels in load_sample_images().images]


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
