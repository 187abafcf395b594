"""`retain ui --worker` as a person uses it: two deployments on a real server, a night started from the form, Ctrl-C."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import psutil
import pytest

from flows.servers.access import header, serving, token_of
from flows.servers.processes import answers
from models.strategies.names import Strategy
from tasks.queries.status import status_of
from tasks.workspace.versions import registry_of
from tasks.workspace.workspace import Workspace

pytestmark = [pytest.mark.servers, pytest.mark.slow]
TERMINAL = {"Completed", "Failed", "Crashed", "Cancelled"}


BUSY = 20
"""Times that a server is asked which says that it is busy."""


@dataclass(frozen=True)
class Interface:
    """A running `retain ui --worker`."""

    process: "subprocess.Popen[str]"
    workspace: Workspace
    prefect: str
    mlflow: str
    output: str
    """What it printed; to a pipe, not to a terminal."""

    def ask(self, path: str, content: object = None) -> Any:
        """What Prefect's API answers, as its pages ask it."""
        body = None if content is None else json.dumps(content).encode()
        headers = {"Content-Type": "application/json", **header(token_of(self.workspace))}
        if body is not None:
            headers |= {
                "Prefect-Csrf-Client": "test",
                "Prefect-Csrf-Token": self.ask("csrf-token?client=test")["token"],
            }
        request = urllib.request.Request(f"{self.prefect}/api/{path}", data=body, headers=headers)
        # While a busy database lets nobody in, Prefect answers 503; its own client asks again as well.
        for left in reversed(range(BUSY)):
            try:
                with urllib.request.urlopen(request, timeout=30) as reply:
                    return json.load(reply)
            except urllib.error.HTTPError as error:
                if error.code != 503 or not left:
                    raise
                time.sleep(1)
        raise AssertionError("not reached")

    def deployment(self, name: str) -> dict[str, Any]:
        return self.ask(f"deployments/name/night/{name}")

    def start_manual(self, **parameters: object) -> str:
        """Start a night as the form does; gives the id of the flow run."""
        where = f"deployments/{self.deployment('manual')['id']}/create_flow_run"
        return self.ask(where, {"parameters": parameters})["id"]

    def state(self, run: str) -> str:
        return self.ask(f"flow_runs/{run}")["state"]["name"]


@pytest.fixture(scope="module")
def interface(tmp_path_factory, new_workspace, deliver):
    workspace = new_workspace(tmp_path_factory.mktemp("deployments") / "workspace")
    deliver(workspace.inbox / "shapes", {"bar": 300, "column": 300})
    command = ["retain", "ui", "--worker", "--prefect-port", "0", "--mlflow-port", "0", "-w", str(workspace.root)]
    env = {**os.environ, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env,
    )  # fmt: skip
    try:
        output = ""
        while "Ctrl-C stops them." not in output:
            line = process.stdout.readline()
            assert line, f"`retain ui` ended: {output}"
            output += line
        addresses = re.findall(r"http://127\.0\.0\.1:\d+", output)
        yield Interface(process, workspace, *addresses, output)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def manual(interface, until) -> str:
    """The id of a flow run that was started from the form, and has ended."""
    run = interface.start_manual(request={"strategy": "replay", "epochs": 2}, arrived="2026-03-02")
    until(120, lambda: interface.state(run) in TERMINAL)
    return run


def test_both_servers_answer_at_the_addresses_that_were_printed(interface):
    assert answers(f"{interface.prefect}/api/health")
    assert answers(f"{interface.mlflow}/health")
    with urllib.request.urlopen(f"{interface.prefect}/ui-settings") as reply:
        assert json.load(reply)["api_url"] == f"{interface.prefect}/api"


def test_other_commands_find_the_servers_and_nobody_else_the_token(interface):
    found = serving(interface.workspace)
    assert (found.prefect, found.mlflow) == (f"{interface.prefect}/api", interface.mlflow)
    assert found.token == token_of(interface.workspace)
    state = interface.workspace.state
    assert [(state / name).stat().st_mode & 0o777 for name in ("token", "server.json")] == [0o600, 0o600]
    assert found.token not in interface.output


def test_the_schedule_of_nightly_makes_runs(interface, until):
    nightly = interface.deployment("nightly")
    which = {"deployments": {"id": {"any_": [nightly["id"]]}}}
    runs = until(60, lambda: interface.ask("flow_runs/filter", which))
    assert {run["state"]["name"] for run in runs} == {"Scheduled"}
    assert all(run["auto_scheduled"] for run in runs)
    # Two at night in Berlin is midnight or one at Greenwich.
    assert {run["expected_start_time"][11:] for run in runs} <= {"00:00:00Z", "01:00:00Z"}
    assert (nightly["global_concurrency_limit"]["limit"], nightly["schedules"][0]["active"]) == (1, True)


