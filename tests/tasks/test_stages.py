"""What a step takes from a run before it, and what it does not."""

import os
import sys
import time
from datetime import date

import pytest

from models.bundle import ModelBundle
from records.addresses import WorkspaceFile
from records.errors import WrongInput
from records.registration import RunFile
from records.training import TrainingLog
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams
from tasks.stages import attempt_of, read_experiences, run_update, run_validate
from tasks.workspace.local_data import archive_of, bounded_cache
from tasks.workspace.workspace import Workspace

PARAMS = """
validate: {}
update: {network: {name: mlp, hidden: [8]}, memory: {size: 10}, budget: {min_steps: 5, max_steps: 5}}
evaluate: {}
judge: {name: paired_score}
"""


@pytest.fixture
def validated(deliver, tmp_path) -> Workspace:
    """A workspace whose first batch passed validation: no Git, no registry."""
    workspace = Workspace(tmp_path / "shop")
    (workspace.root / ".dvc").mkdir(parents=True)
    workspace.params.write_text(PARAMS)
    folder = deliver(tmp_path / "monday", {"bar": 40, "column": 40})
    arrived = ingest(workspace.batches, tmp_path / "staging", folder, date(2026, 3, 2), IngestParams(test_share=0.5))
    RunFile(parent=0, batches=(arrived.batch.id,)).write(workspace.run)
    run_validate(workspace)
    return workspace


@pytest.fixture
def three(validated, deliver, tmp_path) -> tuple[str, ...]:
    """Two more batches beside the one that was validated; all three are pending."""
    names = [validated.run_file().batches[0]]
    for day in (3, 4):
        folder = deliver(tmp_path / f"day-{day}", {"bar": 40, "column": 40}, seed=day)
        taken = ingest(validated.batches, tmp_path / "staging", folder, date(2026, 3, day), IngestParams())
        names.append(taken.batch.id)
    return tuple(names)


def told_by(answered) -> tuple[list[str], list[bool]]:
    experiences, reports = answered
    return [e.batch for e in experiences], [report.admitted for report in reports]


def test_a_batch_that_cannot_be_looked_at_is_held_and_the_others_are_learned(validated, three, caplog):
    (shard,) = (validated.batches / three[1]).glob("*.parquet")
    shard.write_bytes(b"PAR1 is no table PAR1")
    answered = run_validate(validated, RunFile(batches=three))
    assert told_by(answered) == ([three[0], three[2]], [True, False, True])
    held = answered[1][1]
    assert held.held.by == "retain"
    assert held.summary.startswith("Held by retain: validation could not look at it: ArrowInvalid: ")
    assert f"{three[1]} is held: " in caplog.text
    assert not validated.asking.exists()
    assert told_by(run_validate(validated, RunFile(batches=(three[0], three[2])))) == ([three[0], three[2]], [True] * 2)


@pytest.mark.slow
def test_what_is_wrong_with_the_index_is_no_batchs_fault(validated, three):
    validated.index.write_bytes(b"no index" * 1000)
    assert told_by(run_validate(validated, RunFile(batches=three)))[1] == [True] * 3


@pytest.mark.slow
def test_batches_that_end_the_process_are_found_and_the_nights_go_on(validated, three, monkeypatch):
    """Two such batches, and a third that came with them."""
    killer = ("import json, os, sys", "asked = json.load(sys.stdin)",
              f"asked['batch'] in {three[:2]} and os.kill(os.getpid(), 9)",
              "from pathlib import Path",
              "from tasks.validate import validator", "from tasks.validate.question import Question",
              "validator.answer(Question.model_validate(asked)).write(Path(sys.argv[1]))")  # fmt: skip
    monkeypatch.setattr("tasks.validate.isolated.COMMAND", (sys.executable, "-c", "\n".join(killer)))
    validated.asking.write_text(three[0])  # as a process leaves it that was ended
    answered = run_validate(validated, RunFile(batches=three))
    assert told_by(answered) == ([three[2]], [False, False, True])
    assert "SIGKILL" in answered[1][0].summary
    assert not validated.asking.exists()
    monkeypatch.setattr("tasks.validate.isolated.COMMAND", (sys.executable, "-c", "raise SystemExit(9)"))
    assert told_by(run_validate(validated, RunFile(batches=three[2:]))) == ([three[2]], [True]), "at once, and here"


