"""Processes of retain that a test waits for: when one ends too soon, or the time runs out, the test shows what it said.

Whether a night learns, its own words tell, not Prefect's database: what a step does comes there as an event, later than
it happened, and on a busy machine perhaps not at all.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from prefect.client.schemas.filters import FlowRunFilter
from prefect.states import Cancelling

from flows.servers.access import token_of
from flows.servers.aftermath import connected
from flows.servers.processes import prefect_client
from tasks.workspace.workspace import Workspace

RETAIN = str(Path(sys.executable).with_name("retain"))
LONG = {"epochs": 1000}
"""Takes a while to learn, so that there is time to interrupt it."""


class Watched:
    """A command at work in a session of its own, and all that it says."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        """What is said is kept in the file `log`: a pipe that nobody reads while he waits would stop the command."""
        self.log = log
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # A shell that starts tests in the background has Ctrl-C ignored, which every child would inherit.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env={**os.environ, **(env or {})}, start_new_session=True
            )

    def output(self) -> str:
        """All that it has said so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def until(self, seconds: float, condition: Callable[[], object], more: Path | None = None) -> None:
        """Return when `condition` holds. Fails as soon as the process has ended; tells what it said, and what is in the
        log `more`.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            code = self.process.poll()
            if code is not None and condition():
                return  # Became true with its last breath.
            why = f"it ended with {code}" if code is not None else f"not within {seconds} seconds"
            rest = f"\n{more}:\n{more.read_text(errors='replace')[-5000:]}" if more and more.exists() else ""
            if code is not None or time.monotonic() > deadline:
                pytest.fail(f"{why}:\n{self.output()}{rest}", pytrace=False)
            time.sleep(0.1)

    def learns(self) -> bool:
        """True once the night of the command line says that it updates."""
        return "update" in self.output().splitlines()

    def end_within(self, seconds: float) -> int:
        """Its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it did not end within {seconds} seconds:\n{self.output()}")

    def kill(self) -> None:
        """Kill it and all of its session, if it has not ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def watched(command: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator[Watched]:
    """A command that is killed at the end, if it is still there."""
    process = Watched(command, log, env)
    try:
        yield process
    finally:
        process.kill()


class Interface:
    """A running `retain ui --worker`, and how a person uses it."""

    def __init__(self, watched: Watched, place: Workspace) -> None:
        self.watched, self.place = watched, place
        address = re.search(r"http://127\.0\.0\.1:\d+", watched.output())
        assert address is not None
        self.settings = {**prefect_client(f"{address[0]}/api", token_of(place)), "PREFECT_CLIENT_MAX_RETRIES": "5"}
        self.log = place.prefect_home / "worker.log"
        """Where the worker puts what its nights say."""
        self.updates = self._updates()

    def _updates(self) -> int:
        words = self.log.read_text(errors="replace") if self.log.exists() else ""
        return len(re.findall(r" - update$", words, re.MULTILINE))

    def start(self) -> None:
        """Start a night as the form does."""
        self.updates = self._updates()
        with connected(**self.settings) as client:
            deployment = client.read_deployment_by_name("night/manual")
            client.create_flow_run_from_deployment(deployment.id, parameters={"request": LONG, "arrived": "2026-03-02"})

    def until_it_learns(self) -> None:
        """Return when a night that was started since learns."""
        self.until(300, lambda: self._updates() > self.updates)

    def until(self, seconds: float, condition: Callable[[], object]) -> None:
        """Return when `condition` holds; fails if `retain ui` ends before."""
        self.watched.until(seconds, condition, self.log)

    def cancel(self) -> None:
        """Cancel the nights at work as the page does."""
        with connected(**self.settings) as client:
            which = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING"]}}})
            for run in client.read_flow_runs(flow_run_filter=which):
                client.set_flow_run_state(run.id, Cancelling())

    def press_ctrl_c(self) -> float:
        """Gives how many seconds it took to end."""
        began = time.monotonic()
        self.watched.process.send_signal(signal.SIGINT)
        self.watched.end_within(60)
        assert self.watched.output().splitlines()[-1] == "Stopped."
        return time.monotonic() - began

    def family(self) -> list[psutil.Process]:
        """Its process, and all that came of it."""
        process = psutil.Process(self.watched.process.pid)
        return [process, *process.children(recursive=True)]

    def lose_power(self) -> None:
        """Everything is gone at once, and nothing is asked."""
        everything = self.family()
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert not psutil.wait_procs(everything, timeout=30)[1]

    def kill_prefect(self) -> None:
        """The Prefect server alone is gone."""
        (server,) = (
            process
            for process in self.family()
            if process.cmdline()[1:5] == ["-P", "-m", "flows.servers.door", "prefect"]
        )
        server.kill()


@contextmanager
def interface(place: Workspace) -> Iterator[Interface]:
    """`retain ui --worker`, serving."""
    command = [RETAIN, "ui", "--worker", "--prefect-port", "0", "--mlflow-port", "0", "-w", str(place.root)]
    with watched(command, place.root.with_name("ui.log"), {"PREFECT_WORKER_QUERY_SECONDS": "1"}) as process:
        process.until(300, lambda: "Ctrl-C stops them." in process.output())
        yield Interface(process, place)
