"""What many nights cost: `python -m benchmarks.growth --nights 100` plays them, ingestion to registration.

Images of 16 x 16, 500 a night, a small MLP, as short a training as there is: what is left is what a night costs beside
learning. Each line is a span of nights: seconds of the average one, how many were accepted, and how much each store
grew in each of them.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flows.servers import import_libraries, prefect_api, switch_off_telemetry
from records.registration import Night
from tasks.creation import create
from tasks.intake.readiness import mark
from tasks.params import read_params
from tasks.workspace import Workspace

CLASSES, SIDE, IMAGES = 10, 16, 500
PARAMS = """
ingest: {settle_seconds: 0}
validate: {severity: {drift: warn}}
update: {network: {name: mlp}, memory: {size: 500}, budget: {least_steps: 60, most_steps: 60}}
evaluate: {}
judge: {name: paired_score}
"""
STORES: dict[str, Callable[[Workspace], tuple[Path, ...]]] = {
    "data": lambda place: (place.batches, place.root / ".dvc"),
    "git": lambda place: (place.root / ".git",),
    "mlflow.db": lambda place: (place.state / "mlflow.db",),
    "models": lambda place: (place.state / "mlartifacts",),
    "prefect": lambda place: (place.prefect_home,),
    "all": lambda place: (place.root,),
}
"""Store to the folders and files that it is."""


def main() -> None:
    """Play the nights and print a line for each span of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--nights", type=int, default=100)
    parser.add_argument("--span", type=int, default=10, help="nights in a line")
    parser.add_argument("--dir", type=Path, default=None, help="keep the workspace there")
    chosen = parser.parse_args()
    switch_off_telemetry()
    with tempfile.TemporaryDirectory() as folder:
        place = create(chosen.dir or Path(folder) / "growth")
        place.params.write_text(PARAMS, encoding="utf-8")
        before = sizes(place)
        heads = "".join(f"{name:>11}" for name in STORES)
        print(f"{'nights':>9} {'seconds':>8} {'accepted':>9}  {heads}  (KB a night)")
        span: list[Night] = []
        for number, told in enumerate(play(place, chosen.nights), start=1):
            span.append(told)
            if number % chosen.span == 0:
                now = sizes(place)
                grown = "".join(f"{(now[name] - before[name]) / chosen.span / 1000:>11.0f}" for name in STORES)
                seconds = sum(n.seconds for n in span) / len(span)
                accepted = sum(n.outcome == "accept" for n in span)
                nights = f"{number - chosen.span + 1:>4}-{number:<4}"
                print(f"{nights} {seconds:>8.1f} {accepted:>9}  {grown}", flush=True)
                span, before = [], now


def play(place: Workspace, nights: int) -> Iterator[Night]:
    """So many nights, each with new images of all classes."""
    assert read_params(place.params)
    shapes = np.random.default_rng(0).integers(0, 200, (CLASSES, SIDE, SIDE))
    with prefect_api(place, import_libraries):
        from flows.night import Request, night

        for number in range(nights):
            day = date(2026, 1, 1) + timedelta(days=number)
            deliver(place.inbox / f"night-{number}", shapes, number)
            yield night(Request(), str(place.root), day)


def deliver(folder: Path, shapes: NDArray[np.int64], seed: int) -> None:
    """A delivery of `IMAGES` noisy pictures."""
    generator = np.random.default_rng([1, seed])
    for number in range(IMAGES):
        kind = number % CLASSES
        pixels = np.clip(shapes[kind] + generator.normal(0, 25, (SIDE, SIDE)), 0, 255).astype(np.uint8)
        path = folder / f"class-{kind}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    mark(folder)


def sizes(place: Workspace) -> dict[str, int]:
    """Bytes of each store; a file with several names counts once."""
    return {name: sum(_bytes(path) for path in paths(place)) for name, paths in STORES.items()}


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file() and not f.is_symlink()]
    return sum({(facts.st_dev, facts.st_ino): facts.st_size for facts in (f.stat() for f in files)}.values())


if __name__ == "__main__":
    main()
