"""Nights that are interrupted as machines and people do it, and the nights that follow."""

import os
import signal
import socket
import sqlite3
import sys
import time
from contextlib import contextmanager

import pytest

from benchmarks.kills import KILLS, SEED, claims, play, rows
from flows.servers import aftermath
from flows.servers.processes import answers
from tasks.queries.status import status_of
from tasks.workspace.versions import registry_of
from tasks.workspace.workspace import Workspace
from tests.flows.watched import LONG, RETAIN, Watched, interface, watched

pytestmark = [pytest.mark.slow, pytest.mark.servers, pytest.mark.timeout(1800)]
WITHIN = 15
"""Seconds in which a night ends that is asked to."""
AWAY = 40
"""Seconds after which a server is started again; until it answers, a minute is over."""


def nights(place: Workspace) -> list[tuple[str, str]]:
    """States of the nights that were started, with what is told of them, the first one first."""
    started = "FROM flow_run JOIN flow_run_state ON flow_run.state_id = flow_run_state.id WHERE auto_scheduled = 0"
    return rows(place, f"SELECT state_name, message {started} ORDER BY flow_run.created")


def night_states(place: Workspace) -> list[str]:
    """States of the nights that were started."""
    return [name for name, _ in nights(place)]


@pytest.fixture
def place(tmp_path, new_workspace, deliver) -> Workspace:
    place = new_workspace(tmp_path / "workspace")
    deliver(place.inbox / "shapes", {"bar": 300, "column": 300})
    return place


def test_interrupted_nights_end_as_they_should_and_the_others_go_on(place):
    with interface(place) as ui:
        ui.start()
        ui.until_it_learns()
        began = time.monotonic()
        ui.cancel()
        ui.until(60, lambda: night_states(place) == ["Cancelled"])
        assert time.monotonic() - began < WITHIN
        ui.until(90, lambda: not claims(place))

        ui.start()
        ui.until_it_learns()
        assert ui.press_ctrl_c() < WITHIN
    assert night_states(place) == ["Cancelled", "Crashed"], "it was interrupted, and nobody gave it up"
    assert nights(place)[1][1] != aftermath.WITHOUT_A_WORD
    assert claims(place) == []

    with interface(place) as ui:
        # It has started again by itself; what a person cancelled has not.
        ui.until_it_learns()
        assert night_states(place) == ["Cancelled", "Running"]
        ui.lose_power()
    assert night_states(place)[1] == "Running", "nobody could say anything"
    assert ("night of 2026-03-02", "Running") in claims(place)

    with interface(place) as ui:
        ui.until(60, lambda: night_states(place)[1] != "Running")
        ui.until(240, lambda: night_states(place) == ["Cancelled", "Completed"])
        ui.until(90, lambda: not claims(place))
    assert status_of(place).champion.number == 1
    assert len(registry_of(place).runs()) == 1


def test_a_prefect_server_that_is_killed_ends_the_interface_and_the_night_goes_on_with_the_next(place):
    with interface(place) as ui:
        ui.start()
        ui.until_it_learns()
        processes = ui.family()
        ui.kill_prefect()
        assert ui.watched.end_within(60) == 2
        assert ui.watched.output().splitlines()[-1].startswith("The Prefect server ended; ")
        assert "Traceback" not in ui.watched.output()
        assert not [process for process in processes if process.is_running()], "nothing outlives it"
    assert night_states(place) == ["Running"], "there was nobody to tell"

    with interface(place) as ui:
        ui.until(360, lambda: night_states(place) == ["Completed"])
        ui.until(90, lambda: not claims(place))
    assert status_of(place).champion.number == 1
    assert len(registry_of(place).runs()) == 1


def test_a_night_of_the_command_line_ends_when_it_is_asked_to_and_goes_on_later(place, tmp_path):
    command = [RETAIN, "night", "--epochs", str(LONG["epochs"]), "--arrived", "2026-03-02", "-w", str(place.root)]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)):
        with watched(command, tmp_path / f"{number.name}.log") as night:
            night.until(300, night.learns)
            began = time.monotonic()
            night.process.send_signal(number)
            assert night.end_within(60) == code
            assert time.monotonic() - began < WITHIN
            assert "Traceback" not in night.output()
    assert night_states(place) == ["Crashed", "Crashed", "Running"]
    with watched(command, tmp_path / "last.log") as night:
        assert night.end_within(600) == 0, night.output()
    assert night_states(place) == ["Crashed", "Crashed", "Crashed", "Completed"]
    assert claims(place) == []
    assert status_of(place).champion.number == 1


@pytest.mark.parametrize("kills", [5])
def test_nights_that_are_killed_at_random_points_leave_nothing(kills, tmp_path):
    """`python -m benchmarks.kills` does the same with more kills, and says where they were."""
    assert kills < KILLS
    played = play(tmp_path, kills, int(os.environ.get("SEED", SEED)))
    assert (played.complaints, len(played.points)) == ([], kills), played.points
    assert played.versions, played.points


@contextmanager
def mlflow(folder, port: int):
    """A real MLflow server; its process group is killed at the end."""
    folder.mkdir(exist_ok=True)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")),
    ]
    env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with watched(command, folder.with_name(f"mlflow-{time.monotonic_ns()}.log"), env) as server:
        server.until(180, lambda: answers(f"http://127.0.0.1:{port}/health"))
        yield server


def test_a_registry_that_is_away_for_a_minute_in_the_middle_of_a_night_costs_it_nothing(place, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [RETAIN, "night", "--arrived", "2026-03-02", "-w", str(place.root)]

    def lines_with(night: Watched, word: str) -> list[str]:
        return [line for line in night.output().splitlines() if word in line]

    with mlflow(tmp_path / "mlflow", port) as server:
        night = Watched(command, tmp_path / "night.log", {"MLFLOW_TRACKING_URI": address})
        night.until(300, lambda: lines_with(night, "register"))
        server.kill()
        gone = time.monotonic()
    try:
        night.until(60, lambda: lines_with(night, "tried again"))
        night.until(AWAY + 10, lambda: time.monotonic() - gone > AWAY)
        with mlflow(tmp_path / "mlflow", port):
            assert night.end_within(300) == 0, night.output()
            again = lines_with(night, "tried again")
            assert all(address in line and "register is tried again (" in line for line in again)
            assert len(again) <= 4
            assert not [noise for noise in ("Traceback", "WARNING", "Retrying") if noise in night.output()]
            assert "Accepted" in night.output()
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("MLFLOW_TRACKING_URI", address)
                assert status_of(place).champion.number == 1
                assert len(registry_of(place).runs()) == 1
            with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as base:
                left = base.execute("SELECT status FROM runs WHERE status = 'RUNNING' AND lifecycle_stage = 'active'")
                assert not left.fetchall()
    finally:
        night.kill()
    assert claims(place) == []
