"""Measures one thing about ingestion in a process of its own: `python -m benchmarks.ingest_measure` prints JSON lines.

Modules are imported where they are used: the processes that examine images import this one too, and torch would be
in each of them.
"""

import argparse
import hashlib
import io
import json
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

from PIL import Image

from benchmarks import ingest_images
from dataset.deliveries.delivery import read_delivery
from dataset.processes import in_order
from tasks.ingest.examine import PART_ITEMS
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams

if TYPE_CHECKING:
    from records.experience import Experience
    from tasks.workspace.workspace import Workspace

DAY = date(2026, 1, 5)
Result = TypeVar("Result")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest_measure", description=__doc__)
    parser.add_argument("what", choices=["speed", "archive"])
    parser.add_argument("folder", type=Path, help="speed: the delivery; archive: a folder to work in")
    parser.add_argument("--home", type=Path, help="speed: a folder for workspaces")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--learned", type=int, default=10, help="archive: batches in the large one")
    parser.add_argument("--batch", type=int, default=10_000, help="archive: images in each batch")
    args = parser.parse_args()
    if args.what == "speed":
        measure_speed(args.folder, args.home, args.processes, args.repeats)
    else:
        measure_archive(args.folder, args.processes, args.repeats, args.batch, args.learned)


def measure_speed(source: Path, home: Path, processes: int, repeats: int) -> None:
    """Seconds of the bare work, of ingestion and of validation, in turn; a line each time.

    Everything is imported and the processes' server has been started before the clock runs.
    """
    _warm_up(home, processes)
    paths = [str(source / item.name) for item in read_delivery(source).items]
    for number in range(repeats):
        workspace = _workspace(home / str(number))
        bare, _ = _timed(partial(_bare, paths, processes))
        staging = workspace.state / "staging"
        taking, arrival = _timed(partial(ingest, workspace.batches, staging, source, DAY, IngestParams(), processes))
        validation, _ = _timed(partial(_validated, workspace, arrival.batch.id))
        _print_line(bare=bare, ingest=taking, validate=validation)


def measure_archive(folder: Path, processes: int, repeats: int, size: int, before: int) -> None:
    """Seconds to take and validate a batch with one batch of that size learned before, and with `before`; in turn."""
    from tasks.ingest.inbox import take

    _warm_up(folder / "warm", processes)
    workspaces = {name: _workspace(folder / name) for name in ("small", "large")}
    learned: dict[str, list[Experience]] = {name: [] for name in workspaces}
    for number in range(before):
        delivery = _patches(folder, number, size, processes)
        for name in workspaces if number == 0 else ["large"]:
            batch = take(workspaces[name], delivery, DAY, IngestParams()).batch.id
            learned[name] += _validated(workspaces[name], batch)
        _print_line(prepared=number + 1)
    for number in range(before, before + repeats):
        delivery = _patches(folder, number, size, processes)
        seconds = {}
        for name, workspace in workspaces.items():
            seconds[f"{name}_ingest"], arrival = _timed(partial(take, workspace, delivery, DAY, IngestParams()))
            seconds[f"{name}_validate"], _ = _timed(partial(_validated, workspace, arrival.batch.id, learned[name]))
        _print_line(**seconds)


def _bare(paths: list[str], processes: int) -> None:
    """What ingestion cannot do without: read every file, decode it, hash it."""
    parts = [paths[start : start + PART_ITEMS] for start in range(0, len(paths), PART_ITEMS)]
    for _ in in_order(_bare_part, parts, processes, instead=_failed):
        pass


def _failed(paths: list[str], why: str) -> int:
    raise SystemExit(f"To decode {paths[0]} or one that follows {why}.")


def _bare_part(paths: list[str]) -> int:
    for path in paths:
        with open(path, "rb") as file:  # noqa: PTH123  (the quickest way)
            encoded = file.read()
        hashlib.sha256(encoded).hexdigest()
        with Image.open(io.BytesIO(encoded)) as picture:
            picture.load()
    return len(paths)


def _validated(
    workspace: "Workspace", batch: str, before: "list[Experience] | None" = None
) -> "tuple[Experience, ...]":
    """Validate a batch as a night does whose parent has learned some experiences."""
    from records.registration import RunFile
    from records.snapshot import Snapshot
    from tasks import stages
    from tasks.validate import validator

    parent = Snapshot(identity="measured", parent=0, experiences=tuple(before or ()))
    # No version is registered in these workspaces: MLflow takes seconds, which are not those of validation.
    with mock.patch.object(validator, "snapshot_of", return_value=parent):
        experiences, reports = stages.run_validate(workspace, RunFile(parent=0, batches=(batch,)))
    if not experiences:
        raise SystemExit(f"A batch to measure with was not admitted: {reports[0].summary}")
    return experiences


def _patches(folder: Path, seed: int, size: int, processes: int) -> Path:
    delivery = folder / f"delivery-{seed:02d}"
    for _ in ingest_images.write(delivery, partial(ingest_images.patch, seed), size, processes):
        pass
    return delivery


def _warm_up(home: Path, processes: int) -> None:
    workspace = _workspace(home / "warm")
    delivery = _patches(home, 99, 200, processes)
    batch = ingest(workspace.batches, workspace.state / "staging", delivery, DAY, IngestParams(), processes).batch
    _validated(workspace, batch.id)
    _bare([str(delivery / item.name) for item in read_delivery(delivery).items], processes)


def _workspace(root: Path) -> "Workspace":
    from tasks.workspace.creation import create

    return create(root)


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _print_line(**line: Any) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
