from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from sklearn.metrics import f1_score

from dataset.archive import Archive, ImageDataset
from models.budget import Budget
from models.bundle import ModelBundle, sha256
from models.gates.paired_score import PairedScore
from models.networks.mlp import MLP
from models.optimiser import Optimiser
from models.problems.classification import Classification
from models.statistics import certainly_better
from models.strategies.finetune import Finetune
from records.experience import Experience
from records.registration import APPROVAL, Approval
from records.scores import FirstSight, Score, ScoreMatrix, ScoreRow
from tasks.evaluate.earlier import read_references
from tasks.evaluate.evaluate import evaluate
from tasks.evaluate.examine import choose
from tasks.evaluate.settings import EvaluateParams
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams
from tasks.judge import judge, read_pairs
from tasks.update.settings import UpdateParams
from tasks.update.update import update

FIRST, SECOND, THIRD = {"cross": 60, "square": 60}, {"bar": 60, "column": 60}, {"bar": 60, "square": 60}


class Night(NamedTuple):
    folder: Path
    """Folder of the candidate, as that of a version."""
    matrix: ScoreMatrix
    batch: str
    """What was learned."""

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshot"

    @property
    def evaluation(self) -> Path:
        """Folder of its scores and outcomes."""
        return self.folder / "evaluation"


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "batches", tmp_path / "cache")


@pytest.fixture
def score(archive, tmp_path):
    """Evaluates a snapshot on top of a version."""

    def score(snapshot, parent, name="scored"):
        out = tmp_path / name
        return evaluate(snapshot, parent, archive, Classification(), EvaluateParams(), out), out

    return score


@pytest.fixture
def learn(archive, deliver, score, tmp_path):
    """Ingests, learns and evaluates; `learn(1, before, ...)` is a candidate on top of `before`, registered as v1."""

    def learn(version, before, counts, steps=40, optimiser=Optimiser(), **more):  # noqa: B008
        folder = deliver(tmp_path / f"delivery-{version}", counts, seed=version)
        day = date(2026, 3, 1 + version)
        batch = ingest(archive.batches, tmp_path / "staging", folder, day, IngestParams(test_share=0.5)).batch
        experience = Experience(
            batch=batch.id, digest=batch.digest, classes=batch.classes, train=1, validation=0, test=1
        )
        budget = Budget(min_steps=steps, max_steps=steps, batch_size=16, replay_batch_size=16)
        params = UpdateParams(network=MLP(hidden=(32,)), budget=budget, optimiser=optimiser, **more)
        folder = tmp_path / f"version-{version + 1}"
        parent = before.snapshot if before else None
        update(parent, version, [experience], archive, params, str(version), folder / "snapshot")
        matrix, _ = score(folder / "snapshot", before.folder if before else None, folder / "evaluation")
        return Night(folder, matrix, batch.id)

    return learn


@pytest.fixture
def two(learn):
    """v1, and a candidate that learned two classes more."""
    first = learn(0, None, FIRST)
    return first, learn(1, first, SECOND)


def table(evaluation, name, batch=None):
    rows = parquet.read_table(evaluation / f"{name}.parquet").to_pandas()
    return rows if batch is None else rows[rows["experience"] == batch]


def rewrite_references(evaluation, version, right):
    """As if `version` were the best so far on the only experience, right as `right` says."""
    path = evaluation / "references.parquet"
    before = parquet.read_table(path)
    columns = {"version": [version] * len(right), "right": right}
    for name, values in columns.items():
        before = before.set_column(before.schema.get_field_index(name), name, pa.array(values))
    parquet.write_table(before, path)


def test_the_first_night_has_one_row_and_nothing_to_compare_with(learn):
    first = learn(0, None, FIRST)
    assert first.matrix.experiences == first.matrix.new == (first.batch,)
    assert [row.version for row in first.matrix.rows] == ["candidate"]
    assert first.matrix.references == {}
    (pair,) = read_pairs(first.evaluation, None)
    assert pair.new
    assert pair.reference is None
    assert read_references(None, 0) == {}


