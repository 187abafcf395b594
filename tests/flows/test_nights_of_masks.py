"""Two nights of masks, the whole way, and what a person finds of them in MLflow."""

import base64
import io
import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from adapters.datastore import DataStore
from records.batch import BACKGROUND
from records.runs import VersionFacts
from serving.reload import PACKAGES
from tasks.workspace.versions import registry_of
from tasks.workspace.workspace import Workspace
from tests.dataset.deliveries.squares import GREEN, RED, delivered

pytestmark = pytest.mark.slow

PARAMS = """
ingest: {test_share: 0.5, settle_seconds: 0, min_test_images: 0}
validate: {}
update:
  problem: {name: segmentation}
  network: {name: unet, width: 8}
  optimiser: {name: muon, learning_rate: 0.008, matrix_learning_rate: 0.05}
  budget: {min_steps: 100, max_steps: 100, batch_size: 8, replay_batch_size: 8}
evaluate: {}
judge: {forgotten_mean: 0.2, forgotten_each: 0.3, taken_mean: 0.3}
"""
APPLICATION = """
import importlib.abc, sys

address, photo, answers, *packages = sys.argv[1:]

class NoRetain(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in packages:
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, NoRetain())
import mlflow

mlflow.set_tracking_uri(address)
mlflow.pyfunc.load_model("models:/retain@champion").predict(photo).to_json(answers, orient="records")
"""


@dataclass(frozen=True)
class Kept:
    """What MLflow keeps of the nights."""

    workspace: Workspace
    versions: tuple[VersionFacts, ...]

    @property
    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(registry_of(self.workspace).address)

    def run(self, number):
        """MLflow's run of a version."""
        return self.client.get_run(self.versions[number - 1].run.run)


@pytest.fixture(scope="module")
def kept(tmp_path_factory, new_workspace, run_night):
    workspace = new_workspace(tmp_path_factory.mktemp("masks") / "workspace")
    workspace.params.write_text(PARAMS)
    DataStore(workspace.root).commit_files([workspace.params], "Masks")
    for number, (colours, name) in enumerate((((RED,), "red"), ((RED, GREEN), "green"))):
        delivered(workspace.inbox / f"{name}-squares", colours, number + 1, name, number, images=120)
        night = run_night(workspace, 2 + number)
        assert night.outcome == "accept", night.sentence()
    return Kept(workspace, registry_of(workspace).versions())


def test_a_run_is_called_by_its_version_and_its_day(kept):
    assert [kept.run(number).info.run_name for number in (1, 2)] == [
        "v1 · 2026-03-02 · accepted",
        "v2 · 2026-03-03 · accepted",
    ]
    assert [version.run.score_name for version in kept.versions] == ["miou", "miou"]


def test_metrics_are_those_of_masks_and_agree(kept):
    metrics = kept.run(2).data.metrics
    of_class = {name: metrics[f"class_iou/{name}"] for name in (BACKGROUND, "red", "green")}
    assert {name for name in metrics if name.startswith("class_iou/")} == {f"class_iou/{name}" for name in of_class}
    assert metrics["iou_new"] == of_class["green"]
    assert metrics["iou_old"] == pytest.approx((of_class["red"] + of_class[BACKGROUND]) / 2)
    tests = [value for name, value in metrics.items() if name.startswith("test_miou/")]
    assert metrics["average_miou"] == pytest.approx(np.mean(tests))
    assert len(tests) == 2
    assert all(0.5 < metrics[name] <= 1 for name in ("average_miou", "iou_old", "iou_new", "mean_dice"))
    assert not [name for name in metrics if "accuracy" in name and name != "pixel_accuracy"]


def test_curves_follow_the_versions(kept):
    run = kept.versions[1].run.run
    for name in ("average_miou", "class_iou/red"):
        assert [point.step for point in kept.client.get_metric_history(run, name)] == [1, 2]


def test_pictures_lie_beside_the_verdict(kept):
    for version in kept.versions:
        found = {file.path for file in kept.client.list_artifacts(version.run.run)}
        assert {"worst_masks.png", "score_matrix.png", "verdict.json", "params.yaml", "evaluation"} <= found
        picture = kept.client.download_artifacts(version.run.run, "worst_masks.png")
        assert Image.open(picture).size > (300, 300)


def test_what_is_said_of_a_version(kept):
    description = kept.client.get_model_version("retain", "2").description
    for part in ("mIoU", "green-squares", "new classes green", "on top of v1", "`worst_masks.png`"):
        assert part in description
    for wrong in ("right answers", "accuracy", "None", "nan"):
        assert wrong not in description


def test_the_champion_answers_a_mask_of_the_size_of_the_image_where_retain_is_not(kept, tmp_path):
    pixels = np.full((32, 48, 3), 110, dtype=np.uint8)
    pixels[10:22, 10:22], pixels[10:22, 28:40] = RED, GREEN
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    files = [str(tmp_path / name) for name in ("photo.png", "answers.json")]
    address = registry_of(kept.workspace).address
    done = subprocess.run(
        [sys.executable, "-P", "-c", APPLICATION, address, *files, *PACKAGES],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads((tmp_path / "answers.json").read_text())
    mask = Image.open(io.BytesIO(base64.b64decode(answer["mask"])))
    names = mask.info["classes"].split("/")
    assert mask.size == (48, 32)
    assert set(answer["label"].split("/")) == {"red", "green"}
    seen = np.asarray(mask)
    assert [names[seen[row, column]] for row, column in ((16, 16), (16, 33), (3, 24))] == ["red", "green", BACKGROUND]
