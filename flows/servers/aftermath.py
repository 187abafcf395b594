"""What is done for a night that cannot do it itself any more: Prefect hears how it ended, and it gets another chance.

A night holds a file of the workspace while it lives (`tasks/workspace/lock.py`), named after its flow run. So whether
it lives is no guess, and no night of another machine or workspace is ever touched. Left alone, Prefect says *Running*
of a night whose worker or server died with it, for ever, and *Cancelling* of one that a person gave up, and keeps the
slot of its deployment.

ended without a word   Crashed, its steps too; the slot is free
Cancelling             ended, if nobody else ends it, and Cancelled
Crashed                started again by a worker, three times at most; what it had learned is not learned twice
"""

import logging
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tasks.workspace.lock import holder, is_held, turn
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State

log = logging.getLogger("retain")

CHANCES = 3
"""How often a night is started again that ended unexpectedly."""
RECENT = timedelta(days=1)
"""A night that ended longer ago is not started again: others came after it."""
SETTLED = timedelta(minutes=1)
"""What a step tells Prefect has arrived so long after its night ended."""
WORKERS_WORD = timedelta(seconds=10)
"""Within that time a worker has told Prefect how its night died."""
RELEASED = timedelta(minutes=1)
"""So long after its night died a worker has let go of it. Meanwhile it asks the flow for hooks, which takes as long as
its imports; a worker that is given a night again which it still holds ends with an error."""
STARTING = timedelta(minutes=5)
"""A night that is started again, whose file is there already, may take so long to import its libraries."""
ASKED, KILLED = timedelta(seconds=3), timedelta(seconds=8)
"""How long after a person cancels it a night that lives is asked to end, and killed."""
HEARTBEATS, SILENCE = "Nights whose heartbeat stops have crashed", timedelta(minutes=5)
"""Ten heartbeats (PREFECT_FLOWS_HEARTBEAT_FREQUENCY): a night that only stands still for a while is not meant."""
LAST_WORDS = 8.0
"""Seconds that a night has to end before its Prefect server does."""
AT_WORK, OVER = ("PENDING", "RUNNING", "CANCELLING"), ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
"""Types of Prefect's states."""
WITHOUT_A_WORD = "It ended without a word: it was killed, or the machine went down. What it has learned is kept."
STOPPED = "It was interrupted when `retain ui` was stopped. What it has learned is kept."
CANCELLED = "Cancelled. What it has learned is kept for the next night."


@contextmanager
def connected(**settings: str) -> Iterator["SyncPrefectClient"]:
    """A client of the Prefect server that these settings name. It does not insist: the next round comes soon."""
    from prefect import settings as known
    from prefect.client.orchestration import get_client

    values = {"PREFECT_CLIENT_MAX_RETRIES": "0", "PREFECT_API_REQUEST_TIMEOUT": "10", **settings}
    with (
        known.temporary_settings({getattr(known, name): value for name, value in values.items()}),
        get_client(sync_client=True) as client,
    ):
        yield client


@contextmanager
def living(place: Workspace, run: str, api: str) -> Iterator[None]:
    """In here, the night of this flow run lives; `api` is the address of the Prefect server that it talks to."""
    path = place.nights / run
    with turn(path, api, patient=True):
        try:
            yield
        except Exception:
            # It goes on to tell Prefect so by itself. What is no Exception, as a signal, may not leave it the time.
            path.unlink()
            raise
        path.unlink()


def tend(place: Workspace, began: datetime | None = None, **settings: str) -> None:
    """Look after the nights of a workspace once, with the Prefect server that is set; see `Care`."""
    with connected(**settings) as client:
        Care(place, client, worker=False, began=began).round()


