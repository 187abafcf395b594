"""A step is tried again while an outside system is silent; what is told of a failure is one sentence."""

import logging

import pytest
from prefect import Task

from flows import night as nights
from flows.failures import SENTENCES, tell_in_sentences
from flows.steps import PAUSES, may_pass
from records.errors import Unavailable, WrongParameters
from records.snapshot import Snapshot

LOGS = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")


class Kept(logging.Handler):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def log_records(monkeypatch):
    """What the log of a night holds, as Prefect's pages and the worker's terminal show it."""
    kept = Kept()
    for name in LOGS:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.INFO)
        logging.getLogger(name).addHandler(kept)
    yield kept.records
    for name in LOGS:
        logging.getLogger(name).removeHandler(kept)


def test_every_step_of_a_night_is_tried_again_for_two_minutes():
    steps = [step for step in vars(nights).values() if isinstance(step, Task)]
    assert len(steps) == 9
    assert {step.retry_condition_fn for step in steps} == {may_pass}
    assert {step.retries for step in steps} == {len(PAUSES)}
    assert sum(PAUSES) == 120


def test_a_registry_that_is_away_for_a_while_costs_no_night(tmp_path, new_workspace, run_night, monkeypatch, caplog):
    from adapters.registry import Registry

    workspace, silent, start = new_workspace(tmp_path / "workspace"), [1, 2, 3, 4], Registry.start

    def answer(registry: Registry, named: int) -> int:
        if silent:
            silent.pop()
            raise Unavailable("Nobody answers at http://127.0.0.1:9.")
        return start(registry, named)

    monkeypatch.setattr(Registry, "start", answer)
    monkeypatch.setattr(nights, "champion_step", nights.champion_step.with_options(retry_delay_seconds=0))
    monkeypatch.setattr(logging.getLogger("retain"), "propagate", True)
    assert run_night(workspace, 2).outcome == "nothing to learn"
    # Where another test has made Prefect listen to this logger, a record is caught on both ways.
    messages = {id(record): record.getMessage() for record in caplog.records}
    again = [message for message in messages.values() if "tried again" in message]
    assert again == [
        f"Nobody answers at http://127.0.0.1:9. champion is tried again ({number} of 4)." for number in (1, 2, 3, 4)
    ]


def test_a_registry_that_stays_away_is_one_sentence(
    tmp_path, new_workspace, run_night, nobody, monkeypatch, log_records
):
    workspace = new_workspace(tmp_path / "workspace")
    monkeypatch.delenv("RETAIN_DEBUG", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nobody)
    monkeypatch.setattr(nights, "champion_step", nights.champion_step.with_options(retry_delay_seconds=0))
    with pytest.raises(Unavailable) as raised:
        run_night(workspace, 2)
    assert str(raised.value).startswith(f"Nobody answers at {nobody}")
    (error,) = (record for record in log_records if record.levelno >= logging.ERROR)
    assert (error.getMessage(), error.exc_info) == (str(raised.value), None)
    assert [record for record in log_records if nobody in record.getMessage()] == [error]


def test_a_night_first_takes_back_what_a_killed_one_began_to_log(tmp_path, new_workspace):
    from mlflow import MlflowClient

    workspace = new_workspace(tmp_path / "workspace")
    Snapshot(identity="aa", parent=0, classes=(), experiences=(), spec=None).write(
        workspace.candidate / "snapshot.json"
    )
    assert nights.champion_step.fn(workspace) == (0, ())
    client = MlflowClient(workspace.mlflow_address, workspace.mlflow_address)
    experiment = client.create_experiment("retain")
    run = client.create_run(experiment, tags={"identity": "aa"}).info.run_id
    assert nights.champion_step.fn(workspace) == (0, ())
    assert (client.get_run(run).info.status, client.search_runs([experiment])) == ("KILLED", [])


def error_record(error: Exception) -> logging.LogRecord:
    return logging.LogRecord("prefect.flow_runs", logging.ERROR, "", 0, "%r", (error,), (type(error), error, None))


@pytest.mark.parametrize(
    ("error", "debug"), [(ValueError("a defect"), ""), (WrongParameters("a sentence"), "1")], ids=["defect", "debug"]
)
def test_a_traceback_is_kept_for_a_defect_and_for_who_asks(error, debug, monkeypatch):
    monkeypatch.setenv("RETAIN_DEBUG", debug)
    tell_in_sentences()
    record = error_record(error)
    assert SENTENCES.filter(record)
    assert record.exc_info == (type(error), error, None)
