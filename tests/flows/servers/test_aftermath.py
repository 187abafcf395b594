"""What Prefect is told of nights that cannot tell it themselves. Real runs on a real server, but nothing is learned."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest

from flows.servers import aftermath
from flows.servers.aftermath import CHANCES, Care, end_all, living
from tasks.workspace.lock import is_held
from tasks.workspace.workspace import Workspace

NIGHT = """
import pathlib, signal, sys
from flows.servers.aftermath import living
from tasks.workspace.workspace import Workspace
{prelude}
with living(Workspace(pathlib.Path(sys.argv[1])), sys.argv[2], sys.argv[3]):
    print("lives", flush=True)
    while True:
        signal.pause()
"""


@pytest.fixture
def place(tmp_path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture(scope="module")
def server(prefect):
    """A client of the server of all tests, and a deployment there that no worker takes runs from."""
    from prefect import flow

    # What looks after nights asks again in its next round. Here each answer counts, though SQLite be locked a moment.
    with aftermath.connected(PREFECT_API_URL=prefect, PREFECT_CLIENT_MAX_RETRIES="6") as client:
        one = client.create_flow(flow(lambda: None, name="no night"))
        yield SimpleNamespace(
            client=client, flow=one, deployment=client.create_deployment(one, "no night"), api=prefect
        )


@pytest.fixture
def begin(server, place):
    """`begin("Running", "Cancelling")` makes a run that went through these states; it left a file, if it is `ours`."""
    from prefect import states
    from prefect.client.schemas.actions import DeploymentFlowRunCreate

    def make(*names: str, ours: bool = True) -> str:
        first = DeploymentFlowRunCreate(state=states.to_state_create(states.Pending()))
        content = first.model_dump(mode="json", exclude_unset=True)
        answer = server.client.request(
            "POST", "/deployments/{id}/create_flow_run", path_params={"id": server.deployment}, json=content
        )
        run = answer.json()["id"]
        for name in names:
            server.client.set_flow_run_state(run, getattr(states, name)(), force=True)
        place.nights.mkdir(parents=True, exist_ok=True)
        if ours:
            (place.nights / run).touch()
        return run

    return make


@pytest.fixture
def state(server):
    """`state(run)` is the name of the state that Prefect's pages show."""
    return lambda run: server.client.read_flow_run(run).state.name


@pytest.fixture
def start(place, server):
    """`start(run)` starts a process that lives as the night of a run, until it is ended."""
    processes = []

    def begin(run: str, prelude: str = "") -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", NIGHT.format(prelude=prelude), str(place.root), run, server.api]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        assert processes[-1].stdout.readline() == "lives\n"
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def step_of(server, run: str, name: str = "update"):
    """A step of a run, at work."""
    from prefect import states, task

    step = server.client.create_task_run(
        task(lambda: None, name=name), flow_run_id=run, dynamic_key=str(uuid4()), state=states.Running()
    )
    return lambda: server.client.read_task_run(step.id).state.name


def test_a_night_that_was_killed_has_crashed_and_its_steps_with_it(server, place, begin, state):
    run = begin("Running")
    step = step_of(server, run)
    Care(place, server.client, worker=False).round()
    assert (state(run), step()) == ("Crashed", "Crashed")
    assert server.client.read_flow_run(run).state.message == aftermath.WITHOUT_A_WORD


def test_the_slot_of_a_night_that_was_killed_is_free_at_once(server, place):
    """Else every night after it waits for ever, and nothing says why."""
    from prefect import states

    alone = server.client.create_deployment(server.flow, "one at a time", concurrency_limit=1)
    killed, later = (str(server.client.create_flow_run_from_deployment(alone).id) for _ in range(2))

    def begin(run: str) -> str:
        return server.client.set_flow_run_state(run, states.Pending()).state.name

    assert [begin(killed), begin(later)] == ["Pending", "AwaitingConcurrencySlot"]
    server.client.set_flow_run_state(killed, states.Running())
    place.nights.mkdir(parents=True)
    (place.nights / killed).touch()
    Care(place, server.client, worker=False).round()
    assert begin(later) == "Pending"


def test_a_night_that_lives_is_left_alone_and_so_is_one_of_another_machine(server, place, begin, state, start):
    ours, theirs = begin("Running"), begin("Running", ours=False)
    start(ours)
    Care(place, server.client, worker=False).round()
    assert (state(ours), state(theirs)) == ("Running", "Running")
    assert (place.nights / ours).exists()


def test_after_a_server_was_started_nobody_is_at_work_but_who_holds_a_file(server, place, begin, state, start):
    lives, pending, running = begin("Running"), begin(ours=False), begin("Running", ours=False)
    over = begin("Running", "Failed", ours=False)
    step = step_of(server, over)
    start(lives)
    later = datetime.now(UTC) + 2 * aftermath.SETTLED
    Care(place, server.client, worker=False, began=later).round()
    assert [state(run) for run in (lives, pending, running, over)] == ["Running", "Crashed", "Crashed", "Failed"]
    assert step() == "Crashed"


