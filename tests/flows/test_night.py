"""The whole way on drawn shapes: a week of nights, the same night by DVC, and one that is killed wherever it hurts."""

import contextlib
import multiprocessing
import os
import runpy
import shutil
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from adapters.datastore import DataStore
from records.errors import Unavailable, WrongInput, WrongParameters
from records.registration import Night
from records.snapshot import Snapshot
from records.verdict import Verdict
from tasks.approve import approve_run
from tasks.queries.status import Status, status_of
from tasks.workspace.lock import workspace_lock
from tasks.workspace.versions import registry_of, version_folder
from tasks.workspace.workspace import Workspace

KILLED = Path(__file__).with_name("killed_night.py")
SHAPES, OTHERS = {"bar": 300, "column": 300}, {"cross": 300, "square": 300}


@dataclass(frozen=True)
class Seen:
    """A night, and how the workspace stood after it."""

    night: Night
    status: Status
    run_file: str
    """Content of run.json."""
    experiences: tuple[str, ...]
    """Batches whose experiences lie below night/."""


@dataclass(frozen=True)
class Week:
    """Some nights of one workspace; only `later` alters it."""

    workspace: Workspace
    first: Seen
    second: Seen
    """With a good batch, a bad one, and something that cannot become a batch."""
    harmful: Seen
    """By plain fine-tuning."""
    repaired: Seen
    idle: Seen


@dataclass(frozen=True)
class Later:
    """How the week went on, in its workspace."""

    spoilt: Seen
    """With nothing but a bad batch."""
    repeated: Seen
    """After a rollback, with nothing else new."""
    held: Seen
    """After it, a person approved."""
    idle: Seen


@pytest.fixture(scope="module")
def see(run_night):
    """`see(workspace, 3, strategy="joint")` runs a night and looks at what it left."""

    def see(workspace: Workspace, day: int, **request: object) -> Seen:
        result = run_night(workspace, day, **request)
        kept = tuple(sorted(path.stem for path in workspace.experiences.iterdir()))
        return Seen(result, status_of(workspace), workspace.run.read_text(), kept)

    return see


@pytest.fixture(scope="module")
def deliver_truncated(deliver):
    def write(folder: Path, seed: int) -> None:
        for file in sorted(deliver(folder, {"bar": 40}, seed).rglob("*.png"))[::4]:
            file.write_bytes(file.read_bytes()[:60])

    return write


@pytest.fixture(scope="module")
def week(tmp_path_factory, deliver, deliver_truncated, new_workspace, see) -> Week:
    workspace = new_workspace(tmp_path_factory.mktemp("week") / "workspace")
    inbox = workspace.inbox
    deliver(inbox / "shapes", SHAPES, 0)
    first = see(workspace, 2)
    deliver(inbox / "others", OTHERS, 1)
    deliver_truncated(inbox / "scanner", 2)
    (inbox / "empty" / "bar").mkdir(parents=True)
    second = see(workspace, 3)
    shutil.rmtree(inbox / "empty")
    deliver(inbox / "again", SHAPES, 3)
    harmful = see(workspace, 4, strategy="finetune")
    repaired = see(workspace, 5)
    return Week(workspace, first, second, harmful, repaired, see(workspace, 6))


@pytest.fixture(scope="module")
def later(week, deliver, deliver_truncated, see) -> Later:
    workspace = week.workspace
    deliver_truncated(workspace.inbox / "scanner-again", 4)
    spoilt = see(workspace, 11)
    registry_of(workspace).rollback(2)
    repeated = see(workspace, 12)
    deliver(workspace.inbox / "late", OTHERS, 5)
    held = see(workspace, 13, hold=True)
    approve_run(workspace, held.night.registration.run[:8], "a person", "looked at it", overrule=False)
    return Later(spoilt, repeated, held, see(workspace, 14))


@pytest.fixture
def assert_all_is_recorded(shell):
    """Git and DVC find nothing that they were not told of."""

    def look(workspace: Workspace) -> None:
        assert shell(workspace.root, "git", "status", "--porcelain") == ""
        assert "up to date" in shell(workspace.root, "dvc", "status")

    return look