class Care:
    """Looks after the nights of one workspace, as one Prefect server knows them, round by round."""

    def __init__(
        self, place: Workspace, client: "SyncPrefectClient", worker: bool, began: datetime | None = None
    ) -> None:
        """`worker`: one is there, which can start crashed nights again, and sees its own nights die.

        `began`: when the server was started, if it is the workspace's own. Nobody can have used it before.
        """
        self.place, self.client, self.worker = place, client, worker
        self._began = began
        self._since = datetime.now(UTC)
        self._dead: dict[Path, float] = {}
        self._ending = False
        self._stopped: frozenset[Path] = frozenset()
        self._met: set[UUID] = set()

    def _first(self, began: datetime) -> None:
        """Runs that claim to be at work since before are dead, also those that did not come to hold a file; and steps
        that are left of nights that are over end, too.
        """
        for run in self.client.read_flow_runs(flow_run_filter=_runs(AT_WORK)):
            path = self.place.nights / str(run.id)
            if run.state is not None and run.state.timestamp < began and not is_held(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                self._bury(run)
        self._end_steps(_runs(OVER, end_time={"before_": began - SETTLED}))
        watch_heartbeats(self.client)

    def round(self) -> None:
        """Look after the nights that left a file. What Prefect does not answer is asked again in the next round."""
        from httpx import HTTPError
        from prefect.exceptions import ObjectNotFound

        with suppress(HTTPError):
            if self._began is not None:
                self._first(self._began)
                self._began = None
            if self.worker:
                self._meet_the_crashed()
            for path in _files(self.place):
                # Whoever talked to another Prefect server is looked after there.
                with suppress(ObjectNotFound):
                    self._look_after(path, self.client.read_flow_run(UUID(path.name)))

    def _meet_the_crashed(self) -> None:
        """A night that died before it came to hold a file, as while it imported its libraries, has its chances, too."""
        ours, lately = {"is_null_": False}, {"after_": datetime.now(UTC) - RECENT}
        for run in self.client.read_flow_runs(flow_run_filter=_runs(["CRASHED"], deployment_id=ours, end_time=lately)):
            if run.id not in self._met:
                self._met.add(run.id)
                self.place.nights.mkdir(parents=True, exist_ok=True)
                (self.place.nights / str(run.id)).touch()

    def end_all(self, api: str) -> None:
        """End every night that talks to the Prefect server at `api`, which is about to stop; see `last_round`."""
        self._stopped = frozenset(end_all(self.place, api))

    def last_round(self) -> None:
        """The worker has ended and the server is about to stop: the last chance to record how the nights ended."""
        self.worker, self._ending = False, True
        self.round()

    def _look_after(self, path: Path, run: "FlowRun") -> None:
        if run.state is None:
            return
        kind, age = run.state.type.value, datetime.now(UTC) - run.state.timestamp
        if is_held(path):
            self._dead.pop(path, None)
            if kind == "CANCELLING":
                _insist(path, age, started_by_hand=run.deployment_id is None)
        elif kind == "CANCELLING" or (kind in AT_WORK and not self._starts(kind, age) and self._has_been_dead(path)):
            self._bury(run)
        elif kind == "CRASHED" and (age > WORKERS_WORD or not self.worker):
            self._wake(path, run)
        elif kind not in (*AT_WORK, "CRASHED", "SCHEDULED"):
            path.unlink(missing_ok=True)

    def _starts(self, kind: str, age: timedelta) -> bool:
        return kind == "PENDING" and age < STARTING and not self._ending

    def _has_been_dead(self, path: Path) -> bool:
        """A worker that sees its night die says of what, and is not to be interrupted."""
        since = self._dead.setdefault(path, time.monotonic())
        return not self.worker or time.monotonic() - since > WORKERS_WORD.total_seconds()

    def _bury(self, run: "FlowRun") -> None:
        from prefect.states import Cancelled, Crashed

        given_up = run.state is not None and run.state.type.value == "CANCELLING"
        why = STOPPED if self.place.nights / str(run.id) in self._stopped else WITHOUT_A_WORD
        end: State[Any] = Cancelled(message=CANCELLED) if given_up else Crashed(message=why)
        log.warning("%s: %s", run.name, end.message)
        self.client.set_flow_run_state(run.id, end, force=True)
        self._end_steps(_one(run))

    def _wake(self, path: Path, run: "FlowRun") -> None:
        """Start a crashed night again, unless a person gave it up, nobody can start it, or it was often enough."""
        from prefect.states import AwaitingRetry, Cancelled

        self._end_steps(_one(run))
        states = sorted(self.client.read_flow_run_states(run.id), key=lambda state: state.timestamp)
        kinds = [state.type.value for state in states]
        crashes = _crashes(kinds)
        if "CANCELLING" in kinds[_last(kinds, "SCHEDULED") :]:
            self.client.set_flow_run_state(run.id, Cancelled(message=CANCELLED), force=True)
        elif run.deployment_id is not None and run.end_time is not None and datetime.now(UTC) - run.end_time < RECENT:
            if crashes > CHANCES:
                log.error("%s ended unexpectedly %d times, and is not started again.", run.name, crashes)
            elif not self.worker:
                return
            else:
                message = f"Started again, {crashes} of {CHANCES}: it ended unexpectedly."
                log.warning("%s: %s", run.name, message)
                taken = max(state.timestamp for state in states if state.type.value in AT_WORK)
                pause = RELEASED if taken > self._since else timedelta(0)
                chance: State[Any] = AwaitingRetry(message=message, scheduled_time=datetime.now(UTC) + pause)
                self.client.set_flow_run_state(run.id, chance, force=True)
                # It keeps its file: a busy worker may say once more that it crashed, and take the chance back.
                return
        path.unlink(missing_ok=True)

    def _end_steps(self, runs: Any) -> None:
        from prefect.client.schemas.filters import TaskRunFilter
        from prefect.states import Crashed

        unfinished = TaskRunFilter.model_validate({"state": {"type": {"any_": [*AT_WORK, "SCHEDULED"]}}})
        for step in self.client.read_task_runs(flow_run_filter=runs, task_run_filter=unfinished):
            self.client.set_task_run_state(step.id, Crashed(message=WITHOUT_A_WORD), force=True)


def end_all(place: Workspace, api: str) -> list[Path]:
    """End every night that talks to the Prefect server at `api`, and kill those that do not end; gives their files."""
    nights = [path for path in _files(place) if is_held(path) and (who := holder(path)) and who.what == api]
    for path in nights:
        _send(path, signal.SIGTERM)
    deadline = time.monotonic() + LAST_WORDS
    while any(map(is_held, nights)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for path in nights:
        _send(path, signal.SIGKILL)
    return nights


def _files(place: Workspace) -> list[Path]:
    found = sorted(place.nights.iterdir()) if place.nights.is_dir() else []
    return [path for path in found if _names_a_run(path.name)]


def _names_a_run(name: str) -> bool:
    """Whatever else lies there, such as what an editor or a file manager leaves, is nobody's night."""
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def _insist(path: Path, since: timedelta, started_by_hand: bool) -> None:
    """A worker ends the nights that it started by itself, but not those that do not listen; by hand, nobody does."""
    if since > KILLED:
        _send(path, signal.SIGKILL)
    elif since > ASKED and started_by_hand:
        _send(path, signal.SIGTERM)


def _last(kinds: list[str], kind: str) -> int:
    return max((place for place, found in enumerate(kinds) if found == kind), default=0)


def _crashes(kinds: Iterable[str]) -> int:
    """How often a run crashed; a crash that was reported twice counts once, even if the second report came late."""
    return sum(kind == "CRASHED" and before in AT_WORK for before, kind in pairwise(["", *kinds]))


def _runs(kinds: Iterable[str], **which: object) -> Any:
    from prefect.client.schemas.filters import FlowRunFilter

    return FlowRunFilter.model_validate({"state": {"type": {"any_": list(kinds)}}, **which})


def _one(run: "FlowRun") -> Any:
    from prefect.client.schemas.filters import FlowRunFilter

    return FlowRunFilter.model_validate({"id": {"any_": [run.id]}})


def _send(path: Path, number: int) -> None:
    who = holder(path)
    # Held: the process of that number is the one that wrote it.
    if who is not None and is_held(path):
        with suppress(ProcessLookupError):
            os.kill(who.process, number)


def watch_heartbeats(client: "SyncPrefectClient") -> None:
    """Let Prefect itself find nights that leave no file here, those of other machines: their heartbeats stop."""
    from prefect.automations import AutomationCore, EventTrigger, Posture
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState

    if client.read_automations_by_name(HEARTBEATS):
        return
    events = ("heartbeat", "Completed", "Failed", "Crashed", "Cancelled")
    silence = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={f"prefect.flow-run.{event}" for event in events},
        match={"prefect.resource.id": ["prefect.flow-run.*"]},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=SILENCE,
    )
    crash = ChangeFlowRunState(state=StateType.CRASHED, message=WITHOUT_A_WORD)
    client.create_automation(AutomationCore(name=HEARTBEATS, trigger=silence, actions=[crash]))