def test_the_form_of_manual_shows_titles_limits_and_choices(interface):
    schema = interface.deployment("manual")["parameter_openapi_schema"]
    assert set(schema["properties"]) == {"request", "workspace", "arrived"}
    assert all(parameter["description"] for parameter in schema["properties"].values())
    fields = schema["definitions"]["Request"]["properties"]
    assert [field["title"] for field in fields.values()] == ["Strategy", "Epochs", "Memory", "Hold for a person"]
    assert all(field["description"] for field in fields.values())
    assert fields["strategy"]["enum"] == list(get_args(Strategy))
    number = fields["epochs"]["anyOf"][0]
    assert (number["type"], number["exclusiveMinimum"], number["maximum"]) == ("number", 0, 1000)
    assert fields["hold"]["type"] == "boolean"


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"epochs": 5000}, "'request.epochs'. Failure reason: 5000 is greater than the maximum of 1000"),
        ({"strategy": "reply"}, "'reply' is not one of ['as configured', 'finetune', "),
        ({"colour": "red"}, "'colour' was unexpected"),
    ],
)
def test_a_wrong_parameter_is_refused_by_the_server(interface, request_, sentence):
    with pytest.raises(urllib.error.HTTPError) as refused:
        interface.start_manual(request=request_)
    assert 400 <= refused.value.code < 500
    assert sentence in json.load(refused.value)["detail"]


def test_a_night_from_the_form_registers_a_version(interface, manual):
    assert interface.state(manual) == "Completed"
    status = status_of(interface.workspace)
    assert (status.champion.number, status.champion.aliases) == (1, ("champion",))
    assert (status.inbox, status.pending) == ((), ())
    model = f"{interface.mlflow}/api/2.0/mlflow/registered-models/alias?name=retain&alias=champion"
    request = urllib.request.Request(model, headers=header(token_of(interface.workspace)))
    with urllib.request.urlopen(request, timeout=30) as reply:
        version = json.load(reply)["model_version"]
    assert (version["version"], version["run_id"]) == ("1", status.champion.run.run)
    run = registry_of(interface.workspace).run(status.champion.run.run)
    assert run.batches == status.learned == tuple(name for name in run.batches if name.startswith("2026-03-02-"))


def test_a_night_can_be_read_in_prefect(interface, manual, until):
    assert interface.ask(f"flow_runs/{manual}")["name"] == "shapes: accepted as v1 · 2026-03-02"
    which = {"flow_runs": {"id": {"any_": [manual]}}}
    steps = ["ingest shapes", "champion", "validate", "attempt", "update", "evaluate", "judge", "keep", "register"]

    def completed():
        """Prefect learns of steps one by one, a little later; the states in which they were before come first."""
        runs = interface.ask("task_runs/filter", which)
        done = [run for run in runs if run["state"] and run["state"]["name"] == "Completed"]
        return done if len(done) == len(steps) else None

    runs = until(30, completed)
    assert [run["name"] for run in sorted(runs, key=lambda run: run["start_time"])] == steps

    logs = {"logs": {"flow_run_id": {"any_": [manual]}}}
    words = {"ingest shapes: 100%", "training: 100%", "judge"}
    until(30, lambda: words <= {log["message"] for log in interface.ask("logs/filter", logs)})

    artifacts = {artifact["key"]: artifact for artifact in interface.ask("artifacts/filter", which)}
    (batch,) = status_of(interface.workspace).learned
    assert {key: artifact["type"] for key, artifact in artifacts.items()} == {
        "training": "progress",
        f"checks-{batch}": "table",
        "scores": "table",
        "verdict": "markdown",
        "night": "markdown",
    }
    assert artifacts["training"]["data"] == 100
    assert artifacts["verdict"]["data"].startswith("# Accept\n\nAccepted: learned the new images to ")
    assert "Registered as v1." in artifacts["night"]["data"]
    assert json.loads(artifacts["scores"]["data"])[0].keys() == {"version", "shapes"}


def at_work(process: psutil.Process) -> bool:
    """True if a worker below `process` runs a flow."""
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "prefect.engine" in child.cmdline():
                return True
    return False


def test_ctrl_c_stops_everything_cleanly_a_night_at_work_too(interface, manual, until):
    interface.start_manual()
    ours = psutil.Process(interface.process.pid)
    until(60, lambda: at_work(ours))
    processes = ours.children(recursive=True)
    interface.process.send_signal(signal.SIGINT)
    output, _ = interface.process.communicate(timeout=60)
    assert (output.splitlines()[-1], interface.process.returncode) == ("Stopped.", 0)
    assert not psutil.wait_procs(processes, timeout=5)[1]
    assert not answers(f"{interface.prefect}/api/health")
    assert serving(interface.workspace) is None
    assert not (interface.workspace.state / "server.json").exists()