def place_of(night) -> tuple[int | None, bool]:
    return night.registration.version, night.registration.champion


def test_a_good_batch_becomes_the_first_version(week):
    night, status = week.first.night, week.first.status
    assert (night.outcome, night.parent, place_of(night)) == ("accept", 0, (1, True))
    assert night.sentence().endswith("Registered as v1.")
    assert status.champion.aliases == ("champion",)
    assert status.learned == night.learned == tuple(arrival.batch.id for arrival in night.arrivals)
    assert (status.pending, status.inbox) == ((), ())


def test_a_second_night_is_learned_on_top_of_the_first(week):
    night = week.second.night
    assert (night.outcome, night.parent, place_of(night)) == ("accept", 1, (2, True))
    assert night.scores.experiences == (*week.first.night.learned, *night.learned)


def test_a_version_names_its_lineage(week, shell):
    one, two = (version.run for version in registry_of(week.workspace).versions()[:2])
    assert [run.parent for run in (one, two)] == [0, 1]
    assert [run.batches for run in (one, two)] == [week.first.night.learned, week.second.night.learned]
    assert [run.decision for run in (one, two)] == ["accept", "accept"]
    assert one.data_revision != two.data_revision
    # The commit that a version names is the one to learn it again from.
    assert shell(week.workspace.root, "git", "show", f"{two.commit}:run.json") == week.second.run_file
    assert two.data_revision in shell(week.workspace.root, "git", "show", f"{two.commit}:data.dvc")


def test_a_version_keeps_what_it_was_judged_by(week):
    run = registry_of(week.workspace).versions()[1].run
    assert run.metrics["average_accuracy"] == pytest.approx(week.second.night.scores.average())
    assert {f"seconds/{step}" for step in ("ingest", "validate", "update", "evaluate", "judge")} <= set(run.metrics)
    folder = version_folder(week.workspace, 2)
    assert (folder / "evaluation" / "outcomes.parquet").exists()
    assert (folder / "snapshot" / "weights.safetensors").exists()


def test_a_bad_batch_goes_to_quarantine_and_the_good_one_goes_on(week):
    (report,) = week.second.night.quarantined
    assert report.source == "scanner"
    assert report.batch not in week.second.night.learned
    folder = week.workspace.quarantine / report.batch
    assert {path.name for path in folder.iterdir()} == {"report.json", "report.html"}
    assert "truncated" in (folder / "report.html").read_text()
    assert report.batch in {kept.batch for kept in week.idle.status.quarantine}


def test_what_cannot_become_a_batch_stays_in_the_inbox_with_its_sentence(week):
    assert list(week.second.night.unreadable) == ["empty"]
    assert "holds no files" in week.second.night.unreadable["empty"]
    assert week.second.status.inbox == ("empty",)


def test_a_harmful_update_is_refused_by_its_scores_and_its_data_stay_pending(week):
    night, status = week.harmful.night, week.harmful.status
    forgotten = night.verdict.find("forgotten")
    assert forgotten.lower > forgotten.limit
    assert (night.outcome, place_of(night)) == ("refuse", (None, False))
    assert night.sentence().endswith("Its data stay pending.")
    assert (status.champion.number, status.pending) == (2, night.learned)


def test_the_following_night_learns_what_was_refused(week):
    night = week.repaired.night
    assert (night.outcome, night.arrivals, night.parent, place_of(night)) == ("accept", (), 2, (3, True))
    assert night.learned == week.harmful.night.learned


def test_a_night_that_tries_the_same_data_on_the_same_version_again_must_be_surer(week):
    seen = (week.second, week.harmful, week.repaired)
    assert [one.night.verdict.attempt for one in seen] == [1, 1, 2]
    assert week.repaired.night.verdict.reason.startswith("Accepted at attempt 2")
    assert '"attempt": 2' in week.repaired.run_file


