"""`make bench-segmentation`: what strategies keep of nights of images with masks, each labelled for its own classes.

The nights are those of `retain demo --stream digits-on-canvas`, learned, evaluated and judged by the demo's params.yaml
with what a case changes. After each night the version answers canvases that are held out, show digits that no night
shows, and are labelled for all ten classes. A line a case and seed goes to benchmarks/segmentation.jsonl, and from
there into docs/benchmarks.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine, page
from benchmarks.mask_archive import MaskArchive
from dataset.streams.canvases import Canvases
from dataset.streams.digits_on_canvas import NIGHTS, held_out_canvases
from models.bundle import ModelBundle
from models.learner import Learner
from models.problems.base import Problem
from models.problems.segmentation import OF_EACH
from models.statistics import Floats
from records.batch import BACKGROUND, IGNORED
from records.experience import Experience
from tasks.evaluate.evaluate import evaluate
from tasks.judge import judge, read_pairs
from tasks.params.params import Params, read_params
from tasks.update.update import update

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "segmentation.jsonl"
TEMPLATE = ROOT / "tasks" / "workspace" / "template" / "params-digits-on-canvas.yaml"
CASES: dict[str, dict[str, object]] = {
    "fine-tuning": {"update.strategy.name": "finetune"},
    "replay, background taken at its word": {"update.strategy.name": "replay", "update.problem.pseudo_labels": None},
    "replay": {"update.strategy.name": "replay"},
    "replay and distillation (default)": {},
    "full retrain": {"update.strategy.name": "joint"},
}
"""What each changes in params.yaml, by dotted name."""
ONE_THREAD = {**os.environ, "RETAIN_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
NEWEST = 2
"""Classes of the last night."""


def main() -> None:
    """Run every case with every seed, as many at a time as there are cores, and write the results."""
    args = _arguments()
    if args.case:
        print(json.dumps(run(args.case, args.seed)), flush=True)
        return
    wanted = [(case, seed) for case in CASES if args.only in case for seed in range(args.seeds)]
    lines: list[page.Line] = [machine.line()]
    print(page.SEGMENTATION_HEAD, flush=True)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for line in pool.map(lambda one: _in_process(*one), wanted):
            lines.append(line)
            print(
                f"{line['case']}, seed {line['seed']}: {line['miou']:.3f} {line['verdict']}",
                file=sys.stderr,
                flush=True,
            )
    for row in page.segmentation_rows(lines):
        print(row)
    args.out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    if args.out == RESULTS:
        page.write()
        print(f"Wrote {args.out} and docs/benchmarks.md.", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segmentation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of every case (default 3)")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the JSON lines go")
    parser.add_argument("--case", choices=tuple(CASES), help="run this one alone, here, and print its line")
    parser.add_argument("--seed", type=int, default=0, help="seed of that one")
    return parser.parse_args()


def _in_process(case: str, seed: int) -> page.Line:
    command = [sys.executable, "-m", "benchmarks.segmentation", "--case", case, "--seed", str(seed)]
    done = subprocess.run(command, cwd=ROOT, env=ONE_THREAD, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    line: page.Line = json.loads(done.stdout.splitlines()[-1])
    return line


def run(case: str, seed: int) -> page.Line:
    """Learn the nights one after the other, whatever the verdicts, and measure each version."""
    params = read_params(TEMPLATE, {**CASES[case], "update.seed": seed})
    archive = MaskArchive(NIGHTS, params.ingest.test_share)
    held_out = held_out_canvases()
    nights: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        parent = None
        for number, experience in enumerate(archive.experiences()):
            out = Path(folder) / f"v{number + 1}"
            nights.append(_night(archive, number, experience, params, parent, out))
            learner = ModelBundle.read(out / "snapshot").learner
            nights[-1]["held_out"] = ious(learner, held_out, params.update.problem)
            parent = out
    last = nights[-1]["held_out"]
    new = set(learner.classes[-NEWEST:])
    return {
        "system": "segmentation",
        "case": case,
        "seed": seed,
        "changed": CASES[case],
        "miou": float(np.mean(list(last.values()))),
        "old": float(np.mean([iou for name, iou in last.items() if name not in new | {BACKGROUND}])),
        "new": float(np.mean([iou for name, iou in last.items() if name in new])),
        "iou": last,
        "after": [float(np.mean(list(night["held_out"].values()))) for night in nights],
        **{name: [night[name] for night in nights] for name in ("verdict", "cpu_seconds", "experiences")},
    }


def _night(
    archive: MaskArchive, number: int, experience: Experience, params: Params, parent: Path | None, out: Path
) -> dict[str, Any]:
    started = time.process_time()
    snapshot = parent / "snapshot" if parent else None
    update(snapshot, number, [experience], archive, params.update, f"night {number}", out / "snapshot")
    seconds = time.process_time() - started
    problem = params.update.problem
    matrix = evaluate(out / "snapshot", parent, archive, problem, params.evaluate, out / "evaluation")
    earlier = parent / "evaluation" if parent else None
    verdict = judge(read_pairs(out / "evaluation", earlier, problem), params.judge, problem=problem)
    return {
        "verdict": verdict.decision,
        "cpu_seconds": round(seconds, 1),
        "experiences": [score.overall for score in matrix.candidate.scores.values()],
    }


def ious(learner: Learner, canvases: Canvases, problem: Problem) -> dict[str, float]:
    """IoU of the background and of each class that the learner knows; pixels of digits that it does not know are left
    out."""
    value = np.full(11, IGNORED, np.uint8)
    value[0] = learner.classes.index(BACKGROUND)
    for digit in range(10):
        if str(digit) in learner.classes:
            value[1 + digit] = learner.classes.index(str(digit))
    targets = torch.from_numpy(value[canvases.digits])
    outputs = learner.outputs(torch.from_numpy(canvases.pixels[:, None]))
    tally = problem.outcomes(outputs, targets, len(learner.classes)).tally
    assert tally is not None
    return dict(zip(learner.classes, _iou(tally.sum(axis=0)), strict=True))


def _iou(sums: Floats) -> list[float]:
    intersection, union, _ = sums.reshape(-1, OF_EACH).T
    return [round(float(iou), 5) for iou in intersection / np.maximum(union, 1)]


if __name__ == "__main__":
    main()