def test_rows_are_versions_and_columns_are_experiences(learn, two):
    first, second = two
    third = learn(2, second, THIRD)
    batches = (first.batch, second.batch, third.batch)
    assert third.matrix.experiences == batches
    assert third.matrix.new == batches[2:]
    assert third.matrix.past == batches[:2]
    assert [row.version for row in third.matrix.rows] == ["v1", "v2", "candidate"]
    assert [tuple(row.scores) for row in third.matrix.rows] == [batches[:1], batches[:2], batches]
    assert [e.new for e in read_pairs(third.evaluation, second.evaluation)] == [False, False, True]


def test_what_was_a_candidate_bears_its_number_once_it_is_a_parent(two):
    first, second = two
    assert second.matrix.rows[0].version == "v1"
    assert second.matrix.rows[0].scores == first.matrix.candidate.scores
    assert set(table(first.evaluation, "references")["version"]) == {"candidate"}
    assert second.matrix.references == {first.batch: "v1"}
    assert read_references(first.evaluation, 1)[first.batch].version == "v1"


def test_old_experiences_are_asked_twice_with_all_classes_and_with_those_known_then(two, archive):
    first, second = two
    learner = ModelBundle.read(second.snapshot).learner
    experience = ModelBundle.read(first.snapshot).snapshot.experiences[0]
    dataset = archive.dataset([experience], "test", learner.classes, learner.spec)
    logits = learner.outputs(dataset.images(torch.arange(len(dataset))))
    rows = table(second.evaluation, "outcomes", first.batch)
    overall, among_known = logits.argmax(1) == dataset.target, logits[:, :2].argmax(1) == dataset.target
    assert rows["image"].tolist() == dataset.image.tolist()
    assert rows["overall"].tolist() == overall.double().tolist()
    assert rows["among_known"].tolist() == among_known.double().tolist()
    assert rows["answer"].tolist() == [learner.classes[i] for i in logits.argmax(1)]
    assert rows["label"].tolist() == [learner.classes[i] for i in dataset.target]
    assert rows["confidence"].to_numpy() == pytest.approx(logits.softmax(1).max(1).values.numpy(), abs=1e-6)
    assert second.matrix.candidate.scores[first.batch] == Score(
        overall=overall.double().mean(), among_known=among_known.double().mean(), images=len(dataset)
    )


def test_what_was_learned_now_is_asked_with_all_classes_only(two):
    _, second = two
    rows = table(second.evaluation, "outcomes", second.batch)
    assert len(rows) > 20
    assert rows["overall"].tolist() == rows["among_known"].tolist()


def test_matrix_and_tables_are_written_and_named_by_their_digests(two):
    _, second = two
    assert ScoreMatrix.read(second.evaluation / "scores.json") == second.matrix
    assert set(second.matrix.outcomes) == {"outcomes.parquet", "references.parquet"}
    assert all(sha256(second.evaluation / name) == digest for name, digest in second.matrix.outcomes.items())
    outcomes, references = table(second.evaluation, "outcomes"), table(second.evaluation, "references")
    assert outcomes[["experience", "image"]].equals(references[["experience", "image"]])


def test_the_same_snapshot_gives_the_same_tables(two, score):
    first, second = two
    matrix, _ = score(second.snapshot, first.folder)
    assert matrix == second.matrix


