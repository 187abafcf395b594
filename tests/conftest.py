"""What many tests need: batches of drawn shapes, and silence from every tool."""

import os
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.servers import import_libraries, prefect_api, switch_off_telemetry

switch_off_telemetry()
os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"

DAY = date(2026, 3, 2)


def draw(kind: str, count: int, seed: int, side: int = 12) -> list[np.ndarray]:
    """Grey pictures of a bar, a column, a cross or a square on noise; different seeds give different pictures."""
    generator = np.random.default_rng([seed, *kind.encode()])
    pictures = []
    for _ in range(count):
        pixels = generator.integers(0, 60, (side, side), dtype=np.uint8)
        at = int(generator.integers(2, side - 3))
        if kind in ("bar", "cross"):
            pixels[at : at + 2, :] += 180
        if kind in ("column", "cross"):
            pixels[:, at : at + 2] = 240
        if kind == "square":
            pixels[at - 2 : at + 3, at - 2 : at + 3] += 180
        pictures.append(pixels)
    return pictures


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory):
    """The address of one Prefect server for all tests that run flows; to start one costs many seconds."""
    with prefect_api(tmp_path_factory.mktemp("prefect"), import_libraries) as api:
        yield api


@pytest.fixture(scope="session")
def deliver():
    """Writes a delivery of drawn shapes, `deliver(folder, {"bar": 40}, seed)`, and gives its path."""

    def write(folder: Path, counts: dict[str, int], seed: int = 0, side: int = 12) -> Path:
        for kind, count in counts.items():
            (folder / kind).mkdir(parents=True)
            for number, pixels in enumerate(draw(kind, count, seed, side)):
                Image.fromarray(pixels).save(folder / kind / f"{number:04d}.png")
        return folder

    return write
