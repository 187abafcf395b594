import io
import shutil
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from adapters.registry import Registry
from adapters.runs import JudgedNight
from dataset.archive import Archive
from dataset.shards import SHARD_SCHEMA
from models.budget import Budget
from models.bundle import ModelBundle
from models.networks.mlp import MLP
from models.problems.classification import Classification
from records.batch import Batch, Shard
from records.errors import DamagedState, WrongInput
from records.experience import Experience
from records.registration import APPROVAL, Approval
from records.scores import ScoreMatrix
from records.training import TrainingLog
from records.verdict import Verdict
from serving import reload
from tasks.approve import approve
from tasks.evaluate.earlier import read_references
from tasks.evaluate.evaluate import evaluate
from tasks.evaluate.settings import EvaluateParams
from tasks.params.sections import RegisterParams
from tasks.register import REQUIREMENTS, judged_answers, night_facts, packaging, register
from tasks.update.settings import UpdateParams
from tasks.update.update import update

BATCHES = ("2026-01-05-aaaaaaaa", "2026-01-06-bbbbbbbb")
KINDS = (("bar", "column"), ("cross", "square"))
PARAMS = UpdateParams(network=MLP(hidden=(16,)), budget=Budget(min_steps=30, max_steps=30, batch_size=16))


def draw(kind, seed):
    generator = np.random.default_rng([seed, *kind.encode()])
    pixels = generator.integers(0, 60, (8, 8), dtype=np.uint8)
    at = int(generator.integers(2, 5))
    rows, columns = slice(at, at + 2), slice(at, at + 2)
    if kind in ("bar", "cross"):
        pixels[rows, :] += 180
    if kind in ("column", "cross"):
        pixels[:, columns] = 240
    if kind == "square":
        pixels[rows, columns] = 240
    return pixels


def write_batch(batches, name, kinds):
    """A batch of 20 drawn shapes of each kind, of which every fourth is for testing; its experience."""
    rows = []
    for number in range(40):
        stream = io.BytesIO()
        Image.fromarray(draw(kinds[number % 2], number)).save(stream, format="PNG")
        row = {field.name: "" if pa.types.is_string(field.type) else 0 for field in SHARD_SCHEMA}
        row |= {"image": f"{name[-2:]}{number:030x}", "path": f"{number}.png", "label": kinds[number % 2], "mode": "L"}
        row |= {"split": "test" if number % 4 < 2 else "train", "encoded": stream.getvalue(), "width": 8, "height": 8}
        rows.append(row)
    (batches / name).mkdir(parents=True)
    parquet.write_table(pa.Table.from_pylist(rows, SHARD_SCHEMA), batches / name / "images-00000.parquet")
    shard = Shard(name="images-00000.parquet", rows=40, bytes=1, sha256="0")
    Batch(
        id=name, digest=name[-8:] * 8, arrived=date(2026, 1, 5), source="drawn", images=40, classes=kinds,
        shards=(shard,),
    ).write(batches / name / "batch.json")  # fmt: skip
    return Experience(batch=name, digest=name[-8:] * 8, classes=kinds, train=20, validation=0, test=20)


class Nights:
    """Two nights that really learned, as they lie in a workspace before they are registered."""

    def __init__(self, place):
        self.archive = Archive(place / "batches", place / "cache")
        self.folders, parent = [], None
        for number, (name, kinds) in enumerate(zip(BATCHES, KINDS, strict=True)):
            learned = write_batch(place / "batches", name, kinds)
            folder = place / f"night{number}"
            before = None if parent is None else parent / "snapshot"
            update(before, number, [learned], self.archive, PARAMS, f"{number}" * 64, folder / "snapshot")
            evaluate(
                folder / "snapshot", parent, self.archive, Classification(), EvaluateParams(), folder / "evaluation"
            )
            parent = folder
            self.folders.append(folder)

    def judged(self, number, decision="accept"):
        """What the steps before leave: facts, matrix, verdict."""
        folder = self.folders[number]
        matrix = ScoreMatrix.read(folder / "evaluation" / "scores.json")
        facts = night_facts(
            folder / "snapshot", matrix, date(2026, 1, 5 + number), "0123.dir", "c0ffee", "beef",
            {"update.seed": "0"}, {"update": 0.5},
            TrainingLog(steps=2, losses={"new": (2.0, 1.0)}, environment={"threads": "3"}),
        )  # fmt: skip
        return facts, matrix, Verdict(decision=decision, reason="As asked.", gate="test", confidence=0.95, findings=())

    def register(self, number, registry, decision="accept", hold=False, candidate=None):
        folder = self.folders[number]
        facts, matrix, verdict = self.judged(number, decision)
        return register(
            candidate or folder / "snapshot", folder / "evaluation", matrix, verdict, facts, self.archive, registry,
            RegisterParams(), hold, {"report.html": b"<p>Fine.</p>"},
        )  # fmt: skip


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    reload.warm()
    return Nights(tmp_path_factory.mktemp("nights"))


@pytest.fixture
def registry(tmp_path, mlflow_database):
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    return Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlartifacts", "retain")


def test_accepted_nights_become_versions_each_on_top_of_the_other(nights, registry, tmp_path):
    first, second = nights.register(0, registry), nights.register(1, registry)
    assert (first.version, first.champion, second.version, second.champion) == (1, True, 2, True)
    versions = registry.versions()
    assert [version.run.parent for version in versions] == [0, 1]
    assert [version.run.batches for version in versions] == [(name,) for name in BATCHES]
    assert versions[1].run.metrics["images/new"] == 20
    fetched = registry.fetch(2, tmp_path / "versions")
    known = ModelBundle.read(fetched / "snapshot")
    assert known.snapshot.classes == ("bar", "column", "cross", "square")
    assert ScoreMatrix.read(fetched / "evaluation" / "scores.json").new == (BATCHES[1],)


