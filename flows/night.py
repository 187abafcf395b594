"""A night: new images are ingested, validated, learned, evaluated against all the past, judged, and registered if
little is forgotten.

The steps are plain functions in `tasks/`; here is only how they run: in which order, with which retries, and what a
person sees of them in Prefect. One night at a time works in a workspace: a second waits, see `tasks/workspace/lock.py`.
"""

import logging
import os
import time
from datetime import date
from pathlib import Path

from prefect import flow, runtime, settings
from pydantic import BaseModel, ConfigDict, Field

from dataset.deliveries.items import printable
from flows import artifacts, failures
from flows.servers import aftermath
from flows.steps import step
from models.strategies.names import Strategy
from records.batch import Arrival
from records.errors import Unavailable, UnreadableBatch
from records.experience import Experience, Report
from records.registration import Beginning, Night, Registration, RunFile
from records.renamed import what_to_write
from records.scores import ScoreMatrix
from records.training import TrainingLog
from records.verdict import Verdict
from serving import reload
from tasks import stages
from tasks.ingest import inbox
from tasks.ingest.readiness import CLOCK, Clock, settle
from tasks.params import params
from tasks.params.sections import renamed_in
from tasks.quarantine import store
from tasks.update import launch
from tasks.workspace import local_data
from tasks.workspace.lock import workspace_lock
from tasks.workspace.versions import snapshot_of, start_of
from tasks.workspace.workspace import Workspace

log = logging.getLogger("retain")


class Request(BaseModel):
    """What a person may decide for one night; all else is in params.yaml."""

    model_config = ConfigDict(extra="forbid")

    strategy: Strategy = Field("as configured", title="Strategy", description="How this night learns.")
    epochs: float | None = Field(None, title="Epochs", gt=0, le=1000, description="Passes over the new images.")
    memory: int | None = Field(None, title="Memory", ge=0, le=10_000_000, description="Images that are remembered.")
    hold: bool = Field(False, title="Hold for a person", description="Even if accepted, wait for `retain approve`.")

    def overrides(self) -> dict[str, object]:
        """Values that replace those of params.yaml, by dotted name."""
        chosen = {
            "update.strategy.name": None if self.strategy == "as configured" else self.strategy,
            "update.budget.epochs": self.epochs,
            "update.memory.size": self.memory,
        }
        return {name: value for name, value in chosen.items() if value is not None}


AS_CONFIGURED = Request()


def run_name() -> str:
    """What Prefect's pages call this night."""
    return f"night of {runtime.flow_run.parameters.get('arrived') or date.today()}"


@flow(name="night", flow_run_name=run_name, log_prints=False)
def night(request: Request = AS_CONFIGURED, workspace: str = "", arrived: date | None = None) -> Night:
    """Take what arrived, learn what is pending, register what is good enough.

    Args:
        request: What to do differently from params.yaml, this night alone.
        workspace: Folder of the workspace. Empty: RETAIN_WORKSPACE, or the working directory.
        arrived: Day that tonight's deliveries are filed under. Empty: today.
    """
    log.setLevel(logging.INFO)  # Else nothing but warnings would reach Prefect's pages.
    failures.tell_in_sentences()
    day, watch = arrived or date.today(), Stopwatch()
    place = Workspace.open(Path(workspace or os.environ.get("RETAIN_WORKSPACE") or "."))
    run, api = str(runtime.flow_run.id), str(settings.PREFECT_API_URL.value())
    with (
        aftermath.living(place, run, api),
        workspace_lock(place, f"the night of {day}", patient=True),
        local_data.bounded_cache(place),
    ):
        aftermath.tend(place)
        launch.check(params.check_start(place, request.overrides()).update)
        if outdated := what_to_write(renamed_in(place.params)):
            log.warning(outdated)
        arrivals, unreadable, waiting = take_all(place, day)
        watch.lap("ingest")
        parent, learned = champion_step(place)
        experiences, reports, beginning = admit(place, parent, learned, request)
        watch.lap("validate")
        idle = Night(outcome="nothing to learn", beginning=beginning)
        result = learn(place, experiences, request, day, watch) if experiences else idle
    record = result.model_copy(
        update={
            "arrivals": arrivals,
            "unreadable": unreadable,
            "waiting": waiting,
            "quarantined": tuple(report for report in reports if not report.admitted),
            "refusals": tuple(report for report in reports if report.admitted and report.faulty_rows()),
            "parent": parent,
            "day": day,
            "seconds": watch.total(),
        }
    )
    artifacts.show_night(record)
    artifacts.rename(record)
    return record


def learn(
    place: Workspace, experiences: tuple[Experience, ...], request: Request, day: date, watch: "Stopwatch"
) -> Night:
    """Update, evaluate, judge, register: the part of a night that needs something to learn."""
    trained = update_step(place)
    watch.lap("update")
    matrix = evaluate_step(place)
    watch.lap("evaluate")
    verdict = judge_step(place)
    watch.lap("judge")
    keep_step(place, verdict)
    watch.lap("keep")
    registration = register_step(place, matrix, verdict, day, request.hold, watch.seconds, trained)
    return Night(
        outcome="held" if verdict.decision == "accept" and not registration.champion else verdict.decision,
        learned=tuple(e.batch for e in experiences),
        scores=matrix,
        deliveries=stages.deliveries_of(place, matrix),
        verdict=verdict,
        registration=registration,
    )


