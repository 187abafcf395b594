"""`python -m benchmarks.kills`: nights that are killed at random points, and whether anything of that is left.

Two workspaces are one at the beginning. In one, nights of the command line are killed, with their whole process group
and nothing asked, a random while after a random line that they said; then its last night is left alone. The other one
is never disturbed. In the end both have the same versions with the same weights, and nothing in the first claims to be
at work: no night or step of Prefect, no slot, no run of MLflow, no process.
"""

import argparse
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from adapters.datastore import DataStore
from flows.servers.guard import PATIENCE
from records.snapshot import Snapshot
from tasks.workspace.creation import create
from tasks.workspace.versions import registry_of, version_folder
from tasks.workspace.workspace import Workspace

SEED = 7
KILLS = 15
RETAIN = (sys.executable, "-m", "flows.cli.main")
SIDE, EACH = 12, 300
LINES, LONGEST = 9, 8.0
"""So many lines a night says, and so many seconds are at most between one of them and a kill."""
PARAMS = """
ingest: {test_share: 0.5, settle_seconds: 0, min_test_images: 0}
validate: {}
update: {network: {name: mlp}, memory: {size: 200}, budget: {min_steps: 60}}
evaluate: {}
judge: {name: paired_score}
"""
DELIVERIES = (("rows", "columns"), ("corners", "middles"))
"""Classes of what arrives, in turn: the next one comes when a night ended before it was to be killed."""


@dataclass
class Played:
    """What was done, and what was found in the end."""

    points: list[str] = field(default_factory=list)
    """Where each night was killed: the last that it had said."""
    complaints: list[str] = field(default_factory=list)
    """What an undisturbed workspace does not have."""
    versions: dict[int, str] = field(default_factory=dict)
    """SHA-256 of each version's weights."""


def play(folder: Path, kills: int, seed: int = SEED, report: Callable[[str], None] = lambda _: None) -> Played:
    """Kill that many nights in `folder`, then let one complete, and compare with a workspace that nobody disturbed."""
    rng, played = np.random.default_rng(seed), Played()
    ours, twin = _twins(folder)
    came = 0
    _deliver(ours.inbox, came)
    while len(played.points) < kills:
        line = _killed(ours, came, int(rng.integers(1, LINES)), float(rng.uniform(0, LONGEST)))
        if line is not None:
            played.points.append(line)
            report(f"{len(played.points)} of {kills}: killed after {line}")
        else:
            came += 1
            _deliver(ours.inbox, came)
            report("a night that ended before it was to be killed")
    _undisturbed(ours, came)
    for number in range(came + 1):
        _deliver(twin.inbox, number)
        _undisturbed(twin, number)
    played.versions = weights(ours)
    played.complaints = [*leftovers(ours), *differences(played.versions, weights(twin))]
    return played


def leftovers(place: Workspace) -> list[str]:
    """Everything that claims to be at work in a workspace where nothing is."""
    return [f"{name}: {state}" for name, state in [*claims(place), *_unfinished(place)]] + [
        f"file of a night: {path.name}" for path in place.nights.iterdir()
    ]


def claims(place: Workspace) -> list[tuple[str, str]]:
    """Nights and steps that claim to be at work, and slots that are taken, in Prefect's own database."""
    busy = "state_type IN ('PENDING', 'RUNNING', 'CANCELLING')"
    return [
        *rows(place, f"SELECT name, state_name FROM flow_run WHERE {busy}"),
        *rows(place, f"SELECT name, state_name FROM task_run WHERE {busy}"),
        *rows(place, "SELECT name, active_slots FROM concurrency_limit_v2 WHERE active_slots > 0"),
    ]


def rows(place: Workspace, statement: str) -> list[tuple[str, str]]:
    """What Prefect's own database says, pairs of words; its server may be gone."""
    with closing(sqlite3.connect(f"file:{place.prefect_home / 'prefect.db'}?mode=ro", uri=True, timeout=30)) as base:
        return [(str(first), str(second)) for first, second in base.execute(statement).fetchall()]


def weights(place: Workspace) -> dict[int, str]:
    """SHA-256 of the weights of each version."""
    digests = {}
    for facts in registry_of(place).versions():
        folder = version_folder(place, facts.number)
        assert folder is not None
        digests[facts.number] = Snapshot.read(folder / "snapshot" / "snapshot.json").files["weights.safetensors"]
    return digests


