"""A Prefect server for as long as it is needed: the one at PREFECT_API_URL, or one of the workspace's own.

Prefect can also run without a server, but then it loses the last records of a run when the process ends.
"""

import contextlib
import http.client
import importlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from adapters import tracking
from flows.servers import aftermath, guard
from flows.servers.access import login, serving, token_of
from flows.servers.door import LOOPBACK, TOKEN
from flows.servers.guard import PATIENCE
from records.addresses import shown
from records.errors import Unavailable
from tasks.workspace.workspace import Workspace

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
STEADY = {
    "PREFECT_CLIENT_MAX_RETRIES": "6",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}
"""A night that talks to Prefect asks again for two minutes, and says twice a minute that it lives."""
REMEMBERED_DAYS = 365
"""For so long Prefect keeps a night after its end, and for a week its events. What it judged is in MLflow for ever."""
STARTUP_SECONDS = 180
DOOR = (sys.executable, "-P", "-m", "flows.servers.door")
GUARD = Path(guard.__file__)


def switch_off_telemetry() -> None:
    """Set `SILENT` for this process, where the person has not decided otherwise."""
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)


def listen(port: int = 0) -> socket.socket:
    """A socket that listens at `port` of loopback, 0 for any free one. Raises `OSError` if the port is taken.

    Servers are given the socket, not the number: between looking for a free port and taking it, somebody else could
    take it, and would be told our token.
    """
    return socket.create_server((LOOPBACK, port), backlog=2048)


def port_of(listener: socket.socket) -> int:
    """Where `listener` listens."""
    return int(listener.getsockname()[1])


class Server:
    """A process that serves on loopback, with all that it starts; it ends when it is stopped or this process ends.

    A `listener` becomes its own; `command` names it by its number, and nobody answers there when the process has ended.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        health: str,
        log: Path,
        env: Mapping[str, str],
        listener: socket.socket | None = None,
    ) -> None:
        self.name, self.health, self.log = name, health, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output, listener or contextlib.nullcontext():
            self.process = subprocess.Popen(
                # A session of its own: Ctrl-C is for us, and we stop it.
                [sys.executable, "-P", str(GUARD), *command], stdin=subprocess.PIPE, stdout=output, stderr=output,
                env={**os.environ, **env}, start_new_session=True, pass_fds=[listener.fileno()] if listener else [],
            )  # fmt: skip

    def wait(self, stop: threading.Event | None = None) -> None:
        """Return when it answers or `stop` is set. Raises `Unavailable` if it ends or is silent for three minutes."""
        deadline = time.monotonic() + STARTUP_SECONDS
        while not (stop and stop.is_set()) and not answers(self.health):
            self.check()
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.name} did not answer within {STARTUP_SECONDS} seconds; {self.log} says why.")
            time.sleep(0.2)

    def check(self) -> None:
        """Raises `Unavailable` if it ended."""
        if self.process.poll() is not None:
            raise Unavailable(f"{self.name} ended; {self.log} says why.")

    def stop(self) -> None:
        """End it, and kill what it started and left behind."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=PATIENCE + 5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def answers(address: str, seconds: float = 2) -> bool:
    """True if something answers `address` with success."""
    try:
        with urllib.request.urlopen(address, timeout=seconds) as reply:
            return bool(reply.status == 200)
    except (OSError, ValueError, http.client.HTTPException):  # Silence, no address, or no web server.
        return False


def prefect_server(home: Path, listener: socket.socket, token: str) -> Server:
    """A Prefect server that keeps its database below `home`; not waited for."""
    address = f"http://{LOOPBACK}:{port_of(listener)}"
    env = {
        **SILENT,
        # Its pages ask the API that PREFECT_API_URL names, which may be another one in here.
        **prefect_client(f"{address}/api", token),
        "PREFECT_SERVER_API_AUTH_STRING": login(token),
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": address,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # Else who holds which slot is forgotten when the server ends, and the slots stay taken.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(REMEMBERED_DAYS * 24 * 3600),
        TOKEN: token,
    }
    command = [*DOOR, "prefect", str(listener.fileno())]
    return Server("The Prefect server", command, f"{address}/api/health", home / "server.log", env, listener)


