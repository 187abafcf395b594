"""The command line as a test uses it: in this process, over a copy of a workspace that was made once."""

import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.datastore import DataStore
from flows.cli.main import main
from tasks.queries.status import status_of
from tasks.workspace.creation import create
from tasks.workspace.workspace import Workspace

OURS = (
    "RETAIN_WORKSPACE",
    "RETAIN_WORKERS",
    "RETAIN_DEBUG",
    "MLFLOW_TRACKING_URI",
    "RETAIN_ARTIFACTS",
    "COLUMNS",
    "FORCE_COLOR",
)


@dataclass(frozen=True)
class Result:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The last line on standard error."""
        return self.err.rstrip("\n").rpartition("\n")[2]


Retain = Callable[..., Result]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Path:
    """A workspace that was asked once, so that MLflow's database is there, too. Its nights wait for no delivery."""
    workspace = create(tmp_path_factory.mktemp("template") / "workspace")
    workspace.params.write_text(workspace.params.read_text().replace("ingest:", "ingest:\n  settle_seconds: 0"))
    DataStore(workspace.root).commit_files([workspace.params], "Wait for no delivery")
    shutil.copy(mlflow_database, workspace.state / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        status_of(workspace)
    return workspace.root


@pytest.fixture
def workspace(template: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(template, tmp_path / "shop", symlinks=True)
    return Workspace(tmp_path / "shop")


@pytest.fixture
def retain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Retain:
    """`retain("status", "-w", folder)`: as typed. There is never a traceback, nor a warning of a library."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)

    def run(*words: object) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        result = Result(code, *capsys.readouterr())
        assert not [noise for noise in ("Traceback", "Warning") if noise in result.out + result.err]
        return result

    return run


@pytest.fixture
def nobody() -> str:
    """An address on loopback that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def everything_below() -> Callable[[Path], dict[str, bytes | None]]:
    """Every file and folder below a folder, but for what belongs to this machine alone."""

    def look(folder: Path) -> dict[str, bytes | None]:
        found = {path.relative_to(folder): path for path in folder.rglob("*")}
        return {
            str(name): path.read_bytes() if path.is_file() else None
            for name, path in found.items()
            if name.parts[0] not in (".retain", ".git") and name.parts[:2] != (".dvc", "tmp")
        }

    return look
