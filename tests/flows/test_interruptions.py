"""Nights of `retain ui --worker` that are interrupted as machines and people do it, and the nights that follow."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from flows.aftermath import connected
from tasks.overview import status_of
from tasks.stages import registry_of
from tasks.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.servers]
RETAIN = str(Path(sys.executable).with_name("retain"))
OVER = {"Completed", "Failed", "Crashed", "Cancelled"}
LONG = {"epochs": 1000}
"""Takes a minute to learn, so that there is time to interrupt it."""
SLOW = float(os.environ.get("RETAIN_TEST_PATIENCE", "1"))


def rows(place: Workspace, statement: str) -> list[tuple[object, ...]]:
    """What Prefect's own database says; its server may be gone."""
    with closing(sqlite3.connect(f"file:{place.prefect_home / 'prefect.db'}?mode=ro", uri=True, timeout=30)) as base:
        return base.execute(statement).fetchall()


def night_states(place: Workspace) -> list[str]:
    """States of the nights that were started, the first one first."""
    return [str(name) for (name,) in rows(place, "SELECT state_name FROM flow_run WHERE auto_scheduled = 0 ORDER BY created")]


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
        yield process
    finally:
        process.kill()
        process.communicate()
