"""Several processes take the steps of one. The processes find each other on loopback, and all have ended afterwards."""

import json
import logging
import re
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset.archive import Archive
from models.bundle import ModelBundle
from models.checkpoint import Checkpoint
from models.compute import Compute
from models.strategies.base import State
from records.errors import UpdateFailed, WrongInput
from records.experience import Experience
from records.registration import RunFile
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams
from tasks.stages import run_update
from tasks.update import launch
from tasks.update.settings import UpdateParams
from tasks.update.update import learn, update
from tasks.workspace.workspace import Workspace

ROOT = Path(__file__).parents[3]
FIRST, SECOND = {"cross": 40, "square": 40}, {"bar": 40, "column": 40}
PARAMS = """
validate: {}
update:
  network: {name: mlp, hidden: [32]}
  strategy: {name: %s}
  memory: {size: 20}
  budget: {min_steps: 40, batch_size: %d, replay_batch_size: 16}
evaluate: {}
judge: {name: paired_score}
"""


@pytest.fixture(autouse=True)
def _on_this_machine(monkeypatch):
    monkeypatch.setenv("RETAIN_DEVICE", "cpu")
    monkeypatch.setenv("RETAIN_PROCESSES", "2")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture(scope="module")
def ingested(tmp_path_factory, deliver):
    """A folder with two batches, and their experiences, which admit everything."""
    root = tmp_path_factory.mktemp("ingested")

    def take(counts, seed):
        folder = deliver(root / f"delivery-{seed}", counts, seed)
        day = date(2026, 3, 1 + seed)
        batch = ingest(root / "batches", root / "staging", folder, day, IngestParams(test_share=0.5)).batch
        labels = Archive(root / "batches", root / "cache").labels(batch.id)
        split = Counter(labels.split.at(np.arange(batch.images)).tolist())
        named = {"batch": batch.id, "digest": batch.digest, "classes": batch.classes, "validation": 0}
        return Experience(**named, train=split["train"], test=split["test"])

    return root, (take(FIRST, 1), take(SECOND, 2))


@pytest.fixture
def first_night(ingested, tmp_path):
    """`first_night("si", 16)` is what a workspace holds that is about to update: no Git, no registry."""
    root, experiences = ingested

    def prepare(strategy: str, batch: int, name: str = "workspace") -> Workspace:
        workspace = Workspace(tmp_path / name)
        (workspace.root / ".dvc").mkdir(parents=True)
        workspace.batches.parent.mkdir()
        workspace.batches.symlink_to(root / "batches")
        workspace.params.write_text(PARAMS % (strategy, batch))
        RunFile(parent=0, batches=(experiences[0].batch,)).write(workspace.run)
        workspace.experiences.mkdir(parents=True)
        experiences[0].write(workspace.experiences / f"{experiences[0].batch}.json")
        return workspace

    return prepare


class Interrupted(Exception):
    pass


def interrupt(done: int, total: int) -> None:
    if done == total // 2:
        raise Interrupted


def answers(folder: Path, archive: Archive, experiences: tuple[Experience, ...]) -> list[int]:
    learner = ModelBundle.read(folder).learner
    dataset = archive.dataset(experiences, "test", learner.classes, learner.spec)
    return learner.outputs(dataset.all_images()).argmax(dim=1).tolist()


def close(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-4)


def assert_same_night(one: Path, other: Path, ingested, outputs: bool = False) -> None:
    root, experiences = ingested
    first, second = ModelBundle.read(one), ModelBundle.read(other)
    close(first.learner.network.state_dict(), second.learner.network.state_dict())
    close(first.state, second.state)
    if outputs:  # They carry what is left of the rounding; which images are kept does not.
        np.testing.assert_allclose(first.memory.outputs, second.memory.outputs, rtol=1e-3, atol=1e-3)
        assert first.memory.image.tolist() == second.memory.image.tolist()
    else:
        assert (one / "memory.parquet").read_bytes() == (other / "memory.parquet").read_bytes()
    archive = Archive(root / "batches", root / "cache")
    known = tuple(e for e in experiences if e.batch in first.snapshot.known_at)
    pairs = list(zip(answers(one, archive, known), answers(other, archive, known), strict=True))
    assert sum(a != b for a, b in pairs) <= 0.01 * len(pairs)


@pytest.mark.slow
def test_a_workspaces_update_in_two_processes_is_that_of_one(first_night, ingested, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "retain")
    two, one = first_night("si", 16), first_night("si", 16, "alone")
    seen = []
    trained = run_update(two, lambda done, total: seen.append((done, total)))
    messages = [record.getMessage() for record in caplog.records if getattr(record, "lasting", False)]
    assert messages[0] == "The network sees images of 12 x 12 pixels; `update.image.size` changes it."
    assert re.fullmatch(r"40 steps, about 1[0-9] epochs, about \d+ s", messages[1]), messages
    assert len(messages) == 2
    monkeypatch.setenv("RETAIN_PROCESSES", "1")
    expected = run_update(one)
    assert trained[0].identity == expected[0].identity
    assert (trained[1].steps, trained[1].images) == (40, 40 * 8)  # this process's half
    assert seen == [(done, 40) for done in range(1, 41)]
    assert_same_night(two.candidate, one.candidate, ingested)
    assert sorted(path.name for path in two.state.iterdir()) == ["cache", "training.json"]


