"""The four inner steps as both runners call them: Prefect for a night, DVC for `dvc repro`.

Each reads what `run.json` and `params.yaml` name, and writes below `night/`. Nothing else goes in or comes out, so the
same files give the same verdict whoever runs them.
"""

import json
import logging
import math
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow.parquet as parquet
import yaml

from adapters.datastore import DataStore
from dataset.archive import Archive
from models.bundle import Knowledge
from models.training import Progress
from records.batch import Batch
from records.errors import DamagedState, Unavailable, UpdateFailed, WrongInput
from records.experience import Experience, RejectedBatch, Report
from records.registration import Beginning, Registration, RunFile
from records.scores import ScoreMatrix
from records.snapshot import Snapshot
from records.training import TrainingLog
from records.verdict import Verdict
from tasks import identity as identities
from tasks import launch
from tasks.evaluate import evaluate, read_pairs
from tasks.ingest.ingest import read_batch
from tasks.judge import judge
from tasks.params import Params, read_params
from tasks.register import night_facts, register
from tasks.update import update
from tasks.validate import isolated
from tasks.validate.earlier import LOOKED_UP, EarlierImages, earlier_images, is_damaged, remove_index
from tasks.validate.embeddings import Champion, Model, Thumbnails
from tasks.validate.validate import validate
from tasks.versions import forget_versions, registry_of, snapshot_of, version_folder
from tasks.workspace import Workspace

log = logging.getLogger("retain")

Asked = TypeVar("Asked")

FACTS = [
    "image", "path", "label", "split", "sha256", "bytes", "problem", "detail", "format", "mode", "width", "height",
    "frames", "brightness", "contrast", "low", "high", "entropy", "sharpness", "phash",
]  # fmt: skip
"""Columns of a shard that the data gate looks at; the images themselves stay on disk."""

KEPT_VERSIONS = 24 * 3600 * 10**9
"""Nanoseconds for which a version that was fetched stays on this machine after it was used."""


def params_of(workspace: Workspace) -> Params:
    """params.yaml with the overrides of the present run."""
    return read_params(workspace.params, workspace.run_file().overrides)


def keep_params(workspace: Workspace) -> None:
    """Commit params.yaml if somebody has edited it: what is learned by it names this commit, or a later one."""
    read_params(workspace.params)  # Nothing is committed that cannot be used.
    DataStore(workspace.root).commit_files([workspace.params], "Learn by other parameters")


def forget_unfinished(workspace: Workspace) -> None:
    """Take back what the night before began to log in the registry, if it was killed while it did."""
    record = workspace.candidate / "snapshot.json"
    if record.exists():
        registry_of(workspace).forget_unfinished(Snapshot.read(record).identity)


def archive_of(workspace: Workspace) -> Archive:
    """The images of this workspace."""
    return Archive(workspace.batches, workspace.cache)


@contextmanager
def bounded_cache(workspace: Workspace) -> Iterator[None]:
    """Whatever is done in here, afterwards the cache of decoded images is within RETAIN_CACHE_GB, or holds only what
    was used in here, and of fetched versions only the latest used are left. Raises `WrongInput` beforehand if that is
    no number."""
    limit, began = cache_limit(), time.time_ns()
    try:
        yield
    finally:
        archive_of(workspace).trim(limit, began)
        forget_versions(workspace, began - KEPT_VERSIONS)


def cache_limit() -> int:
    """RETAIN_CACHE_GB, or 20, in bytes. Raises `WrongInput` for what is no number."""
    given = os.environ.get("RETAIN_CACHE_GB") or "20"
    try:
        limit = float(given)
    except ValueError:
        limit = math.nan
    if not 0 <= limit < math.inf:
        raise WrongInput(f"RETAIN_CACHE_GB is `{given}`; it must be a number of gigabytes, 0 or more.")
    return int(limit * 10**9)