@pytest.mark.slow
def test_the_same_night_again_after_a_rollback_is_the_attempt_that_it_was(later):
    assert [one.night.verdict.attempt for one in (later.repeated, later.held)] == [2, 3]


@pytest.mark.slow
def test_a_version_that_was_rolled_back_is_not_promoted_again_by_the_same_night(week, later):
    night, status = later.repeated.night, later.repeated.status
    assert (night.outcome, night.parent, place_of(night)) == ("held", 2, (3, False))
    assert "it is v3, which was rolled back" in night.sentence()
    assert (status.champion.number, status.pending) == (2, night.learned)
    assert night.learned == week.repaired.night.learned


@pytest.mark.slow
def test_after_a_rollback_the_next_night_starts_from_the_older_version(week, later):
    night = later.held.night
    assert night.parent == 2
    assert night.learned == (*week.repaired.night.learned, *(arrival.batch.id for arrival in night.arrivals))


@pytest.mark.slow
def test_a_night_that_is_held_waits_for_a_person(later):
    night, status = later.held.night, later.held.status
    assert (night.outcome, place_of(night)) == ("held", (None, False))
    assert f"`retain approve {night.registration.run}`" in night.sentence()
    assert (status.champion.number, status.pending) == (2, night.learned)


@pytest.mark.slow
def test_a_person_lets_it_in_and_that_is_kept(later):
    champion = later.idle.status.champion
    assert (champion.number, champion.run.parent) == (4, 2)
    assert (champion.run.approved_by, champion.run.approval_note) == ("a person", "looked at it")
    assert later.idle.status.pending == ()
    assert later.idle.night.outcome == "nothing to learn"
    assert later.idle.run_file == later.held.run_file


def test_a_night_with_nothing_to_learn_says_so_in_seconds(week, assert_all_is_recorded):
    night = week.idle.night
    assert (night.outcome, night.sentence()) == ("nothing to learn", "Nothing to learn: no batch is pending.")
    assert night.seconds < 10
    assert week.idle.run_file == week.repaired.run_file
    assert_all_is_recorded(week.workspace)


@pytest.mark.slow
def test_a_night_with_nothing_but_a_bad_batch_leaves_the_last_run_as_it_was(week, later):
    night = later.spoilt.night
    assert (night.outcome, len(night.quarantined), later.spoilt.status.pending) == ("nothing to learn", 1, ())
    assert night.sentence() == "Nothing to learn: 1 batch(es) went to quarantine."
    assert (later.spoilt.run_file, later.spoilt.experiences) == (week.repaired.run_file, week.repaired.experiences)


def test_a_night_waits_for_what_is_at_work_and_says_for_what(week, run_night, end_when_waited_for):
    with ExitStack() as command:
        command.enter_context(workspace_lock(week.workspace, "`retain ingest monday`"))
        messages = end_when_waited_for(command.close)
        night = run_night(week.workspace, 10)
    assert night.outcome == "nothing to learn"
    assert messages[0].startswith(f"waiting for `retain ingest monday` (process {os.getpid()}, since 20")


def test_a_failing_step_fails_the_night_with_its_sentence(tmp_path, new_workspace, run_night):
    workspace = new_workspace(tmp_path / "workspace")
    workspace.params.write_text(workspace.params.read_text().replace("memory", "memroy"))
    with pytest.raises(WrongParameters) as raised:
        run_night(workspace, 11)
    name, message = last_flow_run("Failed")
    assert name == "night of 2026-03-11"
    assert f"WrongParameters: {raised.value}" in message
    assert "`update.memroy` is not a parameter; did you mean `memory`?" in message


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def copied(week, tmp_path_factory) -> Workspace:
    """A copy of the workspace of the week, whose last run was learned on top of version 2."""
    root = tmp_path_factory.mktemp("copied") / "workspace"
    shutil.copytree(week.workspace.root, root, symlinks=True)
    return Workspace(root)


