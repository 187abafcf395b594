"""The whole way on drawn shapes: a week of nights, and a night that is killed wherever it hurts."""

import multiprocessing
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from adapters.datastore import DataStore
from records.errors import Busy, WrongParameters
from records.registration import Night
from records.snapshot import Snapshot
from tasks.creation import create
from tasks.overview import Status, approve_run, status_of
from tasks.stages import registry_of, version_folder
from tasks.workspace import Workspace

KILLED = Path(__file__).with_name("killed_night.py")
PARAMS = """
ingest: {test_share: 0.5}
validate: {}
update: {network: {name: mlp}, memory: {size: 200}, budget: {least_steps: 60}}
evaluate: {}
judge: {name: paired_score}
"""
SHAPES, OTHERS = {"bar": 300, "column": 300}, {"cross": 300, "square": 300}
Deliver = Callable[..., Path]


def workspace_at(root: Path) -> Workspace:
    workspace = create(root)
    workspace.params.write_text(PARAMS)
    return workspace


def run_night(workspace: Workspace, day: int, **request: object) -> Night:
    from flows.night import Request, night

    return night(Request.model_validate(request), str(workspace.root), date(2026, 3, day))


def clean(workspace: Workspace) -> bool:
    """True if Git and DVC have nothing to say of the workspace: all that was made is recorded."""
    git = ["git", "status", "--porcelain", "--untracked-files=no"]
    dvc = [sys.executable, "-m", "dvc", "status", "--quiet"]
    changed = subprocess.run(git, cwd=workspace.root, capture_output=True, text=True, check=True).stdout
    return not changed.replace(" M params.yaml\n", "") and subprocess.run(dvc, cwd=workspace.root).returncode == 0


@dataclass(frozen=True)
class Seen:
    """A night and how the workspace stood after it."""

    night: Night
    status: Status
    run_file: str


@dataclass(frozen=True)
class Week:
    workspace: Workspace
    first: Seen
    second: Seen
    harmful: Seen
    repaired: Seen
    repeated: Seen
    held: Seen
    approved: int
    idle: Seen


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory, prefect: str, deliver: Deliver) -> Week:
    workspace = workspace_at(tmp_path_factory.mktemp("week") / "workspace")
    inbox = workspace.inbox

    def night(day: int, **request: object) -> Seen:
        told = run_night(workspace, day, **request)
        return Seen(told, status_of(workspace), workspace.run.read_text())

    deliver(inbox / "shapes", SHAPES, 0)
    first = night(2)
    deliver(inbox / "others", OTHERS, 1)
    for file in sorted(deliver(inbox / "scanner", {"bar": 40}, 2).rglob("*.png"))[::4]:
        file.write_bytes(file.read_bytes()[:60])
    (inbox / "empty" / "bar").mkdir(parents=True)
    second = night(3)
    shutil.rmtree(inbox / "empty")
    deliver(inbox / "again", SHAPES, 3)
    harmful = night(4, strategy="finetune")
    repaired = night(5)
    registry_of(workspace).rollback(2)
    repeated = night(6)
    deliver(inbox / "late", OTHERS, 4)
    held = night(7, hold=True)
    assert held.night.registration is not None
    approved = approve_run(workspace, held.night.registration.run[:8], "a person", "looked at it", overrule=False)
    return Week(workspace, first, second, harmful, repaired, repeated, held, approved, night(8))


def test_a_good_batch_becomes_the_first_version(week: Week) -> None:
    night, status = week.first.night, week.first.status
    assert night.outcome == "accept"
    assert night.registration is not None
    assert (night.registration.version, night.registration.champion) == (1, True)
    assert status.champion is not None
    assert status.champion.aliases == ("champion",)
    assert status.learned == night.learned == tuple(a.batch.id for a in night.arrivals)
    assert (status.pending, status.inbox) == ((), ())
    assert night.sentence().endswith("Registered as v1.")


def test_a_version_names_its_lineage(week: Week) -> None:
    registry, store = registry_of(week.workspace), DataStore(week.workspace.root)
    one, two = registry.versions()[:2]
    assert [v.run.parent for v in (one, two)] == [0, 1]
    assert [v.run.batches for v in (one, two)] == [week.first.night.learned, week.second.night.learned]
    assert one.run.data_revision != two.run.data_revision
    assert "champion" in week.second.status.champion.aliases  # type: ignore[union-attr]
    # The commit that a version names is the one to learn it again from.
    at_that_time = subprocess.run(
        ["git", "show", f"{two.run.commit}:run.json"], cwd=store.root, capture_output=True, text=True, check=True
    ).stdout
    assert at_that_time == week.second.run_file