def run_validate(
    workspace: Workspace, run: RunFile | None = None, keep: bool = True
) -> tuple[tuple[Experience, ...], tuple[Report, ...]]:
    """Validate each batch of `run` (default: run.json), on its own; write experiences and reports, and give both.

    If none passes, the experiences of the run before stay: run.json still names them. Without `keep` nothing is
    written below `night/`: somebody only asks.
    """
    answers = _answers(workspace, run or workspace.run_file())
    reports = [answer.report for answer in answers]
    experiences = [answer.experience for answer in answers if answer.experience is not None]
    if keep:
        _write_all(workspace.reports, reports)
    if keep and experiences:
        _write_all(workspace.experiences, experiences)
    return tuple(experiences), tuple(reports)


def _answers(workspace: Workspace, run: RunFile) -> list[isolated.Answer]:
    """Each batch of a run, asked on its own, with those before it counting as earlier."""
    fetch_data(workspace, run.batches)
    before = isolated.left_by_another(workspace.asking)
    if not before:
        return _with_index(workspace, partial(_answers_here, workspace, run))
    log.warning("A process ended while it looked at %s; each batch is looked at in a process of its own.", before)
    answers: list[isolated.Answer] = []
    for question in _questions(workspace, run, answers):
        answers.append(isolated.ask_alone(question, read_batch(workspace.batches, question.batch)))
    workspace.asking.unlink(missing_ok=True)
    return answers


def _answers_here(workspace: Workspace, run: RunFile) -> list[isolated.Answer]:
    answers: list[isolated.Answer] = []
    with gate_of(workspace, run) as gate:
        for question in _questions(workspace, run, answers):
            with isolated.noted(workspace.asking, question.batch):
                answers.append(gate.answer(question))
    return answers


def _questions(workspace: Workspace, run: RunFile, answers: Sequence[isolated.Answer]) -> Iterator[isolated.Question]:
    """One batch after the other; `answers` has those to the questions before."""
    for name in run.batches:
        tonight = tuple(answer.experience for answer in answers if answer.experience is not None)
        yield isolated.Question(root=workspace.root, batch=name, run=run, tonight=tonight)


def answer(question: isolated.Question) -> isolated.Answer:
    """What the data gate says of one batch, in a process that looks at nothing else."""
    workspace = Workspace(question.root)
    return _with_index(workspace, partial(_answer_here, workspace, question))


def _answer_here(workspace: Workspace, question: isolated.Question) -> isolated.Answer:
    with gate_of(workspace, question.run) as gate:
        for experience in question.tonight:
            gate.earlier.add(experience, partial(facts_of, workspace, experience.batch, LOOKED_UP))
        return gate.answer(question)


def _with_index(workspace: Workspace, ask: Callable[[], Asked]) -> Asked:
    """Ask; should the index of earlier images be none any more, once more with a new one."""
    try:
        return ask()
    except sqlite3.DatabaseError as error:
        if not is_damaged(error):
            raise Unavailable(f"The index of earlier images, {workspace.index}, cannot be used: {error}.") from error
        remove_index(workspace.index)
        return ask()


@dataclass(frozen=True)
class Gate:
    """The data gate of a run: all that a batch is held against."""

    workspace: Workspace
    params: Params
    parent: Snapshot
    champion: Champion
    earlier: EarlierImages

    def answer(self, question: isolated.Question) -> isolated.Answer:
        """Ask about a batch; if it is admitted, its images count as earlier ones. One that cannot be looked at is held
        back, whatever was raised."""
        batch = read_batch(self.workspace.batches, question.batch)
        named = tuple(sorted({name for experience in question.tonight for name in experience.classes}))
        try:
            facts = facts_of(self.workspace, batch.id)
            experience, report = validate(
                facts, batch, self.earlier, self.parent.classes, self.params.validation, self.champion, named
            )
            self.earlier.add(experience, facts)
        except RejectedBatch as rejected:
            return isolated.Answer(report=rejected.report)
        except Exception as error:
            if not isolated.is_its_own(error):
                raise
            log.warning("%s is held: %s", batch.id, isolated.clause(error))
            return isolated.unanswered(batch, isolated.clause(error))
        return isolated.Answer(report=report, experience=experience)