def test_after_a_night_dvc_has_nothing_to_do(copied, shell):
    assert copied.run_file().parent == 2
    before = digests(copied.night)
    assert "Data and pipelines are up to date." in shell(copied.root, "dvc", "repro")
    assert digests(copied.night) == before
    assert shell(copied.root, "git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_dvc_learns_a_night_again_with_the_same_weights_and_the_same_verdict(copied, shell):
    before = digests(copied.night)
    shutil.rmtree(copied.night)
    output = shell(copied.root, "dvc", "repro", "--force")
    assert Verdict.read(copied.verdict).reason in output
    same = {name: digest for name, digest in before.items() if not name.startswith("reports/")}
    after = digests(copied.night)
    assert {name: after.get(name) for name in same} == same
    assert {"candidate/weights.safetensors", "verdict.json"} <= set(same)
    assert shell(copied.root, "git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_night_in_another_registry_ends_with_a_sentence_and_the_next_goes_on(
    copied, deliver, run_night, tmp_path, monkeypatch
):
    deliver(copied.inbox / "more", SHAPES, 11)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(WrongInput, match=r"run\.json names v2 of `retain`, but .* has no version at all"):
        run_night(copied, 20)
    assert registry_of(copied).runs() == ()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    parent = registry_of(copied).start(2)
    after = run_night(copied, 21)
    assert (after.parent, after.outcome) == (parent, "accept")


@pytest.mark.slow
def test_the_parameters_of_a_version_are_in_its_commit(new_workspace, deliver, run_night, tmp_path, shell):
    workspace = new_workspace(tmp_path / "workspace")
    workspace.params.write_text(workspace.params.read_text().replace("min_steps: 60", "min_steps: 61"))
    edited = workspace.params.read_text()
    deliver(workspace.inbox / "shapes", SHAPES, 0)
    version = run_night(workspace, 2).registration.version
    assert shell(workspace.root, "git", "status", "--porcelain") == ""
    commit = next(v for v in registry_of(workspace).versions() if v.number == version).run.commit
    workspace.params.write_text(edited.replace("min_steps: 61", "min_steps: 3"))
    before = learned_as(workspace, version)[1]
    shutil.rmtree(workspace.night)
    # The same weights are learned again from what the commit names.
    shell(workspace.root, "git", "checkout", "--quiet", "--force", commit)
    assert workspace.params.read_text() == edited
    shell(workspace.root, "dvc", "repro", "--force")
    assert Snapshot.read(workspace.candidate / "snapshot.json").files["weights.safetensors"] == before


@pytest.mark.parametrize(
    ("address", "params", "tries"), [("http://127.0.0.1:9", "", 5), ("", "register: {colour: red}", 1)]
)
def test_only_what_may_pass_by_itself_is_tried_again(
    address, params, tries, tmp_path, new_workspace, prefect, until, monkeypatch
):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import TaskRun
    from prefect.exceptions import ObjectNotFound

    from flows.night import champion_step

    workspace = new_workspace(tmp_path / "workspace")
    workspace.params.write_text(workspace.params.read_text() + params)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    state = champion_step.with_options(retry_delay_seconds=0)(workspace, return_state=True)
    assert isinstance(state.result(raise_on_failure=False), Unavailable if tries > 1 else WrongParameters)
    with get_client(sync_client=True) as client:

        def ended() -> TaskRun | None:
            with contextlib.suppress(ObjectNotFound):
                run = client.read_task_run(state.state_details.task_run_id)
                return run if run.end_time and run.state else None

        # What Prefect keeps of a step comes to it a little later.
        record = until(30, ended)
    assert (record.run_count, record.state.name) == (tries, "Failed")


def last_flow_run(state: str) -> tuple[str, str]:
    """Name and message of the latest flow run, as Prefect's pages show them."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        run = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)[0]
    assert run.state.name == state
    return run.name, run.state.message


@pytest.fixture(scope="module")
def kill(prefect):
    """`kill(workspace, 3, "package.function")` runs the night of 3 March in a fresh process that dies at that call."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flows.night", "mlflow.pyfunc", "great_expectations", "torch._dynamo"])

    def kill(workspace, day: int, point: str, call: int = 1) -> None:
        settings = {name: os.environ[name] for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")}
        order = (str(workspace.root), date(2026, 3, day), point, call, settings)
        process = context.Process(target=runpy.run_path, args=(str(KILLED), {"ORDER": order}, "__main__"))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL

    return kill


def learned_as(workspace, version: int) -> tuple[str, str]:
    """Identity of a version, and SHA-256 of its weights."""
    snapshot = Snapshot.read(version_folder(workspace, version) / "snapshot" / "snapshot.json")
    return snapshot.identity, snapshot.files["weights.safetensors"]


def assert_nothing_claims_to_be_at_work(workspace, until) -> None:
    """Neither a night, nor a step, nor a run of MLflow."""
    from mlflow import MlflowClient
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    with get_client(sync_client=True) as client:
        since = {"start_time": {"after_": datetime.now(UTC) - timedelta(days=1)}}
        nights = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(since))
        ours = [run for run in nights if run.parameters.get("workspace") == str(workspace.root)]
        which = FlowRunFilter.model_validate({"id": {"any_": [run.id for run in ours]}})

        def ended() -> bool:
            steps = [step for step in client.read_task_runs(flow_run_filter=which) if step.state]
            return {step.state.type.value for step in steps} <= {"CRASHED", "COMPLETED"}

        # What Prefect keeps of a step comes to it a little later.
        until(30, ended)
    assert {run.state.name for run in ours} == {"Crashed", "Completed"}
    client = MlflowClient(workspace.mlflow_address, workspace.mlflow_address)
    experiments = [found.experiment_id for found in client.search_experiments()]
    assert not client.search_runs(experiments, "attributes.status = 'RUNNING'")


