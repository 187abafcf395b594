"""`make bench-growth`: what many nights cost, ingestion to registration, one after the other in one process.

Images of 16 x 16, 500 a night, a small MLP, as short a training as there is: what is left is what a night costs beside
learning. Each line is a span of nights; lines go to benchmarks/growth.jsonl, and from there into docs/benchmarks.md.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import machine, page, usage
from flows.servers.processes import import_libraries, prefect_api, switch_off_telemetry
from records.registration import Night
from tasks.ingest.readiness import mark
from tasks.workspace.creation import create
from tasks.workspace.workspace import Workspace

RESULTS = Path(__file__).parent / "growth.jsonl"
CLASSES, SIDE, IMAGES = 10, 16, 500
PARAMS = """
ingest: {settle_seconds: 0}
validate: {}
update: {network: {name: mlp}, memory: {size: 500}, budget: {min_steps: 60, max_steps: 60}}
evaluate: {}
judge: {name: paired_score}
"""
STORES: dict[str, Callable[[Workspace], tuple[Path, ...]]] = {
    "data": lambda place: (place.batches, place.root / ".dvc"),
    "git": lambda place: (place.root / ".git",),
    "mlflow.db": lambda place: (place.state / "mlflow.db",),
    "models": lambda place: (place.state / "mlartifacts",),
    "prefect.db": lambda place: tuple(place.prefect_home.glob("prefect.db*")),
    "prefect": lambda place: (place.prefect_home,),
    "all": lambda place: (place.root,),
}
"""Store to the folders and files that it is; `prefect` and `all` hold others of them."""


def main() -> None:
    """Play the nights, print a line for each span of them, write the lines and the page."""
    args = _arguments()
    switch_off_telemetry()
    # As in `retain night`, where it says why.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    lines: list[page.Line] = [machine.line()]
    print(page.GROWTH_HEAD, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        place = create(args.dir or Path(folder) / "growth")
        place.params.write_text(PARAMS, encoding="utf-8")
        stored = sizes(place)
        nights: list[Night] = []
        spent: list[dict[str, float]] = []
        for number, (night, cpu) in enumerate(play(place, args.nights), start=1):
            nights.append(night)
            spent.append(cpu)
            if number % args.span == 0:
                now = sizes(place)
                grown = {name: (now[name] - stored[name]) / args.span for name in STORES}
                lines.append(_line(place, (number - args.span + 1, number), nights, spent) | {"grown": grown})
                print(page.growth_row(lines[-1]), flush=True)
                args.out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
                nights, spent, stored = [], [], now
    if args.out == RESULTS:
        page.write()
        print(f"Wrote {args.out} and docs/benchmarks.md.", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--nights", type=int, default=100)
    parser.add_argument("--span", type=int, default=10, help="nights in a line")
    parser.add_argument("--dir", type=Path, default=None, help="keep the workspace there")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the JSON lines go")
    return parser.parse_args()


def play(place: Workspace, nights: int) -> Iterator[tuple[Night, dict[str, float]]]:
    """So many nights, each with new images of all classes, and the CPU seconds that each of them took."""
    from tasks.params.params import read_params

    assert read_params(place.params)
    shapes = np.random.default_rng(0).integers(0, 200, (CLASSES, SIDE, SIDE))
    with prefect_api(place, import_libraries):
        from flows.night import Request, night

        for number in range(nights):
            day = date(2026, 1, 1) + timedelta(days=number)
            deliver(place.inbox / f"night-{number}", shapes, number)
            before = _cpu()
            result = night(Request(), str(place.root), day)
            yield result, {name: used - before[name] for name, used in _cpu().items()}


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


def _line(
    place: Workspace, span: tuple[int, int], nights: Sequence[Night], spent: Sequence[dict[str, float]]
) -> page.Line:
    server = _servers(usage.family(os.getpid()))
    steps = [_steps(place, night) for night in nights]
    return {
        "system": "growth",
        "nights": span,
        "images": IMAGES,
        "seconds": [night.seconds for night in nights],
        "cpu": {name: [cpu[name] for cpu in spent] for name in spent[0]},
        "steps": {name: statistics.median(seconds[name] for seconds in steps if name in seconds) for name in steps[-1]},
        "accepted": sum(night.outcome == "accept" for night in nights),
        "memory": {"night": usage.memory(os.getpid()), "prefect": sum(map(usage.memory, server))},
    }


def _steps(place: Workspace, night: Night) -> dict[str, float]:
    """Step to its seconds; those that come after the run was logged are the rest."""
    from mlflow import MlflowClient

    assert night.registration is not None
    logged = MlflowClient(place.mlflow_address).get_run(night.registration.run).data.metrics
    steps = {name.removeprefix("seconds/"): taken for name, taken in logged.items() if name.startswith("seconds/")}
    return steps | {"keep and register": night.seconds - sum(steps.values())}


def _cpu() -> dict[str, float]:
    everyone = usage.family(os.getpid())
    server = _servers(everyone)
    return {"night": usage.cpu_seconds(everyone - server), "prefect": usage.cpu_seconds(server)}


def _servers(pids: set[int]) -> set[int]:
    return {pid for pid in pids if "flows.servers.door" in usage.command(pid)}


if __name__ == "__main__":
    main()