@pytest.mark.slow
def test_nights_on_top_of_another_in_two_processes_are_those_of_one(first_night, ingested, tmp_path, monkeypatch):
    root, experiences = ingested
    monkeypatch.setenv("RETAIN_PROCESSES", "1")
    before = first_night("dark_replay", 16)
    run_update(before)
    common = {
        "network": {"name": "mlp", "hidden": [32]},
        "memory": {"size": 20},
        "budget": {"min_steps": 40, "batch_size": 16, "replay_batch_size": 16},
    }
    cases = {
        "replay_distillation": {"strategy": {"name": "replay_distillation"}, "correction": {"name": "bias_layer"}},
        "dark_replay": {"strategy": {"name": "dark_replay"}},
        "resumed": {"strategy": {"name": "replay"}},
        # Each process has a clock of its own; one that ended earlier would leave the other waiting.
        "by the clock": {"budget": {"max_seconds": 0.5, "batch_size": 16, "replay_batch_size": 16}},
    }
    orders = [
        {
            "archive": str(root),
            "parent": str(before.candidate),
            "out": str(tmp_path / name),
            "unfinished": str(tmp_path / f"{name}.safetensors"),
            "experiences": [experiences[1].model_dump(mode="json")],
            "params": common | params,
        }
        for name, params in cases.items()
    ]
    archive = Archive(root / "batches", root / "cache")
    half_way = Checkpoint(tmp_path / "resumed.safetensors", "aa", every=0)
    params = UpdateParams.model_validate(common | cases["resumed"])
    with pytest.raises(Interrupted):
        learn(before.candidate, 1, experiences[1:], archive, params, "aa", Compute(), half_way, interrupt)
    (tmp_path / "orders.json").write_text(json.dumps(orders))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = [str(Path(__file__).with_name("update_together.py")), str(tmp_path / "orders.json")]
    done = subprocess.run([*command, *script], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert not half_way.path.exists()
    for name in ("replay_distillation", "dark_replay", "resumed"):
        params, alone = UpdateParams.model_validate(common | cases[name]), tmp_path / f"{name} alone"
        update(before.candidate, 1, experiences[1:], archive, params, "aa", alone)
        assert_same_night(tmp_path / name, alone, ingested, outputs=name == "dark_replay")
    assert ModelBundle.read(tmp_path / "by the clock").snapshot.experiences == experiences


@pytest.mark.slow
def test_a_process_that_fails_is_a_sentence_and_leaves_no_folder(first_night, capfd, scratch):
    workspace = first_night("replay", 15)
    before = set(scratch.iterdir())
    with pytest.raises(UpdateFailed, match="The update in 2 processes ended with status 1; see its output."):
        run_update(workspace)
    assert "2 processes cannot share 15 images a step evenly" in capfd.readouterr().err
    assert not workspace.candidate.exists()
    left = {path.name for path in set(scratch.iterdir()) - before}
    assert not [name for name in left if not name.startswith("torchinductor_")]


def test_steps_that_cannot_be_shared_are_told_before_a_night_begins(monkeypatch):
    def params(batch: int, replayed: int, strategy: str) -> UpdateParams:
        budget = {"batch_size": batch, "replay_batch_size": replayed}
        return UpdateParams.model_validate({"budget": budget, "strategy": {"name": strategy}})

    for wrong in (params(15, 16, "finetune"), params(16, 15, "replay")):
        with pytest.raises(WrongInput, match="2 processes cannot share 15 images a step evenly"):
            launch.check(wrong)
    for fine in (params(16, 15, "finetune"), params(16, 16, "replay"), params(15, 15, "analytic")):
        launch.check(fine)
    monkeypatch.setenv("RETAIN_PROCESSES", "1")
    launch.check(params(15, 15, "replay"))


@pytest.mark.parametrize("given", ["zero", "0", "-1", "1.5", ""])
def test_what_is_no_number_of_processes_is_refused(given, monkeypatch):
    monkeypatch.setenv("RETAIN_PROCESSES", given)
    with pytest.raises(WrongInput, match=f"RETAIN_PROCESSES is `{given}`; it must be a whole number"):
        launch.processes()


def test_alone_a_process_is_the_first_and_joins_nobody(monkeypatch):
    monkeypatch.delenv("RETAIN_PROCESSES")
    monkeypatch.setenv("RANK", "1")  # somebody else's
    assert launch.processes() == 1
    assert launch.first()
    with launch.joined():
        assert not torch.distributed.is_initialized()


def test_among_several_one_is_the_first(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    for number, first in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", number)
        assert launch.first() == first


def test_progress_is_said_once_a_percent_by_the_first_process_alone(monkeypatch, capsys):
    outputs = []
    for number in ("0", "1", None):
        if number is None:
            monkeypatch.delenv("TORCHELASTIC_RUN_ID")
        else:
            monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
            monkeypatch.setenv("RANK", number)
        say = launch.say_progress()
        for done in range(1, 1001):
            say(done, 1000)
        outputs.append(capsys.readouterr().out.splitlines())
    assert [len(lines) for lines in outputs] == [101, 0, 0]
    assert outputs[0][0] == "1 of 1000 steps"
    assert outputs[0][-1] == "1000 of 1000 steps"


def test_what_the_first_of_several_says_reaches_the_one_that_started_it(monkeypatch, capsys):
    log = logging.getLogger("retain")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "propagate", True)
    for number in ("1", "0"):
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
        monkeypatch.setenv("RANK", number)
        launch.relay_messages()
        log.info("150 steps,\nabout %d epochs", 48)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["INFO: 150 steps, about 48 epochs"]
    assert launch.LOG_LINE.fullmatch(lines[0]).groups() == ("INFO", "150 steps, about 48 epochs")