@pytest.mark.slow
def test_a_batch_alone_in_a_process_gets_the_answer_that_it_gets_among_others(validated, three):
    here = run_validate(validated, RunFile(batches=three[:2]))
    validated.asking.write_text(three[0])
    assert run_validate(validated, RunFile(batches=three[:2])) == here
    assert told_by(here)[1] == [True, True]


def refuse(done: int, total: int) -> None:
    raise AssertionError("it was learned again")


def test_a_candidate_of_the_same_identity_is_taken_as_it_is_with_its_training_log(validated):
    snapshot, trained = run_update(validated)
    assert (trained.identity, trained.steps) == (snapshot.identity, 5)
    assert run_update(validated, refuse) == (snapshot, trained)


def test_a_workspace_with_a_key_remembers_other_images(validated):
    before, _ = run_update(validated)
    remembered = ModelBundle.read(validated.candidate).memory
    WorkspaceFile(split_key="7c" * 16).write(validated.settings)
    after, _ = run_update(validated)
    assert after.identity != before.identity
    assert sorted(ModelBundle.read(validated.candidate).memory.image) != sorted(remembered.image)


@pytest.mark.parametrize("key", [None, "7c" * 16])
def test_an_attempt_is_known_by_what_its_candidate_is_registered_as(validated, monkeypatch, key):
    """Else the same night, started again, is taken for one that tries the same data once more."""
    WorkspaceFile(split_key=key).write(validated.settings)
    asked: list[str] = []
    monkeypatch.setattr("adapters.registry.Registry.attempt", lambda *about: asked.append(about[-1]) or 1)
    assert attempt_of(validated, validated.run_file(), read_experiences(validated)) == 1
    assert asked == [run_update(validated)[0].identity]


@pytest.mark.parametrize("left", ["of another night", "nothing"])
def test_the_training_log_of_another_night_is_not_taken_for_this_ones(validated, left):
    snapshot, trained = run_update(validated)
    validated.training.unlink()
    if left == "of another night":
        trained.model_copy(update={"identity": "another"}).write(validated.training)
    assert run_update(validated, refuse) == (snapshot, TrainingLog())


def test_a_night_with_other_parameters_is_learned_anew(validated):
    before, _ = run_update(validated)
    validated.params.write_text(PARAMS.replace("max_steps: 5", "max_steps: 6").replace("min_steps: 5", "min_steps: 6"))
    after, trained = run_update(validated)
    assert after.identity != before.identity
    assert (trained.identity, trained.steps) == (after.identity, 6)


def test_after_a_night_the_cache_holds_at_most_what_it_may_or_what_that_night_used(validated, monkeypatch):
    monkeypatch.setenv("RETAIN_CACHE_GB", "0")
    with bounded_cache(validated):
        run_update(validated)
    used = set(validated.cache.iterdir())
    assert used
    with bounded_cache(validated):
        archive_of(validated).labels(validated.run_file().batches[0])
    assert {path.suffix for path in validated.cache.iterdir()} == {".safetensors"}
    monkeypatch.delenv("RETAIN_CACHE_GB")
    with bounded_cache(validated):
        pass
    assert len(list(validated.cache.iterdir())) == 1


@pytest.mark.parametrize("given", ["many", "-1", "nan", "inf"])
def test_a_bound_of_the_cache_that_is_no_number_is_refused_before_anything_is_done(validated, monkeypatch, given):
    monkeypatch.setenv("RETAIN_CACHE_GB", given)
    sentence = f"RETAIN_CACHE_GB is `{given}`; it must be a number of gigabytes, 0 or more."
    with pytest.raises(WrongInput, match=sentence), bounded_cache(validated):
        raise AssertionError("it was begun")


def test_versions_that_nobody_used_for_a_day_are_not_kept(validated):
    long_ago = time.time() - 25 * 3600
    for name in ("1", "2", ".2.killed"):
        (validated.versions / name / "snapshot").mkdir(parents=True)
        (validated.versions / name / "snapshot" / "weights.safetensors").write_bytes(b"w")
        if name != "1":
            os.utime(validated.versions / name, (long_ago, long_ago))
    with bounded_cache(validated):
        pass
    assert [path.name for path in validated.versions.iterdir()] == ["1"]