def test_a_version_keeps_what_it_was_judged_by(week: Week) -> None:
    folder = version_folder(week.workspace, 2)
    assert folder is not None
    assert {p.name for p in folder.iterdir()} == {"snapshot", "evaluation"}
    facts = registry_of(week.workspace).versions()[1].run
    assert {"average", "seconds/ingest", "seconds/update", "learned/mean"} & set(facts.metrics) >= {
        "average", "seconds/ingest", "seconds/update",
    }  # fmt: skip


def test_a_second_night_is_learned_on_top_of_the_first(week: Week) -> None:
    night = week.second.night
    assert (night.outcome, night.parent) == ("accept", 1)
    assert night.registration is not None
    assert night.registration.version == 2
    assert night.scores is not None
    assert night.scores.experiences == (*week.first.night.learned, *night.learned)


def test_a_bad_batch_goes_to_quarantine_and_the_good_one_goes_on(week: Week) -> None:
    night = week.second.night
    (report,) = night.quarantined
    assert report.source == "scanner"
    assert not set(night.learned) & {report.batch}
    folder = week.workspace.quarantine / report.batch
    assert {p.name for p in folder.iterdir()} == {"report.json", "report.html"}
    assert "truncated" in (folder / "report.html").read_text()
    assert [r.batch for r in week.idle.status.quarantine] == [report.batch]


def test_what_cannot_become_a_batch_stays_in_the_inbox_with_its_sentence(week: Week) -> None:
    assert list(week.second.night.unreadable) == ["empty"]
    assert "empty" in week.second.night.unreadable["empty"]
    assert week.second.status.inbox == ("empty",)


def test_a_harmful_update_is_refused_by_its_scores_and_its_data_stay_pending(week: Week) -> None:
    night, status = week.harmful.night, week.harmful.status
    assert night.outcome == "refuse"
    assert night.verdict is not None
    forgotten = night.verdict.find("forgotten")
    assert forgotten is not None
    assert forgotten.lower > forgotten.limit
    assert night.registration is not None
    assert (night.registration.version, night.registration.champion) == (None, False)
    assert status.champion is not None
    assert status.champion.number == 2
    assert status.pending == night.learned
    assert night.sentence().endswith("Its data stay pending.")


def test_the_following_night_learns_what_was_refused(week: Week) -> None:
    night = week.repaired.night
    assert (night.outcome, night.arrivals, night.parent) == ("accept", (), 2)
    assert night.learned == week.harmful.night.learned
    assert week.repaired.status.champion is not None
    assert week.repaired.status.champion.number == 3


def test_a_version_that_was_rolled_back_is_not_promoted_again_by_the_same_night(week: Week) -> None:
    night, status = week.repeated.night, week.repeated.status
    assert (night.outcome, night.parent, night.learned) == ("held", 2, week.repaired.night.learned)
    assert night.registration is not None
    assert (night.registration.version, night.registration.champion) == (3, False)
    assert "v3, from which a person went back" in night.sentence()
    assert status.champion is not None
    assert status.champion.number == 2
    assert status.pending == night.learned


def test_after_a_rollback_the_night_starts_from_the_older_version(week: Week) -> None:
    night = week.held.night
    assert night.parent == 2
    assert night.learned == (*week.repaired.night.learned, *(a.batch.id for a in night.arrivals))


def test_a_night_that_is_held_waits_for_a_person(week: Week) -> None:
    night, status = week.held.night, week.held.status
    assert night.outcome == "held"
    assert night.registration is not None
    assert night.registration.version is None
    assert f"`retain approve {night.registration.run}`" in night.sentence()
    assert status.champion is not None
    assert (status.champion.number, status.pending) == (2, night.learned)


def test_a_person_lets_it_in_and_that_is_kept(week: Week) -> None:
    champion = week.idle.status.champion
    assert champion is not None
    assert (champion.number, champion.run.parent) == (week.approved, 2) == (4, 2)
    assert (champion.run.approved_by, champion.run.approval_note) == ("a person", "looked at it")
    assert week.idle.status.pending == ()


