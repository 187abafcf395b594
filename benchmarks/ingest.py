"""`make bench-ingest`: how fast images come in, against the bare cost of reading, decoding and hashing them.

Each case runs in a process of its own, ours and the bare work in turn; lines go to benchmarks/ingest.jsonl, and from
there into docs/benchmarks.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import ingest_images, machine, page, usage
from benchmarks.streams import FASHION_MNIST

HERE = Path(__file__).parent
RESULTS = HERE / "ingest.jsonl"
EVERY = 0.2
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Speed:
    """Files of one kind to be ingested."""

    name: str
    draw: ingest_images.Draw
    images: int
    repeats: int


def main() -> None:
    """Run every case, print the table as it grows, write the lines and the page."""
    args = _arguments()
    few, repeats, before = (100, 1, 2) if args.quick else (1, 3, 10)
    speeds = (
        Speed("Fashion-MNIST, 28 x 28, PNG", partial(ingest_images.fashion, args.root), 70_000 // few, repeats),
        Speed("photographs, 640 x 480, JPEG", ingest_images.photograph, 20_000 // few, min(repeats, 2)),
    )
    lines = [machine.line()]
    print(page.INGEST_HEAD, flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-ingest-", dir=args.folder) as scratch:
        for number, case in enumerate(speeds):
            lines.append(_speed(case, Path(scratch) / str(number), args.processes))
            print(page.ingest_row(lines[-1]), flush=True)
        lines.append(_archive(Path(scratch) / "archive", args.processes, 10_000 // few, before, repeats))
        print(f"\n{page.ingest_growth(lines[-1])}", flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    if not args.quick:
        page.write()
        print(f"Wrote {args.out} and docs/benchmarks.md.", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the images; docs/benchmarks.md stays")
    parser.add_argument("--root", type=Path, default=FASHION_MNIST, help="folder with Fashion-MNIST's four files")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one a core")
    parser.add_argument("--folder", type=Path, help="where 5 GB of images may lie meanwhile (default: as TMPDIR says)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the JSON lines go")
    return parser.parse_args()


def _speed(case: Speed, folder: Path, processes: int) -> page.Line:
    for done in ingest_images.write(folder / "delivery", case.draw, case.images, processes):
        _say(f"writing {case.name}: {done:,} of {case.images:,}")
    _say(f"measuring {case.name}", end=True)
    options = ["--home", str(folder / "home"), "--processes", str(processes), "--repeats", str(case.repeats)]
    lines, peak = _measured("speed", folder / "delivery", options)
    return {
        "system": "ingest",
        "name": case.name,
        "images": case.images,
        "processes": processes,
        "peak_bytes": peak,
        **{f"{part}_seconds": [line[part] for line in lines] for part in ("bare", "ingest", "validate")},
    }


def _archive(folder: Path, processes: int, batch: int, before: int, repeats: int) -> page.Line:
    _say("measuring a batch on top of a small and of a large archive", end=True)
    options = [
        "--processes",
        str(processes),
        "--batch",
        str(batch),
        "--learned",
        str(before),
        "--repeats",
        str(repeats),
    ]
    lines, _ = _measured("archive", folder, options)
    rounds = [line for line in lines if "prepared" not in line]
    return {"system": "ingest-growth", "batch": batch, "learned": before, "processes": processes, "rounds": rounds}


def _measured(what: str, folder: Path, options: list[str]) -> tuple[list[dict[str, float]], int]:
    """The lines of a process that measures, as they come, and the peak memory of it and all that it starts."""
    command = [sys.executable, "-m", "benchmarks.ingest_measure", what, str(folder), *options]
    env = {**os.environ, "RETAIN_WORKERS": options[options.index("--processes") + 1]}
    lines = []
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(
            command, cwd=HERE.parent, env=env, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as run:
            assert run.stdout is not None
            with _peak_memory(run.pid) as peak:
                for text in run.stdout:
                    lines.append(json.loads(text))
                    _say("  " + ", ".join(f"{name} {value:.4g}" for name, value in lines[-1].items()), end=True)
        if run.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{errors.read()[-2000:]}")
    return lines, max(peak)


@contextmanager
def _peak_memory(pid: int) -> Iterator[list[int]]:
    """Memory in bytes of a process and its descendants, what they share counted once; 0 where /proc does not tell."""
    seen, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            seen[0] = max(seen[0], sum(map(usage.memory, usage.family(pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def _say(text: str, end: bool = False) -> None:
    """Progress, on one line where a person looks on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="\n" if end else "", file=sys.stderr, flush=True)
    elif end:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
