"""A Prefect server for as long as it is needed: the one at PREFECT_API_URL, or one of the workspace's own.

Prefect can also run without a server, but then it loses the last records of a run when the process ends.
"""

import importlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from records.errors import Unavailable

log = logging.getLogger("retain")

SILENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
}
"""No tool reports to anybody. Set for this process and every one that it starts."""
STARTUP_SECONDS = 180
LOOPBACK = "127.0.0.1"


def switch_off_telemetry() -> None:
    """Set `SILENT` for this process, where the person has not decided otherwise."""
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)


def free_port() -> int:
    """A port on loopback that nobody listens to."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class Server:
    """A process that serves on loopback; stopped by its id."""

    def __init__(self, name: str, command: list[str], health: str, log: Path, env: Mapping[str, str]) -> None:
        self.name, self.health, self.log = name, health, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **env},
                start_new_session=True,
            )  # fmt: skip

    def wait(self, stop: threading.Event | None = None) -> None:
        """Return when it answers or `stop` is set. Raises `Unavailable` if it ends or is silent for three minutes."""
        deadline = time.monotonic() + STARTUP_SECONDS
        while not (stop and stop.is_set()) and not answers(self.health):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Unavailable(f"{self.name} did not start; {self.log} says why.")
            time.sleep(0.2)

    def stop(self) -> None:
        """End it; kill it if it has not ended after ten seconds."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def answers(address: str, seconds: float = 2) -> bool:
    """True if something answers `address` with success."""
    try:
        with urllib.request.urlopen(address, timeout=seconds) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def prefect_server(home: Path, port: int) -> Server:
    """A Prefect server that keeps its database below `home`; not waited for."""
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)]
    env = {**SILENT, "PREFECT_HOME": str(home), "PREFECT_SERVER_LOGGING_LEVEL": "WARNING"}
    return Server("The Prefect server", command, f"http://{LOOPBACK}:{port}/api/health", home / "server.log", env)


def mlflow_server(state: Path, address: str, artifacts: Path, port: int) -> Server:
    """An MLflow server over the workspace's own database; not waited for."""
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1",
        "--backend-store-uri", address, "--artifacts-destination", str(artifacts),
    ]  # fmt: skip
    return Server("The MLflow server", command, f"http://{LOOPBACK}:{port}/health", state / "mlflow-server.log", SILENT)


def import_libraries() -> None:
    """Import what a night will need. Together they take some twenty seconds."""
    for name in ("flows.night", "torch._dynamo", "mlflow.pyfunc", "great_expectations"):
        log.info("importing %s", name.split(".")[0])
        importlib.import_module(name)


@contextmanager
def prefect_api(home: Path, meanwhile: Callable[[], None] = lambda: None) -> Iterator[str]:
    """The address of a Prefect API, also set as PREFECT_API_URL; a server of our own is stopped at the end.

    `meanwhile` is called while a server starts, which takes longer than importing every library. Must be entered
    before Prefect is imported: Prefect reads its settings once. Raises `Unavailable` if
    PREFECT_API_URL is set and nobody answers there.
    """
    given = os.environ.get("PREFECT_API_URL")
    os.environ["PREFECT_HOME"] = os.environ.get("PREFECT_HOME", str(home))
    if given:
        if not answers(f"{given.rstrip('/')}/health", seconds=10):
            raise Unavailable(
                f"No Prefect server answers at {given} (PREFECT_API_URL). Start it, or unset the variable."
            )
        yield given
        return
    port = free_port()
    server = prefect_server(home, port)
    os.environ["PREFECT_API_URL"] = f"http://{LOOPBACK}:{port}/api"
    try:
        meanwhile()
        server.wait()
        yield os.environ["PREFECT_API_URL"]
    finally:
        del os.environ["PREFECT_API_URL"]
        server.stop()