@pytest.mark.slow
def test_a_night_that_is_killed_anywhere_ends_as_if_it_never_was(
    tmp_path, week, deliver, new_workspace, run_night, kill, assert_all_is_recorded, until
):
    workspace = new_workspace(tmp_path / "workspace")
    registry, store = registry_of(workspace), DataStore(workspace.root)

    deliver(workspace.inbox / "shapes", SHAPES, 0)
    kill(workspace, 2, "adapters.datastore.DataStore.commit_data")
    assert [path.name for path in workspace.batches.iterdir()] == list(week.first.night.learned), "written,"
    assert store.data_revision() == "", "but not committed,"
    assert status_of(workspace).inbox == ("shapes",), "so the delivery is still there"
    kill(workspace, 2, "torch.nn.functional.cross_entropy", call=30)
    assert workspace.run_file().batches == week.first.night.learned, "it was learning,"
    assert not (workspace.candidate / "snapshot.json").exists(), "and had not finished"
    assert run_night(workspace, 2).outcome == "accept"
    assert learned_as(workspace, 1) == learned_as(week.workspace, 1)

    deliver(workspace.inbox / "others", OTHERS, 1)
    kill(workspace, 3, "tasks.stages.run_keep")
    assert workspace.verdict.exists(), "judged,"
    assert len(registry.runs()) == 1, "but nobody was told"
    kill(workspace, 3, "mlflow.MlflowClient.set_registered_model_alias", call=2)
    assert [len(registry.runs()), len(registry.versions()), registry.champion()] == [2, 2, 1], "registered, not in use"
    kill(workspace, 3, "mlflow.MlflowClient.set_model_version_tag")
    assert [len(registry.runs()), len(registry.versions()), registry.champion()] == [2, 2, 2], "in use"
    assert run_night(workspace, 3).outcome == "nothing to learn"
    assert [len(registry.runs()), len(registry.versions()), registry.champion()] == [2, 2, 2]
    assert learned_as(workspace, 2) == learned_as(week.workspace, 2)
    assert workspace.run.read_text() == week.second.run_file, "it was one attempt, however often it was killed"
    assert_all_is_recorded(workspace)

    status = status_of(workspace)
    assert (status.inbox, status.pending) == ((), ())
    assert status.learned == week.second.status.learned
    assert_nothing_claims_to_be_at_work(workspace, until)