class Stopwatch:
    """How long each step took, in seconds, for those who compare versions."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.began = self.last = time.monotonic()

    def lap(self, name: str) -> None:
        """What was done since the last lap was `name`."""
        now = time.monotonic()
        self.seconds[name] = round(now - self.last, 3)
        self.last = now

    def total(self) -> float:
        """Seconds since the beginning."""
        return round(time.monotonic() - self.began, 1)


def take_all(
    place: Workspace, day: date, clock: Clock = CLOCK
) -> tuple[tuple[Arrival, ...], dict[str, str], dict[str, str]]:
    """Ingest every delivery in the inbox that is ready. The others stay there, each with its reason: those that cannot
    become a batch, and those that still change.
    """
    arrivals, unreadable = [], {}
    store.finish(place)
    inbox.finish_taking(place)
    ready, left = settle(inbox.waiting(place), params.params_of(place).ingest.settle_seconds, clock, log.info)
    waiting = {printable(delivery.name): why.sentence() for delivery, why in left.items()}
    # Asked last: a manifest may come while a folder settles.
    named = inbox.named_beside(place)
    waiting |= {printable(delivery.name): sentence for delivery, sentence in named.items()}
    for name, sentence in waiting.items():
        log.warning("%s is left to the next night: it %s", name, sentence)
    for delivery in (delivery for delivery in ready if delivery not in named):
        try:
            arrivals.append(ingest_step(place, delivery, day))
        except UnreadableBatch as reason:
            log.warning("%s stays in the inbox: %s", printable(delivery.name), printable(str(reason)))
            unreadable[printable(delivery.name)] = printable(str(reason))
        except Unavailable as error:
            if not arrivals:
                raise
            before = ", ".join(arrival.delivery for arrival in arrivals)
            raise Unavailable(f"{error} Taken before it, and pending: {before}.") from error
    unreadable |= inbox.finish_taking(place)
    return tuple(arrivals), unreadable, waiting


def admit(
    place: Workspace, parent: int, learned: tuple[str, ...], request: Request
) -> tuple[tuple[Experience, ...], tuple[Report, ...], Beginning | None]:
    """Validate all that is pending. What passes is named in run.json, unless it waits for more, as the first version
    may; what does not pass goes to quarantine.
    """
    run = RunFile(parent=parent, batches=store.pending(place, learned), overrides=request.overrides())
    if not run.batches:
        return (), (), None
    experiences, reports = validate_step(place, run)
    beginning = None if learned or not experiences else stages.beginning(place, experiences)
    if beginning is not None:
        log.info(beginning.sentence())
        return (), reports, beginning
    if experiences:
        attempt = attempt_step(place, run, experiences)
        run.model_copy(update={"batches": tuple(e.batch for e in experiences), "attempt": attempt}).write(place.run)
    return experiences, reports, None


@step("ingest", run_name="ingest {delivery.name}")
def ingest_step(place: Workspace, delivery: Path, day: date) -> Arrival:
    """A delivery becomes an immutable batch in DVC."""
    name = printable(delivery.name)
    log.info("ingest %s", name)
    progress = artifacts.narrate(f"ingest {name}")
    return inbox.take(place, delivery, day, params.params_of(place).ingest, progress)


@step("champion")
def champion_step(place: Workspace) -> tuple[int, tuple[str, ...]]:
    """The version to start from, and the batches that it has learned."""
    if sentence := place.replaced():
        log.warning(sentence)
    version = start_of(place)
    stages.forget_unfinished(place)
    return version, tuple(e.batch for e in snapshot_of(place, version).experiences)


@step("attempt")
def attempt_step(place: Workspace, run: RunFile, experiences: tuple[Experience, ...]) -> int:
    """How often these data were tried on top of this parent: the verdict must be the surer."""
    return stages.attempt_of(place, run, experiences)


@step("validate")
def validate_step(place: Workspace, run: RunFile) -> tuple[tuple[Experience, ...], tuple[Report, ...]]:
    """Each pending batch passes validation or goes to quarantine; of one that passes, images may stay behind."""
    log.info("validate %s", ", ".join(run.batches))
    params.keep_params(place)
    experiences, reports = stages.run_validate(place, run)
    for report in reports:
        artifacts.show_report(report)
    store.file(place, reports)
    return experiences, reports


@step("update")
def update_step(place: Workspace) -> TrainingLog:
    """The parent learns the new experiences; gives how the training went."""
    log.info("update")
    reload.warm()
    with artifacts.progress("training") as progress:
        return stages.run_update(place, progress)[1]


@step("evaluate")
def evaluate_step(place: Workspace) -> ScoreMatrix:
    """The candidate is scored on everything it ever learned."""
    log.info("evaluate")
    matrix = stages.run_evaluate(place)
    artifacts.show_scores(matrix, stages.deliveries_of(place, matrix))
    artifacts.show_masks(place.worst_masks)
    return matrix


@step("judge")
def judge_step(place: Workspace) -> Verdict:
    """May the candidate become the champion?"""
    log.info("judge")
    verdict = stages.run_judge(place)
    artifacts.show_verdict(verdict, stages.deliveries_of(place, stages.read_matrix(place)))
    return verdict


@step("keep")
def keep_step(place: Workspace, verdict: Verdict) -> None:
    """What was made goes into DVC and Git, so that `dvc repro` agrees with this night."""
    log.info("keep")
    stages.run_keep(place, verdict)


@step("register")
def register_step(
    place: Workspace,
    matrix: ScoreMatrix,
    verdict: Verdict,
    day: date,
    hold: bool,
    seconds: dict[str, float],
    trained: TrainingLog,
) -> Registration:
    """Every night is logged; an accepted candidate becomes the champion."""
    log.info("register")
    return stages.run_register(place, matrix, verdict, day, hold, seconds, trained)
