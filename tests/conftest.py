"""What many tests need: batches of drawn shapes, and silence from every tool."""

import io
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from filelock import FileLock
from hypothesis import settings
from PIL import Image

from adapters.datastore import DVC, DataStore
from adapters.registry import Registry
from flows.servers.processes import import_libraries, prefect_api, switch_off_telemetry
from records.batch import Batch
from records.registration import Night
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams
from tasks.workspace.creation import create
from tasks.workspace.workspace import Workspace
from tests.ready_dvc import ReadyDVC

switch_off_telemetry()
os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
# Tests run side by side; threads of tiny networks would only wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
# The same examples in every run: what fails once fails again, and a slow machine is no failure.
settings.register_profile("same every time", derandomize=True, deadline=None, database=None)
settings.load_profile("same every time")

DAY = date(2026, 3, 2)
PARAMS = """
ingest: {test_share: 0.5, settle_seconds: 0, min_test_images: 0}
validate: {}
update: {network: {name: mlp}, memory: {size: 200}, budget: {min_steps: 60}}
evaluate: {}
judge: {name: paired_score}
"""


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


STARTING = {"prefect", "shell", "new_workspace"}
"""Fixtures that start servers or programs, or make a workspace with them."""
LONGEST = 8.0
"""Seconds of a processor that a test of `--fast` may take, on a slow machine too."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only tests of which none starts a program or takes long")
    parser.addoption("--fresh-dvc", action="store_true", help="start DVC anew for each command, as retain does")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    """Files whose tests run nights begin first: they take longest, and the last one would leave a core with nothing."""
    long = {item.path for item in items if "prefect" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in long)
    if config.getoption("--fast"):
        left = [item for item in items if not _is_fast(item)]
        items[:] = [item for item in items if _is_fast(item)]
        config.hook.pytest_deselected(items=left)


def _is_fast(item: pytest.Function) -> bool:
    """Told by what a test says of itself: its markers, its fixtures, and whether its file can start programs."""
    marked = any(item.get_closest_marker(name) for name in ("slow", "servers", "programs", "expectations", "unhurried"))
    starts = STARTING & set(getattr(item, "fixturenames", ()))
    programs = any(value is subprocess for value in vars(item.module).values())
    return not (marked or starts or programs)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """What `_is_fast` cannot see ends the test: so `make test-fast` stays what it is called, whoever adds to it."""
    if not item.config.getoption("--fast"):
        return (yield)
    started.clear()
    before = time.process_time()
    result = yield
    spent = time.process_time() - before
    assert not started, f"{started[0]} was started: a test of `make test-fast` starts no program; mark it `programs`"
    assert spent < LONGEST, f"took {spent:.1f} s of a processor: mark it `unhurried`, or let it do less"
    return result


started: list[object] = []
"""Programs that were started while a test was running."""


def _listen(event: str, details: tuple) -> None:
    # Libraries ask `uname` and the like; what costs time is another Python, as retain and each of its tools is.
    if event == "subprocess.Popen" and Path(os.fsdecode(details[0])).name.startswith(("python", "retain", "dvc")):
        started.append(details[0])


sys.addaudithook(_listen)


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory):
    """Where temporary folders are made. What a killed process leaves there goes when pytest forgets this run."""
    place = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(place))
        patch.setattr(tempfile, "tempdir", str(place))
        yield place


@pytest.fixture(scope="session")
def until():
    """`until(30, condition)` gives the first true thing that `condition` gives; asked often, but not for ever."""

    def wait(seconds: float, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {seconds} seconds"
            time.sleep(0.1)
        return found

    return wait


@pytest.fixture(scope="session", autouse=True)
def dvc(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """`dvc()` is the command that tests start in place of `dvc`, see `ready_dvc`; retain's own calls start it, too."""
    ready: list[ReadyDVC] = []

    def command() -> tuple[str, ...]:
        if request.config.getoption("--fresh-dvc") or sys.platform != "linux":
            return DVC
        if not ready:
            ready.append(ReadyDVC(tmp_path_factory.mktemp("dvc")))
        return ready[0].command

    call = DataStore._call

    def call_ready(store: DataStore, *words: str) -> subprocess.CompletedProcess[str]:
        return call(store, *(*command(), *words[len(DVC) :]) if words[: len(DVC)] == DVC else words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataStore, "_call", call_ready)
        yield command
    for process in ready:
        process.stop()


