"""`retain ui`: what the nights left behind, to look at: Prefect and MLflow on loopback, stopped cleanly by Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from flows.servers import aftermath
from flows.servers.access import Serving, alone_to_serve, announced, page, token_file, token_of
from flows.servers.door import LOOPBACK
from flows.servers.processes import (
    SILENT,
    STEADY,
    Server,
    listen,
    mlflow_server,
    port_of,
    prefect_client,
    prefect_server,
)
from flows.terminal import screen
from records.addresses import shown
from records.errors import Unavailable, WrongInput
from tasks.workspace.workspace import Workspace

POOL = "gpu"
"""Work pool that prefect.yaml names."""
PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")


def serve(workspace: Workspace, prefect_port: int, mlflow_port: int, with_worker: bool) -> None:
    """Serve until a signal comes. Raises `WrongInput` if a port is taken, `Busy` if another one serves this workspace,
    `Unavailable` if a server ends by itself."""
    artifacts, servers, began = workspace.mlflow_artifacts, list[Server](), datetime.now(UTC)
    with (
        _signals() as stop,
        alone_to_serve(workspace),
        _listen(prefect_port, "--prefect-port") as prefect,
        _listen(mlflow_port, "--mlflow-port") as mlflow,
        ExitStack() as running,
    ):
        serving = Serving(
            prefect=f"http://{LOOPBACK}:{port_of(prefect)}/api",
            mlflow=None if artifacts is None else f"http://{LOOPBACK}:{port_of(mlflow)}",
            token=token_of(workspace),
            pid=os.getpid(),
        )

        def run(server: Server) -> None:
            servers.append(server)
            running.callback(server.stop)

        with screen.at_work("starting Prefect and MLflow (half a minute on a first start)"):
            run(prefect_server(workspace.prefect_home, prefect, serving.token))
            if artifacts is not None:
                run(mlflow_server(workspace.state, workspace.mlflow_address, artifacts, mlflow, serving.token))
            for server in servers:
                server.wait(stop)
        if not stop.is_set():
            running.enter_context(announced(workspace, serving))
        client = running.enter_context(aftermath.connected(**prefect_client(serving.prefect, serving.token)))
        nights = aftermath.Care(workspace, client, with_worker, began)
        # After the worker has ended.
        running.callback(nights.last_round)
        if with_worker and not stop.is_set():
            with screen.at_work("deploying"):
                run(worker(workspace, serving))
        running.callback(nights.end_all, serving.prefect)
        if not stop.is_set():
            introduce(workspace, serving, with_worker)
        while not stop.wait(timeout=1):
            for server in servers:
                server.check()
            nights.round()
    screen.say("Stopped.", "dim")


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """Set when a person presses Ctrl-C, or the process is asked to end."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def worker(workspace: Workspace, serving: Serving) -> Server:
    """Deploy what the workspace's prefect.yaml names and start a worker for it, not waited for."""
    env = worker_environment(workspace, serving)
    for command in (["work-pool", "create", "--type", "process", "--overwrite", POOL], ["deploy", "--all"]):
        done = subprocess.run(
            [*PREFECT, *command], cwd=workspace.root, env={**os.environ, **env}, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, start_new_session=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Unavailable(f"`prefect {' '.join(command)}` failed: {(done.stderr or done.stdout).strip()[-500:]}")
    log = workspace.prefect_home / "worker.log"
    return Server(
        "The worker",
        [*PREFECT, "worker", "start", "--pool", POOL, "--limit", "1"],
        f"{serving.prefect}/health",
        log,
        env,
    )


def worker_environment(workspace: Workspace, serving: Serving) -> dict[str, str]:
    """What a worker's processes must know: the server, the workspace, and where `python` and `retain` are."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return {
        **SILENT,
        **STEADY,
        **prefect_client(serving.prefect, serving.token),
        "PREFECT_HOME": str(workspace.prefect_home),
        "RETAIN_WORKSPACE": str(workspace.root),
        "PATH": path,
    }


def introduce(workspace: Workspace, serving: Serving, with_worker: bool) -> None:
    """Say where everything is, and how a browser gets in."""
    screen.say(f"Prefect  {_link(serving.prefect.removesuffix('/api'), serving.token)}")
    screen.say("         flow runs, artifacts, the form for a manual night", "dim")
    screen.say(
        f"MLflow   {_link(serving.mlflow, serving.token) if serving.mlflow else shown(workspace.mlflow_address)}"
    )
    screen.say("         versions, metrics, comparison", "dim")
    if with_worker:
        screen.say("Worker   takes `nightly` at two and whatever is started from the form")
    token = screen.place(token_file(workspace))
    screen.say(f"These links let a browser in, once for all; what is after # is your token, kept in {token}.", "dim")
    screen.say("Ctrl-C stops them.", "dim")


def _link(server: str, token: str) -> str:
    # What is printed to no terminal goes into a log, which others may read.
    return page(server, token if sys.stdout.isatty() else "<token>")


def _listen(port: int, option: str) -> socket.socket:
    try:
        return listen(port)
    except OSError:
        raise WrongInput(f"Port {port} is taken. Name another one with {option}, or 0 for any free one.") from None