def test_the_record_says_with_how_many_threads_the_weights_were_computed(nights):
    facts, _, _ = nights.judged(0)
    assert facts.system["threads"] == "3"
    assert facts.system["torch"] == torch.__version__


def test_a_night_that_is_registered_again_finds_itself(nights, registry):
    first = nights.register(0, registry)
    assert nights.register(0, registry) == first
    assert len(registry.runs()) == len(registry.versions()) == 1


def test_a_night_that_was_killed_before_it_was_promoted_is_promoted(nights, registry, tmp_path):
    facts, matrix, verdict = nights.judged(0)
    folder = nights.folders[0]
    judged = JudgedNight(facts, matrix, verdict, folder / "snapshot", folder / "evaluation")
    run = registry.log_night(judged, packaging(folder / "snapshot", tmp_path))
    assert registry.champion() == 0
    again = nights.register(0, registry)
    assert (again.run, again.version, again.champion) == (run, 1, True)
    assert len(registry.runs()) == 1


def test_refused_and_inconclusive_nights_are_kept_without_a_version(nights, registry):
    for number, decision in enumerate(("refuse", "inconclusive")):
        assert nights.register(number, registry, decision).version is None
    assert [facts.decision for facts in registry.runs()] == ["inconclusive", "refuse"]
    assert registry.versions() == ()


def test_a_held_night_waits_for_a_person(nights, registry, tmp_path):
    held = nights.register(0, registry, hold=True)
    assert (held.version, held.champion) == (None, False)
    assert nights.register(0, registry).version is None
    done = approve(held.run[:8], "mara", "fine", nights.archive, registry, RegisterParams())
    assert (done.version, done.champion) == (1, True)
    assert registry.versions()[0].run.approved_by == "mara"
    assert not (registry.fetch(1, tmp_path) / "evaluation" / APPROVAL).exists()  # the gate had found nothing to grant


def test_a_refused_night_is_not_approved_without_overruling(nights, registry, tmp_path):
    refused = nights.register(0, registry, "refuse")
    with pytest.raises(WrongInput, match=r"was refused: As asked\."):
        approve(refused.run, "mara", "", nights.archive, registry, RegisterParams())
    assert approve(refused.run, "mara", "", nights.archive, registry, RegisterParams(), overrule=True).champion
    # What it lost is granted, and kept where the next night looks for what it is compared with.
    granted = Approval.read(registry.fetch(1, tmp_path) / "evaluation" / APPROVAL)
    assert granted == Approval(by="mara", note="", classes=2)
    assert {one.version for one in read_references(tmp_path / "1" / "evaluation", 1).values()} == {"v1"}


def test_what_was_not_judged_is_not_registered(nights, registry, tmp_path):
    known = ModelBundle.read(nights.folders[0] / "snapshot")
    for weight in known.learner.network.head.parameters():
        weight.data.neg_()
    known.write(tmp_path / "candidate")
    with pytest.raises(DamagedState, match=r"answers \d+ of 20 images differently"):
        nights.register(0, registry, candidate=tmp_path / "candidate")
    assert (registry.champion(), registry.versions(), registry.runs()) == (0, (), ())
    # The same night, started again, is not held up by what went wrong.
    assert nights.register(0, registry).version == 1


def test_nothing_is_pickled_and_weights_are_stored_once(nights, registry):
    run = nights.register(0, registry).run
    files = [path for path in registry.artifacts.rglob("*") if path.is_file()]
    assert not {path.suffix for path in files} & {".pkl", ".pickle", ".pt", ".pth", ".joblib", ".bin"}
    assert sum(path.name == "weights.safetensors" for path in files) == 1
    kept = {path.name for path in (registry.artifacts / run / "artifacts").iterdir()}
    assert kept == {"evaluation", "score_matrix.json", "score_matrix.png", "report.html", "verdict.json"}


def test_the_judged_answers_are_spread_over_all_experiences(nights):
    folder = nights.folders[1]
    everything = judged_answers(folder / "snapshot", folder / "evaluation", nights.archive, 2000)
    some = judged_answers(folder / "snapshot", folder / "evaluation", nights.archive, 8)
    assert everything.images.shape == (40, 8, 8, 1)
    assert some.images.shape == (8, 8, 8, 1)
    learner = ModelBundle.read(folder / "snapshot").learner
    served = [(a, b) for a, b in zip(everything.labels, everything.confidences, strict=True)]
    assert (some.labels[0], some.confidences[0]) == served[0]
    assert (some.labels[-1], some.confidences[-1]) == served[-1]
    np.testing.assert_array_equal(some.images[-1], everything.images[-1])
    dataset = nights.archive.dataset(
        ModelBundle.read(folder / "snapshot").snapshot.experiences, "test", learner.classes, learner.spec
    )
    np.testing.assert_array_equal(
        everything.images[:, :, :, 0], dataset.images(dataset.target.new_tensor(range(40)))[:, 0]
    )


def test_a_build_for_one_accelerator_is_not_required_elsewhere(nights, tmp_path):
    made = packaging(nights.folders[0] / "snapshot", tmp_path)
    assert [line.partition("==")[0] for line in made.requirements] == list(REQUIREMENTS)
    assert not any("+" in line for line in made.requirements)


@pytest.mark.parametrize("name", ["", "a b", "x/y", "-x", "é", "a'b", "x" * 101])
def test_a_model_name_is_letters_digits_and_little_else(name):
    with pytest.raises(ValidationError):
        RegisterParams(model=name)