def test_a_night_with_nothing_to_learn_says_so_in_seconds(week: Week) -> None:
    night = week.idle.night
    assert (night.outcome, night.sentence()) == ("nothing to learn", "Nothing to learn: no batch is pending.")
    assert night.seconds < 10
    assert week.idle.run_file == week.held.run_file
    assert clean(week.workspace)


def test_two_nights_at_once_are_one_too_many(week: Week, prefect: str) -> None:
    from flows.night import alone

    with alone(week.workspace), pytest.raises(Busy, match="Another night is at work"):
        run_night(week.workspace, 9)
    assert last_flow_run("Failed")[1].startswith("Flow run encountered an exception: Busy: Another night is at work")


def test_a_failing_step_fails_the_night_with_its_sentence(tmp_path: Path, prefect: str) -> None:
    workspace = workspace_at(tmp_path / "workspace")
    workspace.params.write_text(PARAMS.replace("memory", "memroy"))
    with pytest.raises(WrongParameters) as raised:
        run_night(workspace, 10)
    name, message = last_flow_run("Failed")
    assert name == "night of 2026-03-10"
    assert str(raised.value) in message
    assert "`update.memroy` is not a parameter; did you mean `memory`?" in message


def last_flow_run(state: str) -> tuple[str, str]:
    """Name and message of the latest flow run, as Prefect's pages show them."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        run = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)[0]
    assert run.state is not None
    assert run.state.name == state
    return run.name, run.state.message or ""


@pytest.fixture(scope="module")
def kill(prefect: str):
    """Runs a night in a fresh process up to the call of a function, and kills it there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flows.night", "mlflow.pyfunc", "great_expectations", "torch._dynamo"])

    def kill(workspace: Workspace, day: int, point: str, call: int = 1) -> None:
        order = (str(workspace.root), date(2026, 3, day), point, call)
        process = context.Process(target=runpy.run_path, args=(str(KILLED), {"ORDER": order}, "__main__"))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL

    return kill


def weights(workspace: Workspace, version: int) -> tuple[str, str]:
    """Identity of a version, and SHA-256 of its weights."""
    folder = version_folder(workspace, version)
    assert folder is not None
    snapshot = Snapshot.read(folder / "snapshot" / "snapshot.json")
    return snapshot.identity, snapshot.files["weights.safetensors"]


def test_a_night_that_is_killed_anywhere_ends_as_if_it_never_was(
    tmp_path: Path, week: Week, deliver: Deliver, kill: Callable[..., None]
) -> None:
    workspace = workspace_at(tmp_path / "workspace")
    registry = registry_of(workspace)

    deliver(workspace.inbox / "shapes", SHAPES, 0)
    kill(workspace, 2, "adapters.datastore.DataStore.commit_data")
    assert len(list(workspace.batches.iterdir())) == 1, "written"
    assert not (workspace.root / "data.dvc").exists(), "not committed"
    assert status_of(workspace).inbox == ("shapes",)
    kill(workspace, 2, "torch.nn.functional.cross_entropy", call=30)
    assert workspace.run_file().batches == week.first.night.learned
    assert not (workspace.candidate / "snapshot.json").exists()
    assert run_night(workspace, 2).outcome == "accept"
    assert weights(workspace, 1) == weights(week.workspace, 1)

    deliver(workspace.inbox / "others", OTHERS, 1)
    kill(workspace, 3, "tasks.stages.run_keep")
    assert workspace.verdict.exists()
    assert len(registry.runs()) == 1, "judged, but not yet told"
    kill(workspace, 3, "mlflow.MlflowClient.set_registered_model_alias", call=2)
    assert [len(registry.runs()), len(registry.versions()), registry.champion()] == [2, 2, 1]
    kill(workspace, 3, "mlflow.MlflowClient.set_model_version_tag")
    assert registry.champion() == 2
    assert run_night(workspace, 3).outcome == "nothing to learn"

    assert weights(workspace, 2) == weights(week.workspace, 2)
    assert [len(registry.runs()), len(registry.versions()), registry.champion()] == [2, 2, 2]
    status = status_of(workspace)
    assert (status.inbox, status.pending) == ((), ())
    assert status.learned == week.second.status.learned
    assert clean(workspace)