def test_a_worker_says_first_how_its_night_died(server, place, begin, state, monkeypatch):
    run = begin("Running")
    care = Care(place, server.client, worker=True)
    care.round()
    assert state(run) == "Running"
    monkeypatch.setattr(aftermath, "WORKERS_WORD", timedelta(0))
    care.round()
    assert state(run) == "Crashed"


def test_a_night_that_crashes_is_started_again_three_times_at_most(server, place, begin, state, monkeypatch):
    from prefect import states

    monkeypatch.setattr(aftermath, "WORKERS_WORD", timedelta(0))
    run = begin("Running")
    seen = []
    for _ in range(CHANCES + 1):
        (place.nights / run).touch()
        # The worker and who looks after the night may both say that it crashed: that is one crash.
        server.client.set_flow_run_state(run, states.Crashed(), force=True)
        server.client.set_flow_run_state(run, states.Crashed(), force=True)
        Care(place, server.client, worker=True).round()
        seen.append(state(run))
        server.client.set_flow_run_state(run, states.Running(), force=True)
    assert seen == ["AwaitingRetry"] * CHANCES + ["Crashed"]
    assert not (place.nights / run).exists()


def test_a_workers_word_that_comes_late_takes_no_chance_from_a_night(server, place, begin, state, monkeypatch):
    """On a busy machine it comes when the night waits for its new start already."""
    from prefect import states

    monkeypatch.setattr(aftermath, "WORKERS_WORD", timedelta(0))
    run = begin("Running", "Crashed")
    care = Care(place, server.client, worker=True)
    care.round()
    server.client.set_flow_run_state(run, states.Crashed(message="It exited with -9."), force=True)
    care.round()
    late = server.client.read_flow_run(run).state
    assert (late.name, late.message) == ("AwaitingRetry", "Started again, 1 of 3: it ended unexpectedly.")
    server.client.set_flow_run_state(run, states.Completed(), force=True)
    care.round()
    assert not (place.nights / run).exists()


def test_a_night_that_died_before_it_held_a_file_is_started_again(server, place, begin, state, monkeypatch):
    """As one that was killed while it imported its libraries."""
    monkeypatch.setattr(aftermath, "WORKERS_WORD", timedelta(0))
    run = begin("Crashed", ours=False)
    Care(place, server.client, worker=False).round()
    assert state(run) == "Crashed"
    Care(place, server.client, worker=True).round()
    assert state(run) == "AwaitingRetry"
    assert (place.nights / run).exists()


def test_a_night_that_is_being_started_again_is_not_dead(server, place, begin, state, monkeypatch):
    """Its file is there already, and nobody holds it until the libraries are imported."""
    monkeypatch.setattr(aftermath, "WORKERS_WORD", timedelta(0))
    run = begin("Running", "Crashed", "Pending")
    care = Care(place, server.client, worker=True)
    care.round(), Care(place, server.client, worker=False).round()
    assert state(run) == "Pending"
    care.last_round()
    assert state(run) == "Crashed", "its worker has ended"


def test_a_night_is_given_again_to_a_worker_that_has_let_go_of_it(server, place, begin, monkeypatch):
    """One that is given a night which it still holds ends with an error, and `retain ui` with it."""
    monkeypatch.setattr(aftermath, "WORKERS_WORD", timedelta(0))
    before = begin("Running", "Crashed")
    care = Care(place, server.client, worker=True)
    during = begin("Running", "Crashed")
    began = datetime.now(UTC)
    care.round()
    first, second = (server.client.read_flow_run(run).state.state_details.scheduled_time for run in (before, during))
    assert first - began < timedelta(seconds=30)
    assert second - began >= aftermath.RELEASED


def test_a_night_that_was_started_often_enough_is_told_once(server, place, begin, state, monkeypatch, caplog):
    monkeypatch.setattr(aftermath, "WORKERS_WORD", timedelta(0))
    monkeypatch.setattr(aftermath.log, "propagate", True)
    run = begin(*["Running", "Crashed"] * (CHANCES + 1), ours=False)
    name, care = server.client.read_flow_run(run).name, Care(place, server.client, worker=True)
    care.round(), care.round()
    messages = {id(record): record.getMessage() for record in caplog.records if name in record.getMessage()}
    assert list(messages.values()) == [f"{name} ended unexpectedly {CHANCES + 1} times, and is not started again."]
    assert state(run) == "Crashed"


def test_without_a_worker_a_crashed_night_waits_for_one(server, place, begin, state, monkeypatch):
    run = begin("Running", "Crashed")
    Care(place, server.client, worker=False).round()
    assert state(run) == "Crashed"
    monkeypatch.setattr(aftermath, "WORKERS_WORD", timedelta(0))
    Care(place, server.client, worker=True).round()
    assert state(run) == "AwaitingRetry"


