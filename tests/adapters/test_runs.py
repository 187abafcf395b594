"""Names of metrics, and what is read back of them; no server is asked."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from adapters import descriptions, runs
from records.measures import Measures
from records.runs import NightFacts, VersionFacts
from records.scores import Score, ScoreMatrix, ScoreRow
from records.verdict import Verdict

BATCH = "2026-01-05-aaaaaaaa"


def night(**more):
    """A night whose only experience scores 0.8, and 0.9 among the classes known then."""
    row = ScoreRow(version="candidate", scores={BATCH: Score(overall=0.8, among_known=0.9, images=5)})
    facts = NightFacts(
        identity="aa",
        day=date(2026, 1, 5),
        parent=0,
        batches=(BATCH,),
        images=8,
        data_revision="d",
        commit="c",
        code="e",
    )
    matrix = ScoreMatrix(experiences=(BATCH,), new=(BATCH,), rows=(row,), **more)
    verdict = Verdict(decision="accept", reason="Accepted.", gate="test", confidence=0.95, findings=())
    return runs.JudgedNight(facts, matrix, verdict, Path("candidate"), Path("evaluation"))


def segmented():
    further = {"pixel_accuracy": 0.95, "mean_dice": 0.85, "iou_old": 0.75, "iou_new": 0.5}
    measures = Measures(per_class={"background": 0.9, "cat": 0.7}, further=further)
    return night(measures=measures, score_name="miou", class_score_name="iou")


def version_of(judged):
    """As a registered version bears it."""
    tags = {**runs.tags(judged, 1), "rolled_back": ""}

    class Version:
        version, creation_timestamp, run_id = "1", 0, "r"

    Version.tags = tags
    return runs.read_version(Version, {"champion": 1}, {name: float(tags[name]) for name in ("average", "experiences")})


def test_metrics_of_a_segmentation_are_called_after_the_miou():
    numbers = runs.metrics(segmented())
    expected = {
        "average_miou": 0.8, "learning_miou": 0.8, f"test_miou/{BATCH}": 0.8, f"test_miou_among_known/{BATCH}": 0.9,
        "class_iou/background": 0.9, "class_iou/cat": 0.7, "pixel_accuracy": 0.95, "mean_dice": 0.85,
        "iou_old": 0.75, "iou_new": 0.5, "images/new": 8.0,
    }  # fmt: skip
    assert numbers == expected
    curves = runs._curves(numbers, segmented().matrix)
    assert {"average_miou", "iou_old", f"test_miou/{BATCH}", "class_iou/cat"} <= set(curves)


def test_a_version_knows_which_average_it_has():
    facts = version_of(segmented())
    assert isinstance(facts, VersionFacts)
    assert (facts.run.score_name, facts.run.average) == ("miou", 0.8)
    assert facts.run.metrics == {"average_miou": 0.8, "experiences": 1.0}
    assert "mIoU 80.0% on average over 1 delivery" in descriptions.of_model([facts], 1, {1}, [])
    plain = version_of(night())
    assert (plain.run.score_name, plain.run.average) == ("accuracy", 0.8)
    assert "80.0% right on average over 1 delivery" in descriptions.of_model([plain], 1, {1}, [])


def test_of_a_classification_nothing_is_said_of_the_score_that_was_not_said_before():
    judged = night(measures=Measures(per_class={"cat": 0.7}))
    assert "score_name" not in runs.tags(judged, 1)
    text = judged.matrix.model_dump_json()
    assert "score_name" not in text
    assert "further" not in text
    assert {"average_accuracy", "learning_accuracy", "class_accuracy/cat"} < set(runs.metrics(judged))


def test_a_matrix_says_which_score_it_holds(tmp_path):
    matrix = segmented().matrix
    matrix.write(tmp_path / "scores.json")
    assert ScoreMatrix.read(tmp_path / "scores.json") == matrix
    assert matrix.score_name == "miou"


def test_the_description_of_a_night_says_where_the_pictures_are():
    told = replace(segmented(), attachments={"worst_masks.png": b"png"})
    assert "`worst_masks.png`, under Artifacts" in runs.tags(told, 1)["mlflow.note.content"]
    assert "worst_masks" not in runs.tags(segmented(), 1)["mlflow.note.content"]


@pytest.mark.parametrize(("judged", "heading"), [(night(), "right answers"), (segmented(), "mIoU")])
def test_the_description_of_a_night_names_the_score(judged, heading):
    assert f"| {heading} |" in runs.tags(judged, 1)["mlflow.note.content"]
