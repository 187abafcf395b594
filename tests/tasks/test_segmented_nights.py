"""Two nights of masks, from a folder of images to the verdict: a red square first, then green ones that are new."""

import io
from datetime import date

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from dataset.archive import Archive
from models.budget import Budget
from models.gates.paired_bootstrap import PairedBootstrap
from models.problems.base import Answers
from models.problems.segmentation import Segmentation
from records.batch import BACKGROUND
from records.experience import Experience
from records.scores import ScoreMatrix
from reports.masks import mask_picture
from tasks.evaluate.earlier import Earlier, Reference
from tasks.evaluate.evaluate import evaluate
from tasks.evaluate.examine import ExaminedExperience
from tasks.evaluate.exhibits import answered, worst
from tasks.evaluate.references import write_references
from tasks.evaluate.settings import EvaluateParams
from tasks.evaluate.tables import UNLABELLED, classes_of, problem_of, stacked
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams
from tasks.judge import judge, read_pairs
from tasks.update.settings import UpdateParams
from tasks.update.update import update
from tests.dataset.deliveries.squares import GREEN, RED, SIDE, SQUARE, delivered

pytestmark = pytest.mark.slow

IMAGES = 20
PROBLEM, GATE = Segmentation(), PairedBootstrap()


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Folders of two versions, each with `snapshot` and `evaluation`; and the archive."""
    place = tmp_path_factory.mktemp("nights")
    archive, folders = Archive(place / "batches", place / "cache"), []
    params = UpdateParams.model_validate(
        {"problem": {"name": "segmentation"}, "network": {"name": "unet", "width": 8}}
        | {"budget": Budget(min_steps=30, max_steps=30, batch_size=8, replay_batch_size=8)}
    )
    for number, (colours, name) in enumerate((((RED,), "red"), ((RED, GREEN), "green"))):
        source = delivered(place / name, colours, number + 1, name, number, IMAGES)
        batch = ingest(place / "batches", place / "staging", source, date(2026, 3, 2 + number), IngestParams()).batch
        learned = Experience(batch=batch.id, digest=batch.digest, classes=batch.classes, train=1, validation=0, test=1)
        folder, parent = place / f"v{number + 1}", folders[-1] if folders else None
        before = parent / "snapshot" if parent else None
        update(before, number, [learned], archive, params, str(number), folder / "snapshot")
        evaluate(folder / "snapshot", parent, archive, PROBLEM, EvaluateParams(), folder / "evaluation")
        folders.append(folder)
    return archive, folders


def matrix_of(folder):
    return ScoreMatrix.read(folder / "evaluation" / "scores.json")


def outcomes_of(folder, batch):
    table = parquet.read_table(folder / "evaluation" / "outcomes.parquet").to_pandas()
    return table[table["experience"] == batch]


def test_a_matrix_of_masks_holds_the_miou_of_all_images_together(nights):
    _, (first, second) = nights
    matrix = matrix_of(second)
    assert (matrix.score_name, matrix.class_score_name) == ("miou", "iou")
    for batch in matrix.experiences:
        rows = outcomes_of(second, batch)
        sums = stacked(rows["tally"]).sum(axis=0).reshape(3, 3)
        shown = sums[sums[:, 2] > 0]
        expected = float((shown[:, 0] / shown[:, 1]).mean())
        assert matrix.candidate.scores[batch].overall == pytest.approx(expected, abs=1e-6)
    assert matrix.rows[0].scores == matrix_of(first).candidate.scores


def test_tallies_are_of_the_classes_in_their_order_and_of_every_pixel_that_counts(nights):
    _, (first, second) = nights
    path = first / "evaluation" / "outcomes.parquet"
    assert classes_of(path) == (BACKGROUND, "red")
    assert problem_of(path) == PROBLEM
    assert classes_of(second / "evaluation" / "outcomes.parquet") == (BACKGROUND, "red", "green")
    rows = outcomes_of(first, matrix_of(first).experiences[0])
    assert set(rows["label"]) == {"red"}
    # 36 of the 256 pixels are a square; none is ignored.
    assert (stacked(rows["tally"])[:, [2, 5]] == [SIDE * SIDE - SQUARE**2, SQUARE**2]).all()


def test_old_and_new_classes_have_a_mean_of_their_own(nights):
    _, (first, second) = nights
    measures = matrix_of(second).measures
    assert list(measures.per_class) == [BACKGROUND, "red", "green"]
    assert measures.further["iou_new"] == measures.per_class["green"]
    assert measures.further["iou_old"] == pytest.approx(
        (measures.per_class["red"] + measures.per_class[BACKGROUND]) / 2
    )
    # In a first night everything is new.
    assert {"pixel_accuracy", "mean_dice", "iou_new"} == set(matrix_of(first).measures.further)


def test_the_gate_compares_with_what_the_version_before_answered(nights):
    _, (first, second) = nights
    past, new = read_pairs(second / "evaluation", first / "evaluation", PROBLEM)
    before = outcomes_of(first, past.experience).set_index("image")["tally_known"]
    images = outcomes_of(second, past.experience)["image"]
    assert past.tallies.reference[:, :6].tolist() == stacked(before[images]).tolist()
    assert not past.tallies.reference[:, 6:].any()
    assert set(past.pairs.labels) == {BACKGROUND, "red"}
    assert (new.new, new.pairs) == (True, None)
    verdict = judge((past, new), GATE, problem=PROBLEM)
    assert verdict.find("forgotten").estimate == pytest.approx(
        PROBLEM.score_of(past.tallies.reference) - PROBLEM.score_of(past.tallies.among_known)
    )
    assert "mIoU" in verdict.reason


def test_old_things_in_new_images_are_judged_by_what_the_champion_is_sure_to_see(nights):
    _, (first, second) = nights
    (_, new) = matrix_of(second).experiences
    assert not (first / "evaluation" / UNLABELLED).exists()
    assert UNLABELLED in matrix_of(second).outcomes
    table = parquet.read_table(second / "evaluation" / UNLABELLED).to_pandas()
    # Each of the new batch's test images shows a red square that nobody labelled.
    assert set(table["label"]) == {"red"}
    assert set(table["experience"]) == {new}
    assert set(table["image"]) <= set(outcomes_of(second, new)["image"])
    assert len(table) > len(outcomes_of(second, new)) / 2
    past, tonight = read_pairs(second / "evaluation", first / "evaluation", PROBLEM)
    assert past.unlabelled is None
    assert tonight.unlabelled.overall.tolist() == table["kept"].tolist()
    assert (tonight.unlabelled.reference == 1).all()


def test_what_lost_most_is_shown_with_both_answers(nights):
    archive, (first, second) = nights
    rows = worst(second / "evaluation", first, most=2)
    shown = answered(second / "snapshot", first, rows, archive, dict.fromkeys(matrix_of(second).experiences, "monday"))
    assert [one.score for one in shown] == rows["now"].tolist()
    assert all(one.truth.shape == one.now.shape == one.before.shape == (SIDE, SIDE) for one in shown)
    assert {int(value) for one in shown for value in np.unique(one.truth)} <= {0, 1, 2}
    picture = mask_picture(
        shown, classes_of(second / "evaluation" / "outcomes.parquet"), "v1", "candidate", "Worst", "mIoU"
    )
    assert Image.open(io.BytesIO(picture)).format == "PNG"


def test_the_reference_of_masks_moves_by_the_score_of_all_of_them(tmp_path):
    """Every image was answered half right before and is now: the mIoU of 40 images together rises from 0.5 to 1."""
    images = np.array([f"{number:02d}" for number in range(40)])
    before, now = np.tile([[50.0, 100, 100]], (40, 1)), np.tile([[100.0, 100, 100]], (40, 1))
    best = Reference("v1", dict.fromkeys(images, 0.5), tally=dict(zip(images, before, strict=True)))
    earlier = Earlier(version=1, references={"monday": best})

    def written(tally, right):
        each = np.full(40, right)
        answers = Answers(np.ones((40, 1), dtype=bool), each, each, each, tally, tally)
        examined = [ExaminedExperience("monday", images, np.ones((40, 1), dtype=bool), answers, 0.0)]
        write_references(examined, earlier, PROBLEM, EvaluateParams(), tmp_path / "references.parquet")
        return parquet.read_table(tmp_path / "references.parquet").to_pandas()

    better = written(np.pad(now, ((0, 0), (0, 3))), 1.0)
    assert set(better["version"]) == {"candidate"}
    assert stacked(better["tally"]).tolist() == np.pad(now, ((0, 0), (0, 3))).tolist()
    same = written(before, 1.0)  # how right each image is by itself decides nothing
    assert set(same["version"]) == {"v1"}
    assert stacked(same["tally"]).tolist() == before.tolist()
