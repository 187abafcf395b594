"""`make bench`: every case in a process of its own, one JSON line a seed, and the page docs/benchmarks.md from them.

Cases run on one thread each, as many at a time as there are cores, and their CPU time is measured. What is compared
in time, retain's loop and a bare one, runs in turn in one process.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks import machine, page
from benchmarks.cases import AvalancheCase, Case, avalanche_cases, cases
from benchmarks.streams import Stream, fashion_classes

C = TypeVar("C", Case, AvalancheCase)
ROOT = Path(__file__).parent.parent
HERE = Path(__file__).parent
ONE_THREAD = {**os.environ, "RETAIN_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main() -> None:
    """Run what is asked for and write the results."""
    args = _arguments()
    seeds = list(range(1 if args.quick else args.seeds))
    chosen = [case for case in _matching(cases(), args.only) if case.quick or not args.quick]
    peers = _matching(avalanche_cases(), args.only) if args.avalanche and not args.quick else []
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lines: list[page.Line] = [machine.line()]
    with ThreadPoolExecutor(os.cpu_count() or 1) as dataset, tempfile.TemporaryDirectory() as place:
        waiting = [dataset.submit(_play, case, seeds) for case in chosen]
        waiting += [dataset.submit(_play_avalanche, case, seeds, args.avalanche, Path(place)) for case in peers]
        for number, done in enumerate(as_completed(waiting), start=1):
            case = done.result()[0]["case"]
            print(f"{number}/{len(waiting)} {case['group']}: {case['name']}", file=sys.stderr, flush=True)
        lines += [line for done in waiting for line in done.result()]
        if re.match(args.only, "costs"):
            lines += _lines([sys.executable, "-m", "benchmarks.costs", place])
    if args.append and args.out.exists():
        lines = page.replaced(page.read(args.out), lines)
    args.out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    if args.quick:
        print(page.page(lines))
    else:
        page.write(lines)
        print(f"Wrote {args.out} and docs/benchmarks.md.", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed of the cases that matter most; prints the page")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of every case (default 3)")
    parser.add_argument("--only", default="", help="cases whose group and name begin so, as a regular expression")
    parser.add_argument("--append", action="store_true", help="keep what the results file has of other cases")
    parser.add_argument("--avalanche", type=Path, help="python of an environment with Avalanche; left out without it")
    parser.add_argument("--out", type=Path, default=HERE / "results.jsonl", help="where the JSON lines go")
    return parser.parse_args()


def _matching(known: list[C], only: str) -> list[C]:
    return [case for case in known if re.match(only, f"{case.group} {case.name}")]


def _play(case: Case, seeds: list[int]) -> list[page.Line]:
    return _lines([sys.executable, "-m", "benchmarks.case", case.model_dump_json(), json.dumps(seeds)])


def _play_avalanche(case: AvalancheCase, seeds: list[int], python: Path, place: Path) -> list[page.Line]:
    data = place / f"{case.group}-{case.strategy}.npz"
    _save(fashion_classes(0), data)
    command = [
        str(python), str(HERE / "avalanche" / "run.py"), "--data", str(data), "--stream", "fashion-classes",
        "--strategy", case.strategy, "--memory", str(case.memory), "--rate", str(case.rate),
        "--seeds", ",".join(map(str, seeds)),
    ]  # fmt: skip
    return [{**line, "case": case.model_dump(), "forgetting": line["forgetting_from_best"]} for line in _lines(command)]


def _lines(command: list[str]) -> list[page.Line]:
    done = subprocess.run(command, cwd=ROOT, env=ONE_THREAD, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _save(stream: Stream, path: Path) -> None:
    parts: dict[str, Any] = {}
    for name, held_out in (("train", False), ("test", True)):
        chosen = [night.test == held_out for night in stream.nights]
        nights = list(zip(stream.nights, chosen, strict=True))
        parts[f"{name}_x"] = np.concatenate([night.images[rows] for night, rows in nights])
        parts[f"{name}_y"] = np.concatenate([night.targets[rows] for night, rows in nights])
        parts[f"{name}_night"] = np.concatenate([np.full(rows.sum(), n) for n, (_, rows) in enumerate(nights)])
    np.savez(path, **parts)


if __name__ == "__main__":
    main()