@pytest.mark.parametrize("states", [("Cancelling",), ("Cancelling", "Crashed")], ids=["killed", "asked"])
def test_a_night_that_a_person_gave_up_is_cancelled_and_stays_so(server, place, begin, state, states, monkeypatch):
    monkeypatch.setattr(aftermath, "WORKERS_WORD", timedelta(0))
    run = begin("Running", *states)
    care = Care(place, server.client, worker=True)
    care.round()
    assert state(run) == "Cancelled"
    care.round()
    assert state(run) == "Cancelled"
    assert not (place.nights / run).exists()


def test_a_cancelled_night_that_does_not_listen_is_killed(server, place, begin, state, start, monkeypatch):
    run = begin("Running", "Cancelling")
    process = start(run, "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    care = Care(place, server.client, worker=True)
    care.round()
    assert process.poll() is None, "its worker has asked it to end, and it has some seconds"
    monkeypatch.setattr(aftermath, "KILLED", timedelta(0))
    care.round()
    assert process.wait(10) == -signal.SIGKILL
    care.round()
    assert state(run) == "Cancelled"


def test_a_night_of_the_command_line_that_is_cancelled_is_asked_to_end(server, place, begin, state, start, monkeypatch):
    """No worker does that; one that a worker started is left to it."""
    from prefect import flow, states

    monkeypatch.setattr(aftermath, "ASKED", timedelta(0))
    # A busy machine may take so long to come here that the night of the worker would be killed in the same round.
    monkeypatch.setattr(aftermath, "KILLED", timedelta(hours=1))
    by_hand = server.client.create_flow_run(flow(lambda: None, name="no night"))
    workers, ours = begin("Running", "Cancelling"), str(by_hand.id)
    for name in ("Running", "Cancelling"):
        server.client.set_flow_run_state(ours, getattr(states, name)(), force=True)
    theirs, asked = start(workers), start(ours)
    care = Care(place, server.client, worker=True)
    care.round()
    assert (asked.wait(10), theirs.poll()) == (-signal.SIGTERM, None)
    care.round()
    assert (state(ours), state(workers)) == ("Cancelled", "Cancelling")


def test_before_a_server_ends_the_nights_that_talk_to_it_do(place, start, monkeypatch):
    monkeypatch.setattr(aftermath, "LAST_WORDS", 1.0)
    polite, deaf = str(uuid4()), str(uuid4())
    processes = start(polite), start(deaf, "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    end_all(place, "http://127.0.0.1:9/api")
    assert [process.poll() for process in processes] == [None, None], "they talk to another one"
    end_all(place, processes[0].args[-1])
    assert [process.wait(10) for process in processes] == [-signal.SIGTERM, -signal.SIGKILL]


def test_a_night_that_ends_with_its_server_is_not_said_to_have_been_killed(
    server, place, begin, state, start, monkeypatch
):
    monkeypatch.setattr(aftermath, "LAST_WORDS", 1.0)
    before, during, given_up = begin("Running"), begin("Running"), begin("Running", "Cancelling")
    start(during), start(given_up)
    care = Care(place, server.client, worker=True)
    care.end_all(server.api)
    care.last_round()
    states = {run: server.client.read_flow_run(run).state for run in (before, during, given_up)}
    assert [(end.name, end.message) for end in states.values()] == [
        ("Crashed", aftermath.WITHOUT_A_WORD),
        ("Crashed", aftermath.STOPPED),
        ("Cancelled", aftermath.CANCELLED),
    ]


def test_a_file_that_names_no_night_is_nobodys(server, place, begin, state):
    run = begin("Running")
    strange = [place.nights / name for name in (".DS_Store", "notes~", run.replace("-", ""), f"{run}.swp")]
    for path in strange:
        path.touch()
    Care(place, server.client, worker=False).round()
    assert state(run) == "Crashed"
    assert all(path.exists() for path in strange)


def test_a_night_that_ends_leaves_no_file_and_one_that_is_interrupted_does(place):
    with living(place, "done", ""):
        assert is_held(place.nights / "done")
    with pytest.raises(ValueError, match="failed"), living(place, "failed", ""):
        raise ValueError("failed")
    with pytest.raises(KeyboardInterrupt), living(place, "interrupted", ""):
        raise KeyboardInterrupt
    assert [path.name for path in place.nights.iterdir()] == ["interrupted"]
    assert not is_held(place.nights / "interrupted")


def test_silence_of_other_machines_is_found_by_prefect(server):
    aftermath.watch_heartbeats(server.client)
    aftermath.watch_heartbeats(server.client)
    (found,) = server.client.read_automations_by_name(aftermath.HEARTBEATS)
    assert (found.enabled, found.trigger.within, found.actions[0].state.value) == (True, aftermath.SILENCE, "CRASHED")