@pytest.fixture(scope="session")
def shell(dvc):
    """`shell(folder, "dvc", "status")` gives what a command says that must succeed."""
    # As in a shell in which the environment is active: the stages of dvc.yaml call `python`.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))

    def run(folder: Path, *command: str) -> str:
        if command[0] == "dvc":
            command = (*dvc(), *command[1:])
        env = {**os.environ, "PATH": path}
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of this run of pytest, for what is made once. Who makes something locks it."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def mlflow_database(shared: Path) -> Path:
    """An empty MLflow database, to be copied: its fifty migrations take seconds."""
    path = shared / "mlflow-template.db"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            Registry(f"sqlite:///{path}", None, "none").champion()
    return path


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory, shared: Path):
    """The address of one Prefect server for all tests that run flows; to start one costs many seconds, and a third of
    that with a database that another one has made.
    """
    place, template = Workspace(tmp_path_factory.mktemp("prefect")), shared / "prefect-template.db"
    database = place.prefect_home / "prefect.db"
    with ExitStack() as server:

        def start() -> str:
            return server.enter_context(prefect_api(place, import_libraries))

        with FileLock(f"{template}.lock"):
            if first := not template.exists():
                api = start()
                with closing(sqlite3.connect(database)) as made, closing(sqlite3.connect(template)) as copy:
                    made.backup(copy)
            else:
                database.parent.mkdir(parents=True)
                shutil.copy(template, database)
        yield api if first else start()


@pytest.fixture(autouse=True)
def only_who_asks_is_told_of_that_server(request, monkeypatch):
    """Its address stands in the environment from then on; a test that does not ask for it finds its own server."""
    if "prefect" not in request.fixturenames:
        for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_HOME"):
            monkeypatch.delenv(name, raising=False)


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
def new_workspace(mlflow_database: Path):
    """`new_workspace(root)` makes a workspace in which a night over drawn shapes takes seconds."""

    def make(root: Path) -> Workspace:
        workspace = create(root)
        shutil.copy(mlflow_database, workspace.state / "mlflow.db")
        workspace.params.write_text(PARAMS)
        DataStore(root).commit_files([workspace.params], "Small numbers")
        return workspace

    return make


@pytest.fixture
def end_when_waited_for():
    """`end_when_waited_for(end)` calls `end` as soon as somebody says that he waits; gives what was said."""
    log, messages, handlers = logging.getLogger("retain"), [], []
    log.setLevel(logging.INFO)

    def listen(end: Callable[[], Any]) -> list[str]:
        class Ear(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if record.getMessage().startswith("waiting for "):
                    messages.append(record.getMessage())
                    end()

        handlers.append(Ear())
        log.addHandler(handlers[-1])
        return messages

    yield listen
    for handler in handlers:
        log.removeHandler(handler)


@pytest.fixture(scope="session")
def run_night(prefect):
    """`run_night(workspace, 3, strategy="joint")` is the night of 3 March 2026, with what a request may say."""

    def run(workspace: Workspace, day: int, **request: object) -> Night:
        from flows.night import Request, night

        return night(Request.model_validate(request), str(workspace.root), date(2026, 3, day))

    return run


@dataclass(frozen=True)
class Ingested:
    """A delivery that was ingested."""

    batch: Batch
    known: bool
    rows: list[dict]

    def select(self, *columns: str) -> list[tuple]:
        """Some columns, row by row."""
        return [tuple(row[name] for name in columns) for row in self.rows]


@pytest.fixture
def taken(tmp_path):
    """`taken(source)` ingests into a workspace of its own."""

    def take(source: Path, workers: int = 1, where: str = "workspace", **params: object) -> Ingested:
        home = tmp_path / where
        arrival = ingest(home / "batches", home / "staging", source, date(2026, 3, 2), IngestParams(**params), workers)
        shards = [home / "batches" / arrival.batch.id / shard.name for shard in arrival.batch.shards]
        rows = pa.concat_tables([parquet.read_table(shard) for shard in shards]).to_pylist()
        return Ingested(arrival.batch, arrival.known, rows)

    take.batches = tmp_path / "workspace" / "batches"
    return take


@pytest.fixture(scope="session")
def picture():
    """`picture(1, 2)` is a PNG file of one row of grey levels."""

    def write(*levels: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(np.array([levels], dtype=np.uint8)).save(file, "PNG")
        return file.getvalue()

    return write