def test_the_parent_is_not_asked_again_what_it_answered_before(two, score):
    """Earlier answers are taken from the tables, even those that the earlier model would not give."""
    first, second = two
    count = len(table(first.evaluation, "references"))
    rewrite_references(first.evaluation, "candidate", [0.0, 1.0] * (count // 2) + [0.0] * (count % 2))
    references = table(first.evaluation, "references").set_index("image")["right"]
    matrix, out = score(second.snapshot, first.folder)
    past, _ = read_pairs(out, first.evaluation)
    images = table(out, "outcomes", first.batch)["image"]
    assert past.reference.tolist() == references[images].tolist()
    assert matrix.rows[0].scores == first.matrix.candidate.scores


def test_the_parent_answers_the_new_experience_before_it_is_learned(learn, two, archive):
    """Of classes that nobody knew it knows nothing; of a known one it may. Both stay with the lineage."""
    first, second = two
    assert first.matrix.before == {}
    assert first.matrix.forward_transfer() is None
    assert second.matrix.before == {second.batch: FirstSight(overall=0, untrained=0)}
    third = learn(2, second, {"bar": 60, "ring": 20})
    assert list(third.matrix.before) == [second.batch, third.batch]
    parent = ModelBundle.read(second.snapshot).learner
    classes = (*parent.classes, "ring")
    dataset = archive.dataset([ModelBundle.read(third.snapshot).snapshot.experiences[2]], "test", classes, parent.spec)
    right = parent.outputs(dataset.images(torch.arange(len(dataset)))).argmax(1) == dataset.target
    known = (dataset.target < 4).double().mean().item()
    assert third.matrix.before[third.batch].overall == pytest.approx(right.double().mean().item())
    assert third.matrix.before[third.batch].untrained == pytest.approx(known / 4)
    assert third.matrix.forward_transfer() == pytest.approx((right.double().mean().item() - known / 4) / 2)


def test_measures_are_of_all_test_images_and_flips_of_those_that_the_parent_answered(learn, two):
    first, second = two
    third = learn(2, second, THIRD)
    rows = table(third.evaluation, "outcomes")
    measures = third.matrix.measures
    assert measures.per_class == pytest.approx(rows.groupby("label")["overall"].mean().to_dict())
    assert measures.macro_f1 == pytest.approx(f1_score(rows["label"], rows["answer"], average="macro"))
    assert 0 < measures.calibration_error < 1
    both = table(second.evaluation, "outcomes").merge(rows, on=["experience", "image"])
    assert len(both) == len(rows) - len(table(third.evaluation, "outcomes", third.batch))
    assert measures.negative_flips == pytest.approx((both["overall_x"] > both["overall_y"]).mean())
    assert measures.positive_flips == pytest.approx((both["overall_x"] < both["overall_y"]).mean())
    assert (first.matrix.measures.negative_flips, first.matrix.measures.positive_flips) == (None, None)


def test_answers_are_paired_by_image_and_not_by_position(two):
    first, second = two
    before = read_pairs(second.evaluation, first.evaluation)[0]
    path = first.evaluation / "references.parquet"
    references = parquet.read_table(path)
    parquet.write_table(references.take(np.random.default_rng(0).permutation(len(references))), path)
    assert read_pairs(second.evaluation, first.evaluation)[0].reference.tolist() == before.reference.tolist()


def test_the_reference_stays_without_evidence(learn, two):
    first, second = two
    rows = table(second.evaluation, "references", first.batch)
    assert set(rows["version"]) == {"v1"}
    assert rows["right"].tolist() == table(first.evaluation, "references")["right"].tolist()
    assert set(table(second.evaluation, "references", second.batch)["version"]) == {"candidate"}
    third = learn(2, second, THIRD)
    assert third.matrix.references == {first.batch: "v1", second.batch: "v2"}


def test_the_reference_moves_with_evidence(learn):
    first = learn(0, None, FIRST, steps=1)  # hardly learned anything
    second = learn(1, first, {**FIRST, "bar": 20}, steps=80)
    mine, best = (table(second.evaluation, name, first.batch) for name in ("outcomes", "references"))
    assert mine["among_known"].mean() > table(first.evaluation, "references")["right"].mean() + 0.2
    assert set(best["version"]) == {"candidate"}
    assert best["right"].tolist() == mine["among_known"].tolist()
    assert second.matrix.references == {first.batch: "v1"}  # what this candidate itself is compared with


@pytest.mark.parametrize(
    ("reference", "looks", "least"), [("candidate", 1, 5), ("v3", 2, 7), ("v2", 3, 8), ("v1", 4, 9)]
)
def test_every_version_since_the_reference_makes_evidence_dearer(learn, score, reference, looks, least):
    """v4 is the parent, so tonight's candidate is the fourth to challenge v1, and the first to challenge v4."""
    first = learn(0, None, FIRST, steps=80)
    row = first.matrix.candidate
    earlier = tuple(ScoreRow(version=f"v{n}", scores=row.scores) for n in (1, 2, 3))
    first.matrix.model_copy(update={"rows": (*earlier, row)}).write(first.evaluation / "scores.json")
    snapshot = ModelBundle.read(first.snapshot).snapshot.model_copy(update={"parent": 4})
    snapshot.write(first.snapshot / "snapshot.json")
    answers = table(first.evaluation, "outcomes")["among_known"].to_numpy()
    for gains in (least - 1, least):
        right = answers.copy()
        right[np.flatnonzero(answers)[:gains]] = 0
        rewrite_references(first.evaluation, reference, right)
        matrix, out = score(first.snapshot, first.folder)
        assert [r.version for r in matrix.rows] == ["v1", "v2", "v3", "v4", "candidate"]
        moved = set(table(out, "references")["version"]) == {"candidate"}
        assert moved == certainly_better(answers, right, 0.95, look=looks) == (gains == least)


def verdict_of(candidate, parent, gate=PairedScore()):  # noqa: B008
    return judge(read_pairs(candidate.evaluation, parent.evaluation), gate)


def test_what_a_person_granted_is_not_held_against_later_nights(learn, score):
    """Fine-tuning loses the first batch. A person lets it in: the nights after it are compared with it, not with v1."""
    first = learn(0, None, {"cross": 200, "square": 200}, steps=80)
    harmful = learn(1, first, {"bar": 200, "column": 200}, steps=80, strategy=Finetune())
    assert verdict_of(harmful, first).decision == "refuse"
    third = learn(2, harmful, {"bar": 200, "square": 200}, steps=80)
    assert verdict_of(third, harmful).decision != "accept"  # before the word of a person was kept

    Approval(by="a person", note="", classes=4).write(harmful.evaluation / APPROVAL)
    granted, again = read_references(harmful.evaluation, 2), table(harmful.evaluation, "outcomes")
    assert {(one.version, one.granted) for one in granted.values()} == {("v2", 4)}
    assert sum(sum(one.right.values()) for one in granted.values()) == again["overall"].sum()
    matrix, _ = score(third.snapshot, harmful.folder, "version-3/evaluation")
    assert matrix.references == {first.batch: "v2", harmful.batch: "v2"}
    verdict = verdict_of(third, harmful)
    assert verdict.decision == "accept", verdict.reason

    fourth = learn(3, third, {"cross": 200, "column": 200}, steps=80)
    fifth = learn(4, fourth, {"ring": 200, "bar": 200}, steps=120)
    for candidate, parent in ((fourth, third), (fifth, fourth)):
        verdict = verdict_of(candidate, parent)
        assert verdict.decision == "accept", verdict.reason
    kept = table(fifth.evaluation, "references").groupby("experience", sort=False)["granted"].first()
    assert kept.tolist() == [4, 4, 0, 0, 0]
    # Of what was granted, four classes compete among those known; of what v1 knew alone, two did.
    rows = table(fifth.evaluation, "outcomes", first.batch)
    taken = rows["among_known"] > rows["overall"]
    assert set(rows["answer"][taken]) <= {"ring"}


def test_references_of_before_there_were_approvals_are_read(two):
    first, _ = two
    path = first.evaluation / "references.parquet"
    parquet.write_table(parquet.read_table(path).drop_columns(["granted"]), path)
    assert {one.granted for one in read_references(first.evaluation, 1).values()} == {0}


def test_the_gate_is_told_the_class_of_each_image(two):
    first, second = two
    pairs = read_pairs(second.evaluation, first.evaluation)
    assert [set(pair.labels) for pair in pairs] == [{"cross", "square"}, {"bar", "column"}]


def test_a_training_that_diverged_scores_nothing_and_is_refused(learn):
    first = learn(0, None, FIRST)
    diverged = learn(1, first, SECOND, optimiser=Optimiser(name="sgd", learning_rate=10, schedule="constant"))
    assert not ModelBundle.read(diverged.snapshot).learner.network.head.weight.isfinite().any()
    answers = table(diverged.evaluation, "outcomes")
    assert not answers[["overall", "among_known", "confidence"]].to_numpy().any()
    assert diverged.matrix.average() == 0
    verdict = judge(read_pairs(diverged.evaluation, first.evaluation), PairedScore())
    assert verdict.decision == "refuse"


def pool_of(**sizes):
    """Test images of some experiences, without pixels."""
    total = sum(sizes.values())
    return ImageDataset(
        batch=np.repeat(np.arange(len(sizes)), list(sizes.values())),
        row=np.concatenate([np.arange(size) for size in sizes.values()]),
        image=np.array([f"{name}{number}" for name, size in sizes.items() for number in range(size)]),
        target=torch.zeros(total, dtype=torch.int64),
        batches=tuple(sizes),
        pixels=(),
    )


def test_few_test_images_are_all_asked():
    dataset = pool_of(a=30, b=50)
    assert choose(dataset, 80, {}) is dataset


def test_of_many_each_experience_is_asked_for_as_many_or_for_all_that_it_has():
    chosen = choose(pool_of(a=10, b=50, c=90), 100, {})
    assert np.bincount(chosen.batch).tolist() == [10, 45, 45]
    assert sorted(chosen.row[chosen.batch == 1].tolist()) == chosen.row[chosen.batch == 1].tolist()
    assert np.bincount(choose(pool_of(a=10, b=50, c=90), 1, {}).batch).tolist() == [1, 1, 1]


def test_what_is_asked_later_was_asked_before():
    """However many experiences come, so each answer has one to be compared with, and none was chosen by its answer."""
    asked = set(choose(pool_of(a=100), 90, {}).image)
    sizes = {"a": 100}
    for number in range(20):
        sizes[f"later{number}-"] = 40
        now = choose(pool_of(**sizes), 90, {"a": asked})
        mine = set(now.image[now.batch == 0])
        assert mine < asked or len(mine) == len(asked)
        assert len(now) <= 90
        asked = mine
    assert len(asked) == 90 // 21


def test_a_budget_that_was_raised_asks_no_image_that_has_nothing_to_be_compared_with():
    asked = set(choose(pool_of(a=100), 30, {}).image)
    more = choose(pool_of(a=100, b=100), 150, {"a": asked})
    assert set(more.image[more.batch == 0]) == asked
    assert np.bincount(more.batch).tolist() == [30, 75]


def test_which_images_are_asked_hangs_on_the_key_of_the_workspace():
    dataset = pool_of(a=1000)
    plain, keyed = (set(choose(dataset, 100, {}, key).image) for key in ("", "00" * 16))
    assert plain != keyed
    assert len(plain) == len(keyed) == 100


def test_an_evaluation_within_a_budget_is_compared_image_by_image(two, archive, tmp_path):
    first, second = two
    matrix = evaluate(
        second.snapshot, first.folder, archive, Classification(), EvaluateParams(max_images=40), tmp_path / "small"
    )
    assert sum(score.images for score in matrix.candidate.scores.values()) == 40
    whole = table(second.evaluation, "outcomes").set_index("image")["overall"]
    some = table(tmp_path / "small", "outcomes")
    assert some["overall"].tolist() == whole[some["image"]].tolist()
    assert judge(read_pairs(tmp_path / "small", first.evaluation), PairedScore()).findings
