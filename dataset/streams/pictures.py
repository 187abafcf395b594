"""Images with one class each, and how they are written."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from records.pace import Progress


@dataclass(frozen=True)
class Pictures:
    """Images of one size with their class indices."""

    pixels: NDArray[np.uint8]
    """[n, height, width]"""
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def of(self, *indices: int) -> "Pictures":
        """Those of some classes."""
        chosen = np.isin(self.labels, indices)
        return Pictures(self.pixels[chosen], self.labels[chosen], self.classes)

    def part(self, start: int, stop: int | None) -> "Pictures":
        """Of each class the images `start` to `stop`, in their order."""
        chosen = [np.flatnonzero(self.labels == c)[start:stop] for c in np.unique(self.labels)]
        rows = np.sort(np.concatenate(chosen))
        return Pictures(self.pixels[rows], self.labels[rows], self.classes)

    def write(self, folder: Path, progress: Progress = lambda done, total: None) -> None:
        """Write as `<folder>/<class>/<number>.png`."""
        for index in np.unique(self.labels):
            (folder / self.classes[index]).mkdir(parents=True, exist_ok=True)
        for number, (pixels, label) in enumerate(zip(self.pixels, self.labels, strict=True)):
            (folder / self.classes[label] / f"{number:05d}.png").write_bytes(png(pixels))
            progress(number + 1, len(self.labels))


def png(pixels: NDArray[np.uint8], palette: bytes | None = None) -> bytes:
    """A PNG file of pixels [height, width] or [height, width, 3], stored without compression.

    `palette`: red, green and blue of each value, which makes it one of indices. Uncompressed, so that the bytes, and
    with them a batch's digest, are the same whatever zlib this machine has.
    """
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=0)
    return file.getvalue()