def prefect_client(api: str, token: str) -> dict[str, str]:
    """Settings with which Prefect's clients are let in."""
    return {"PREFECT_API_URL": api, "PREFECT_API_AUTH_STRING": login(token)}


def mlflow_server(state: Path, address: str, artifacts: str, listener: socket.socket, token: str) -> Server:
    """An MLflow server over the workspace's own database; not waited for."""
    env = {
        **SILENT,
        # Seven processes of 250 MB for jobs that nothing here submits.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        tracking.ADDRESS: address,
        tracking.ARTIFACTS: artifacts,
        TOKEN: token,
    }
    health = f"http://{LOOPBACK}:{port_of(listener)}/health"
    command = [*DOOR, "mlflow", str(listener.fileno())]
    return Server("The MLflow server", command, health, state / "mlflow-server.log", env, listener)


def import_libraries(place: Workspace | None = None) -> None:
    """Import what a night will need; together they take some twenty seconds. With a workspace that a night will find
    nothing to learn in, what only learning needs is left out.
    """
    _import("flows.night")
    from tasks.queries.status import may_learn

    if place is None or may_learn(place):
        _import("torch._dynamo", "mlflow.pyfunc", "great_expectations")


def _import(*names: str) -> None:
    for name in names:
        log.info("importing %s", name.split(".")[0], extra={"fleeting": True})
        importlib.import_module(name)


@contextmanager
def prefect_api(place: Workspace, meanwhile: Callable[[], None] = lambda: None) -> Iterator[str]:
    """The address of a Prefect API that flows in here talk to: the one that is given, that of a running `retain ui`,
    or that of a server of our own, which is stopped at the end.

    `meanwhile` is called while a server starts, which takes longer than importing every library. Raises `Unavailable`
    if an address is given (PREFECT_API_URL, workspace.json) and nobody answers there, or if our own server does not
    start.
    """
    given = place.prefect_address
    if given:
        if not answers(f"{given.rstrip('/')}/health", seconds=10):
            raise Unavailable(f"No Prefect server answers at {shown(given)} {_remedy(given)}")
        with _settings(PREFECT_API_URL=given):
            yield given
        return
    home = str(place.prefect_home)
    if running := serving(place):
        with _settings(PREFECT_HOME=home, **prefect_client(running.prefect, running.token)):
            meanwhile()
            yield running.prefect
            _send_logs()
        return
    token, listener, began = token_of(place), listen(), datetime.now(UTC)
    api = f"http://{LOOPBACK}:{port_of(listener)}/api"
    log.info("starting Prefect")
    server = prefect_server(place.prefect_home, listener, token)
    try:
        with _settings(PREFECT_HOME=home, **prefect_client(api, token)):
            meanwhile()
            server.wait()
            aftermath.tend(place, began)
            yield api
            _send_logs()
    finally:
        server.stop()


def _remedy(address: str) -> str:
    if os.environ.get("PREFECT_API_URL") == address:
        return "(PREFECT_API_URL). Start it, or unset the variable."
    return "(workspace.json). Start it, or correct the address; it ends with /api."


def _send_logs() -> None:
    # Prefect sends them now and then; what is left when the process ends would look for a server that has stopped.
    if "prefect.logging.handlers" in sys.modules:
        sys.modules["prefect.logging.handlers"].APILogHandler().flush()


@contextmanager
def _settings(**values: str) -> Iterator[None]:
    """Settings for Prefect: in the environment, for processes that we start, and in here if it was imported before."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    from prefect import context, settings

    # For the threads that send events, which know nothing of what is set temporarily.
    context.refresh_global_settings_context()
    try:
        with settings.temporary_settings({getattr(settings, name): value for name, value in values.items()}):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        context.refresh_global_settings_context()
