"""The steps as both runners call them: all for a night, by Prefect; the four up to the verdict for `dvc repro`, by DVC.

Each of the four reads what `run.json` and `params.yaml` name, and writes below `night/`. Nothing else goes in or comes
out, so the same files give the same verdict whoever runs them. What keeps and registers comes behind them.
"""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import yaml

from adapters import metric_names
from adapters.datastore import DataStore
from dataset.batches import read_batch
from models.bundle import ModelBundle
from records.errors import DamagedState, UpdateFailed
from records.experience import Experience, Report
from records.pace import Progress
from records.registration import Beginning, Registration, RunFile
from records.scores import ScoreMatrix
from records.snapshot import Snapshot
from records.training import TrainingLog
from records.verdict import Verdict
from tasks import identity as identities
from tasks.evaluate.evaluate import evaluate
from tasks.judge import judge, read_pairs
from tasks.params.params import params_of, read_params
from tasks.pictures import write_worst_masks
from tasks.register import night_facts, register
from tasks.update import launch
from tasks.update.update import update
from tasks.validate.answers import answers_of
from tasks.workspace.local_data import archive_of
from tasks.workspace.versions import registry_of, version_folder
from tasks.workspace.workspace import Workspace

log = logging.getLogger("retain")


def forget_unfinished(workspace: Workspace) -> None:
    """Take back what the night before began to log in the registry, if it was killed while it did."""
    record = workspace.candidate / "snapshot.json"
    if record.exists():
        registry_of(workspace).forget_unfinished(Snapshot.read(record).identity)


def run_validate(
    workspace: Workspace, run: RunFile | None = None, keep: bool = True
) -> tuple[tuple[Experience, ...], tuple[Report, ...]]:
    """Validate each batch of `run` (default: run.json), on its own; write experiences and reports, and give both.

    If none passes, the experiences of the run before stay: run.json still names them. Without `keep` nothing is
    written below `night/`: somebody only asks.
    """
    run = run or workspace.run_file()
    params = read_params(workspace.params, run.overrides)
    answers = answers_of(workspace, run, params.validation, params.update.problem.annotation)
    reports = [answer.report for answer in answers]
    experiences = [answer.experience for answer in answers if answer.experience is not None]
    if keep:
        _write_all(workspace.reports, reports)
    if keep and experiences:
        _write_all(workspace.experiences, experiences)
    return tuple(experiences), tuple(reports)


def beginning(workspace: Workspace, experiences: Sequence[Experience]) -> Beginning | None:
    """What a first version of these waits for; None if for nothing."""
    tests = sum(experience.test for experience in experiences)
    return params_of(workspace).ingest.beginning(len(experiences), tests)


def identity_of(workspace: Workspace, run: RunFile, experiences: Sequence[Experience]) -> str:
    """What a night that learns these experiences is known by in the registry."""
    params = read_params(workspace.params, run.overrides)
    return identities.identity(run.parent, experiences, params, workspace.split_key)


def attempt_of(workspace: Workspace, run: RunFile, experiences: Sequence[Experience]) -> int:
    """Which attempt at learning some of these experiences on top of this parent `run` is: 1 for the first."""
    name = identity_of(workspace, run, experiences)
    return registry_of(workspace).attempt(run.parent, [e.batch for e in experiences], name)


def run_update(workspace: Workspace, progress: Progress = lambda done, total: None) -> tuple[Snapshot, TrainingLog]:
    """Learn what validation let through. A candidate of the same identity that lies there already is taken as it is.

    With RETAIN_PROCESSES above 1, so many processes of `torchrun` share the work; what they say goes to stderr.
    """
    run, params, experiences = workspace.run_file(), params_of(workspace), read_experiences(workspace)
    name = identity_of(workspace, run, experiences)
    finished = _finished(workspace.candidate, name)
    if finished is not None:
        return finished, _training_log(workspace, name)
    folder = version_folder(workspace, run.parent)
    if launch.processes() > 1 and not launch.together():
        launch.update_together(workspace.root, progress)
        finished = _finished(workspace.candidate, name)
        if finished is None:
            raise UpdateFailed(f"The update in several processes ended without a candidate in {workspace.candidate}.")
        return finished, _training_log(workspace, name)
    snapshot, trained = update(
        None if folder is None else folder / "snapshot",
        run.parent,
        experiences,
        archive_of(workspace),
        params.update,
        name,
        workspace.candidate,
        progress,
        workspace.unfinished,
        workspace.split_key,
    )
    trained = trained.model_copy(update={"identity": name})
    if launch.first():
        trained.write(workspace.training)
    return snapshot, trained


def run_evaluate(workspace: Workspace) -> ScoreMatrix:
    """Score the candidate on everything it ever learned."""
    params = params_of(workspace)
    shutil.rmtree(workspace.evaluation, ignore_errors=True)
    matrix = evaluate(
        workspace.candidate,
        version_folder(workspace, workspace.run_file().parent),
        archive_of(workspace),
        params.update.problem,
        params.evaluate,
        workspace.evaluation,
        workspace.split_key,
    )
    write_worst_masks(workspace, params.update.problem, deliveries_of(workspace, matrix))
    return matrix


