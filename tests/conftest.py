"""What many tests need: batches of drawn shapes, and silence from every tool."""

import os
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from adapters.datastore import DataStore
from flows.servers import import_libraries, prefect_api, switch_off_telemetry
from records.registration import Night
from tasks.creation import create
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.overview import Status

switch_off_telemetry()
os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
# Tests run side by side; threads of tiny networks would only wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"

DAY = date(2026, 3, 2)
PARAMS = """
ingest: {test_share: 0.5}
validate: {}
update: {network: {name: mlp}, memory: {size: 200}, budget: {least_steps: 60}}
evaluate: {}
judge: {name: paired_score}
"""
SHAPES, OTHERS = {"bar": 300, "column": 300}, {"cross": 300, "square": 300}


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


@pytest.fixture(scope="session")
def new_workspace():
    """`new_workspace(root)` makes a workspace in which a night over drawn shapes takes seconds."""

    def make(root: Path) -> Workspace:
        workspace = create(root)
        workspace.params.write_text(PARAMS)
        DataStore(root).commit_files([workspace.params], "Small numbers")
        return workspace

    return make


@pytest.fixture(scope="session")
def run_night(prefect):
    """`run_night(workspace, 3, strategy="joint")` is the night of 3 March 2026, with what a request may say."""

    def run(workspace: Workspace, day: int, **request: object) -> Night:
        from flows.night import Request, night

        return night(Request.model_validate(request), str(workspace.root), date(2026, 3, day))

    return run


@dataclass(frozen=True)
class Seen:
    """A night, and how the workspace stood after it."""

    night: Night
    status: "Status"
    run_file: str


@dataclass(frozen=True)
class Week:
    """Some nights of one workspace; nobody alters it."""

    workspace: Workspace
    first: Seen
    second: Seen
    """With a good batch, a bad one, and something that cannot become a batch."""
    harmful: Seen
    """By plain fine-tuning."""
    repaired: Seen
    repeated: Seen
    """After a rollback, with nothing else new."""
    held: Seen
    """After it, a person approved."""
    idle: Seen
    spoilt: Seen
    """With nothing but a bad batch."""


@pytest.fixture(scope="session")
def week(tmp_path_factory, deliver, new_workspace, run_night) -> Week:
    from tasks.overview import approve_run, status_of
    from tasks.stages import registry_of

    workspace = new_workspace(tmp_path_factory.mktemp("week") / "workspace")
    inbox = workspace.inbox

    def night(day: int, **request: object) -> Seen:
        told = run_night(workspace, day, **request)
        return Seen(told, status_of(workspace), workspace.run.read_text())

    def deliver_truncated(name: str, seed: int) -> None:
        for file in sorted(deliver(inbox / name, {"bar": 40}, seed).rglob("*.png"))[::4]:
            file.write_bytes(file.read_bytes()[:60])

    deliver(inbox / "shapes", SHAPES, 0)
    first = night(2)
    deliver(inbox / "others", OTHERS, 1)
    deliver_truncated("scanner", 2)
    (inbox / "empty" / "bar").mkdir(parents=True)
    second = night(3)
    shutil.rmtree(inbox / "empty")
    deliver(inbox / "again", SHAPES, 3)
    harmful = night(4, strategy="finetune")
    repaired = night(5)
    registry_of(workspace).rollback(2)
    repeated = night(6)
    deliver(inbox / "late", OTHERS, 4)
    held = night(7, hold=True)
    approve_run(workspace, held.night.registration.run[:8], "a person", "looked at it", overrule=False)
    idle = night(8)
    deliver_truncated("scanner-again", 5)
    return Week(workspace, first, second, harmful, repaired, repeated, held, idle, night(9))