def differences(found: dict[int, str], expected: dict[int, str]) -> list[str]:
    """Versions that are not as in the workspace that nobody disturbed."""
    return [
        f"v{number}: {found.get(number, 'missing')} instead of {expected.get(number, 'none')}"
        for number in sorted(found.keys() | expected.keys())
        if found.get(number) != expected.get(number)
    ]


def _unfinished(place: Workspace) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(place.state / "mlflow.db", timeout=30)) as base:
        return base.execute(
            "SELECT run_uuid, status FROM runs WHERE status != 'FINISHED' AND lifecycle_stage = 'active'"
        ).fetchall()


def _twins(folder: Path) -> tuple[Workspace, Workspace]:
    ours = create(folder / "killed")
    ours.params.write_text(PARAMS)
    DataStore(ours.root).commit_files([ours.params], "Small numbers")
    shutil.copytree(ours.root, folder / "undisturbed", symlinks=True)
    return ours, Workspace(folder / "undisturbed")


def _deliver(inbox: Path, number: int) -> None:
    for kind in DELIVERIES[number % len(DELIVERIES)]:
        folder = inbox / f"delivery-{number}" / kind
        folder.mkdir(parents=True)
        draw = np.random.default_rng([number, *kind.encode()])
        for count in range(EACH):
            Image.fromarray(_drawn(kind, draw)).save(folder / f"{count:04d}.png")


def _drawn(kind: str, draw: np.random.Generator) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    pixels = draw.integers(0, 60, (SIDE, SIDE), dtype=np.uint8)
    at = int(draw.integers(1, SIDE // 2 - 1))
    match kind:
        case "rows":
            pixels[at : at + 2, :] += 180
        case "columns":
            pixels[:, at : at + 2] += 180
        case "corners":
            pixels[at : at + 3, at : at + 3] += 180
            pixels[-at - 3 : -at, -at - 3 : -at] += 180
        case _:
            pixels[3:9, at : at + 5] += 180
    return pixels


def _command(place: Workspace, number: int) -> list[str]:
    return [*RETAIN, "night", "--arrived", f"2026-03-{2 + number:02d}", "-w", str(place.root)]


def _undisturbed(place: Workspace, number: int) -> None:
    done = subprocess.run(_command(place, number), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"A night that nobody disturbed ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _killed(place: Workspace, number: int, line: int, seconds: float) -> str | None:
    """Kill a night `seconds` after it said its `line`th line; gives what it had said last, None if it ended before."""
    with _night(place, number) as night:
        lines = []
        assert night.stdout is not None
        for heard in night.stdout:
            lines.append(heard.strip())
            if len(lines) == line:
                break
        # It goes on to speak while we wait.
        reader = threading.Thread(target=lambda: lines.extend(map(str.strip, night.stdout or ())), daemon=True)
        reader.start()
        until = time.monotonic() + seconds
        while night.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        family = psutil.Process(night.pid).children(recursive=True) if night.poll() is None else []
        with suppress(ProcessLookupError):  # It may have ended by itself this moment.
            os.killpg(night.pid, signal.SIGKILL)
        code = night.wait()
        reader.join()
    if code == 0:
        return None
    if code != -signal.SIGKILL:
        raise RuntimeError(f"The night ended with {code} before it was killed: {lines}")
    _, left = psutil.wait_procs(family, timeout=2 * PATIENCE)
    if left:
        raise RuntimeError(f"The night was killed after {lines[-1]!r}, and this outlived it: {left}")
    return f"{lines[-1] if lines else 'nothing'} + {seconds:.1f} s"


@contextmanager
def _night(place: Workspace, number: int) -> Iterator["subprocess.Popen[str]"]:
    night = subprocess.Popen(
        _command(place, number), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield night
    finally:
        night.kill()
        night.wait()
        assert night.stdout is not None
        night.stdout.close()


def main() -> None:
    """Play and print; exit code 1 if anything was left."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help=f"nights to kill (default {KILLS})")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", SEED)), help="of the points (SEED)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        played = play(Path(folder), args.kills, args.seed, lambda word: print(word, file=sys.stderr, flush=True))
    print(f"{len(played.points)} nights killed (seed {args.seed}), after they had said:")
    print("\n".join(f"  {point}" for point in played.points))
    print(f"Versions: {', '.join(f'v{number} {digest[:12]}' for number, digest in played.versions.items())}")
    print("\n".join(played.complaints) or "Nothing is left of the kills, and each version is as if they never were.")
    sys.exit(bool(played.complaints))


if __name__ == "__main__":
    main()