def read_matrix(workspace: Workspace) -> ScoreMatrix:
    """The score matrix of the last evaluation."""
    return ScoreMatrix.read(workspace.evaluation / "scores.json")


def deliveries_of(workspace: Workspace, matrix: ScoreMatrix) -> dict[str, str]:
    """What each experience was delivered as."""
    return {name: read_batch(workspace.batches, name).source for name in matrix.experiences}


def run_judge(workspace: Workspace) -> Verdict:
    """Compare with the best so far, and say whether the candidate may become the champion."""
    params = params_of(workspace)
    parent = version_folder(workspace, workspace.run_file().parent)
    pairs = read_pairs(workspace.evaluation, parent / "evaluation" if parent else None, params.update.problem)
    verdict = judge(pairs, params.judge, workspace.run_file().attempt, params.update.problem)
    verdict.write(workspace.verdict)
    matrix = read_matrix(workspace)
    workspace.metrics.write_text(json.dumps(plain_metrics(matrix, verdict), indent=2) + "\n", encoding="utf-8")
    return verdict


def run_keep(workspace: Workspace, verdict: Verdict) -> None:
    """Tell DVC what was made, so that `dvc repro` finds nothing to do, and commit what names it.

    Before it is registered: so the commit that a version names is the one to learn it again from, and once the alias
    has moved nothing is left to do that a killed night could leave undone.
    """
    store = DataStore(workspace.root)
    store.record_stages()
    learned = ", ".join(workspace.run_file().batches)
    store.commit_files([workspace.run, workspace.root / "dvc.lock"], f"Judge {learned}: {verdict.decision}")


def run_register(
    workspace: Workspace,
    matrix: ScoreMatrix,
    verdict: Verdict,
    day: date,
    hold: bool,
    seconds: Mapping[str, float],
    trained: TrainingLog,
) -> Registration:
    """Log the night in the registry; an accepted candidate is loaded back, compared, and becomes the champion."""
    params, store = params_of(workspace), DataStore(workspace.root)
    facts = night_facts(
        workspace.candidate,
        matrix,
        day,
        store.data_revision(),
        store.head(),
        identities.code_version(),
        params.distinguishing(),
        seconds,
        trained,
        deliveries_of(workspace, matrix),
    )
    return register(
        workspace.candidate,
        workspace.evaluation,
        matrix,
        verdict,
        facts,
        archive_of(workspace),
        registry_of(workspace),
        params.register_,
        hold,
        {
            "params.yaml": yaml.safe_dump(params.model_dump(mode="json", by_alias=True), sort_keys=False).encode(),
            **{path.name: path.read_bytes() for path in [workspace.worst_masks] if path.exists()},
        },
    )


def plain_metrics(matrix: ScoreMatrix, verdict: Verdict) -> dict[str, float | str]:
    """The few numbers that `dvc metrics` compares, 0..1."""
    score, averages = matrix.score_name, metric_names.scores(matrix)
    named = (f"average_{score}", "average_forgetting", f"learning_{score}", "forward_transfer", "taken_by_new_classes")
    measures = {name: averages[name] for name in named}
    if matrix.measures is not None:
        further = matrix.measures.numbers()
        measures |= {metric_names.current(name): value for name, value in further.items()}
    numbers: dict[str, float | str] = {k: round(v, 6) for k, v in measures.items() if v is not None}
    for finding in verdict.findings:
        if finding.subject == "mean" or finding.question == "learned":
            numbers[f"{finding.question}.{finding.subject}"] = round(finding.estimate, 6)
    return {"decision": verdict.decision, **numbers}


def read_experiences(workspace: Workspace) -> tuple[Experience, ...]:
    """What validation let through, in the order of run.json. Raises `DamagedState` if that is nothing."""
    names = workspace.run_file().batches
    found = [workspace.experiences / f"{name}.json" for name in names]
    experiences = tuple(Experience.read(path) for path in found if path.exists())
    if not experiences:
        raise DamagedState(
            f"{workspace.experiences} holds no experience: no batch of {workspace.run} passed validation."
        )
    return experiences


def _write_all(folder: Path, records: Sequence[Experience] | Sequence[Report]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for record in records:
        record.write(folder / f"{record.batch}.json")


def _finished(candidate: Path, name: str) -> Snapshot | None:
    if not (candidate / "snapshot.json").exists():
        return None
    try:
        snapshot = ModelBundle.read(candidate).snapshot
    except DamagedState:
        return None
    return snapshot if snapshot.identity == name else None


def _training_log(workspace: Workspace, name: str) -> TrainingLog:
    """How the update of this identity went; nothing is known if another one came between."""
    training_log = TrainingLog.read(workspace.training) if workspace.training.exists() else TrainingLog()
    return training_log if training_log.identity == name else TrainingLog()
