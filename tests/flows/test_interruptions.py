"""Nights of `retain ui --worker` that are interrupted as machines and people do it, and the nights that follow."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from prefect.client.schemas.filters import FlowRunFilter
from prefect.states import Cancelling

from flows.access import token_of
from flows.aftermath import connected
from flows.servers import prefect_client
from tasks.status import status_of
from tasks.versions import registry_of
from tasks.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.servers, pytest.mark.timeout(1800)]
RETAIN = str(Path(sys.executable).with_name("retain"))
LONG = {"epochs": 1000}
"""Takes a while to learn, so that there is time to interrupt it."""
WITHIN = 15
"""Seconds in which a night ends that is asked to."""


def rows(place: Workspace, statement: str) -> list[tuple[object, ...]]:
    """What Prefect's own database says; its server may be gone."""
    with closing(sqlite3.connect(f"file:{place.prefect_home / 'prefect.db'}?mode=ro", uri=True, timeout=30)) as base:
        return base.execute(statement).fetchall()


def night_states(place: Workspace) -> list[str]:
    """States of the nights that were started, the first one first."""
    return [
        str(name)
        for (name,) in rows(place, "SELECT state_name FROM flow_run WHERE auto_scheduled = 0 ORDER BY created")
    ]


def at_work(place: Workspace) -> list[tuple[object, ...]]:
    """Everything that claims to be at work: nights, steps, and slots that are taken."""
    busy = "state_type IN ('PENDING', 'RUNNING', 'CANCELLING')"
    return [
        *rows(place, f"SELECT name, state_name FROM flow_run WHERE {busy}"),
        *rows(place, f"SELECT name, state_name FROM task_run WHERE {busy}"),
        *rows(place, "SELECT name, active_slots FROM concurrency_limit_v2 WHERE active_slots > 0"),
    ]


@contextmanager
def interface(place: Workspace):
    """`retain ui --worker`, serving."""
    command = [RETAIN, "ui", "--worker", "--prefect-port", "0", "--mlflow-port", "0", "-w", str(place.root)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PREFECT_WORKER_QUERY_SECONDS": "1"},
    )  # fmt: skip
    try:
        said = ""
        while "Ctrl-C stops them." not in said:
            line = process.stdout.readline()
            assert line, f"`retain ui` ended: {said}"
            said += line
        address = re.search(r"http://127\.0\.0\.1:\d+", said)[0]
        yield Interface(process, f"{address}/api", token_of(place))
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True)
class Interface:
    """A running `retain ui --worker`."""

    process: "subprocess.Popen[str]"
    api: str
    token: str

    def start(self) -> None:
        """Start a night as the form does."""
        with connected(**prefect_client(self.api, self.token), PREFECT_CLIENT_MAX_RETRIES="5") as client:
            deployment = client.read_deployment_by_name("night/manual")
            client.create_flow_run_from_deployment(deployment.id, parameters={"request": LONG, "arrived": "2026-03-02"})

    def cancel(self) -> None:
        """Cancel the nights at work as the page does."""
        with connected(**prefect_client(self.api, self.token), PREFECT_CLIENT_MAX_RETRIES="5") as client:
            which = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING"]}}})
            for run in client.read_flow_runs(flow_run_filter=which):
                client.set_flow_run_state(run.id, Cancelling())

    def press_ctrl_c(self) -> float:
        """Gives how many seconds it took to end."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=60)
        assert said.splitlines()[-1] == "Stopped."
        return time.monotonic() - began

    def lose_power(self) -> None:
        """Everything is gone at once, and nothing is asked."""
        everything = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert not psutil.wait_procs(everything, timeout=30)[1]


def learning(place: Workspace) -> bool:
    """True while a night learns."""
    with suppress(sqlite3.OperationalError):  # No database yet, or no tables in it.
        return bool(rows(place, "SELECT 1 FROM task_run WHERE name = 'update' AND state_type = 'RUNNING'"))
    return False


def test_interrupted_nights_end_as_they_should_and_the_others_go_on(tmp_path, new_workspace, deliver, until):
    place = new_workspace(tmp_path / "workspace")
    deliver(place.inbox / "shapes", {"bar": 300, "column": 300})

    with interface(place) as ui:
        ui.start()
        until(240, lambda: learning(place))
        began = time.monotonic()
        ui.cancel()
        until(60, lambda: night_states(place) == ["Cancelled"])
        assert time.monotonic() - began < WITHIN
        until(90, lambda: not at_work(place))

        ui.start()
        until(240, lambda: learning(place))
        assert ui.press_ctrl_c() < WITHIN
    assert night_states(place) == ["Cancelled", "Crashed"], "it was interrupted, and nobody gave it up"
    assert at_work(place) == []

    with interface(place) as ui:
        # It has started again by itself; what a person cancelled has not.
        until(240, lambda: learning(place))
        assert night_states(place) == ["Cancelled", "Running"]
        ui.lose_power()
    assert night_states(place)[1] == "Running", "nobody could say anything"
    assert len(at_work(place)) == 3, "the night, its step, and the slot"

    with interface(place):
        began = time.monotonic()
        until(60, lambda: night_states(place)[1] != "Running")
        until(240, lambda: night_states(place) == ["Cancelled", "Completed"])
        until(90, lambda: not at_work(place))
    assert status_of(place).champion.number == 1
    assert len(registry_of(place).runs()) == 1


def test_a_night_of_the_command_line_ends_when_it_is_asked_to_and_goes_on_later(
    tmp_path, new_workspace, deliver, until
):
    place = new_workspace(tmp_path / "workspace")
    deliver(place.inbox / "shapes", {"bar": 300, "column": 300})
    command = [RETAIN, "night", "--epochs", "1000", "--arrived", "2026-03-02", "-w", str(place.root)]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            until(240, lambda: learning(place))
            began = time.monotonic()
            process.send_signal(number)
            said, _ = process.communicate(timeout=60)
            assert (process.returncode, time.monotonic() - began < WITHIN) == (code, True)
            assert "Traceback" not in said
        finally:
            process.kill()
            process.communicate()
    assert night_states(place) == ["Crashed", "Crashed", "Running"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert night_states(place) == ["Crashed", "Crashed", "Crashed", "Completed"]
    assert at_work(place) == []
    assert status_of(place).champion.number == 1
