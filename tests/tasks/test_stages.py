"""What a step takes from a run before it, and what it does not."""

import os
import time
from datetime import date

import pytest

from models.knowledge import Knowledge
from records.addresses import WorkspaceFile
from records.errors import WrongInput
from records.registration import RunFile
from records.training import TrainingLog
from tasks.intake.ingest import IngestParams, ingest
from tasks.stages import archive_of, bounded_cache, run_update, run_validate
from tasks.workspace import Workspace

PARAMS = """
validate: {}
update: {network: {name: mlp, hidden: [8]}, memory: {size: 10}, budget: {least_steps: 5, most_steps: 5}}
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


def refuse(done: int, total: int) -> None:
    raise AssertionError("it was learned again")


def test_a_candidate_of_the_same_identity_is_taken_as_it_is_with_its_training_log(validated):
    snapshot, trained = run_update(validated)
    assert (trained.identity, trained.steps) == (snapshot.identity, 5)
    assert run_update(validated, refuse) == (snapshot, trained)


def test_a_workspace_with_a_key_remembers_other_images(validated):
    before, _ = run_update(validated)
    remembered = Knowledge.read(validated.candidate).memory
    WorkspaceFile(split_key="7c" * 16).write(validated.settings)
    after, _ = run_update(validated)
    assert after.identity != before.identity
    assert sorted(Knowledge.read(validated.candidate).memory.image) != sorted(remembered.image)


@pytest.mark.parametrize("left", ["of another night", "nothing"])
def test_the_training_log_of_another_night_is_not_taken_for_this_ones(validated, left):
    snapshot, trained = run_update(validated)
    validated.training.unlink()
    if left == "of another night":
        trained.model_copy(update={"identity": "another"}).write(validated.training)
    assert run_update(validated, refuse) == (snapshot, TrainingLog())


def test_a_night_with_other_parameters_is_learned_anew(validated):
    before, _ = run_update(validated)
    validated.params.write_text(
        PARAMS.replace("most_steps: 5", "most_steps: 6").replace("least_steps: 5", "least_steps: 6")
    )
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