@contextmanager
def gate_of(workspace: Workspace, run: RunFile) -> Iterator[Gate]:
    """The data gate for a run, with what its parent has learned."""
    parent = snapshot_of(workspace, run.parent)
    fetch_data(workspace, [experience.batch for experience in parent.experiences])
    params, champion = read_params(workspace.params, run.overrides), champion_of(workspace, run.parent)
    with earlier_images(
        workspace.index, parent.experiences, lambda e: facts_of(workspace, e.batch, LOOKED_UP)
    ) as earlier:
        yield Gate(workspace, params, parent, champion, earlier)


def beginning(workspace: Workspace, experiences: Sequence[Experience]) -> Beginning | None:
    """What a first version of these waits for; None if for nothing."""
    tests = sum(experience.test for experience in experiences)
    return params_of(workspace).ingest.beginning(len(experiences), tests)


def champion_of(workspace: Workspace, version: int) -> Champion:
    """How a version sees images; version 0 sees small pictures."""
    folder, archive = version_folder(workspace, version), archive_of(workspace)
    return Thumbnails(archive) if folder is None else Model(archive, folder)


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
    return evaluate(
        workspace.candidate,
        version_folder(workspace, workspace.run_file().parent),
        archive_of(workspace),
        params.update.problem,
        params.evaluate,
        workspace.evaluation,
        workspace.split_key,
    )


def run_judge(workspace: Workspace) -> Verdict:
    """Compare with the best so far, and say whether the candidate may become the champion."""
    gate = params_of(workspace).judge
    parent = version_folder(workspace, workspace.run_file().parent)
    pairs = read_pairs(workspace.evaluation, parent / "evaluation" if parent else None)
    verdict = judge(pairs, gate, workspace.run_file().attempt)
    verdict.write(workspace.verdict)
    matrix = ScoreMatrix.read(workspace.evaluation / "scores.json")
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
        params.telling(),
        seconds,
        trained,
        {name: read_batch(workspace.batches, name).source for name in matrix.experiences},
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
        {"params.yaml": yaml.safe_dump(params.model_dump(mode="json", by_alias=True), sort_keys=False).encode()},
    )


def plain_metrics(matrix: ScoreMatrix, verdict: Verdict) -> dict[str, float | str]:
    """The few numbers that `dvc metrics` compares; shares of images, 0..1."""
    measures = {
        "average": matrix.average(),
        "forgetting_from_best": matrix.forgetting_from_best(),
        "learning_accuracy": matrix.learning_accuracy(),
        "forward_transfer": matrix.forward_transfer(),
        "taken_by_new_classes": matrix.taken_by_new_classes(),
    }
    if matrix.measures is not None:
        measures |= matrix.measures.model_dump(exclude={"per_class"})
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


def facts_of(workspace: Workspace, batch_id: str, columns: Sequence[str] = FACTS) -> pd.DataFrame:
    """Facts of every image of a batch, row by row."""
    batch: Batch = read_batch(workspace.batches, batch_id)
    shards = [workspace.batches / batch_id / shard.name for shard in batch.shards]
    tables: list[pd.DataFrame] = [parquet.read_table(shard, columns=list(columns)).to_pandas() for shard in shards]
    return pd.concat(tables, ignore_index=True)


def fetch_data(workspace: Workspace, batches: Sequence[str]) -> None:
    """Fetch from the DVC remote the batches that are not on this machine."""
    if any(not (workspace.batches / batch / "batch.json").exists() for batch in batches):
        DataStore(workspace.root).pull(["data"])


def _write_all(folder: Path, told: Sequence[Experience] | Sequence[Report]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for one in told:
        one.write(folder / f"{one.batch}.json")


def _finished(candidate: Path, name: str) -> Snapshot | None:
    if not (candidate / "snapshot.json").exists():
        return None
    try:
        snapshot = Knowledge.read(candidate).snapshot
    except DamagedState:
        return None
    return snapshot if snapshot.identity == name else None


def _training_log(workspace: Workspace, name: str) -> TrainingLog:
    """How the update of this identity went; nothing is known if another one came between."""
    told = TrainingLog.read(workspace.training) if workspace.training.exists() else TrainingLog()
    return told if told.identity == name else TrainingLog()
