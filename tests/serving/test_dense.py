"""A model that answers at each pixel: what it says, here and in a fresh process."""

import base64
import io
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from PIL import Image

import serving
from adapters.packaging import Packaging
from adapters.registry import Registry
from adapters.runs import JudgedNight
from dataset.decoding.fit import fit
from models.bundle import ModelBundle
from models.learner import Learner
from models.memory import Memory
from models.networks.unet import UNet
from models.problems.base import names_of
from models.problems.segmentation import Segmentation
from records.errors import DamagedState
from records.experience import Experience
from records.runs import NightFacts
from records.scores import Score, ScoreMatrix, ScoreRow
from records.snapshot import InputSpec
from records.verdict import Verdict
from serving import reload
from serving.program import write_program
from serving.served import Served

SPEC = InputSpec(channels=1, height=8, width=12, mean=(0.5,), std=(0.2,))
CLASSES = ("background", "dog", "Ünï $x", "cat")
BATCH = "2026-01-05-aaaaaaaa"


def learner_of(seed):
    """With a head that sees nothing but background in half of the images of `drawn`, and something in the others."""
    learner = Learner.fresh(UNet(width=8), SPEC, CLASSES, seed)
    with torch.no_grad():
        learner.network.head.weight.mul_(10)
        outputs = learner.outputs(torch.from_numpy(drawn(30, 8, 12, 1)).movedim(3, 1))
        ahead = outputs[:, 1:].amax(dim=1) - outputs[:, 0]
        learner.network.head.bias[0] += ahead.flatten(1).amax(dim=1).median()
    return learner


def write_candidate(folder, seed):
    learned = Experience(batch=BATCH, digest="d", classes=CLASSES[1:], train=8, validation=0, test=5)
    nothing = ModelBundle.of_nothing(UNet(width=8), SPEC, seed)
    nothing.after(learner_of(seed), Memory.empty(), {}, [learned], "aa", 0).write(folder)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    write_candidate(place / "snapshot", 1)
    return {"snapshot": place / "snapshot", "program": write_program(place / "snapshot", place / "program")}


@pytest.fixture
def model(artifacts):
    loaded = Served()
    loaded.load_context(type("Context", (), {"artifacts": {name: str(path) for name, path in artifacts.items()}})())
    return loaded


def drawn(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def expected_of(seed, images):
    """Outcomes of the learner, and the classes of the pixels that it sees [n, H, W]."""
    outputs = learner_of(seed).outputs(torch.from_numpy(np.stack([fit(i, 1, SPEC.height, SPEC.width) for i in images])))
    return Segmentation().outcomes(outputs, torch.zeros(len(images), 8, 12, dtype=torch.uint8), 4), outputs.argmax(1)


def labels_of(found):
    return names_of(found, CLASSES)


def mask_of(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_it_answers_as_its_problem_does(model):
    images = [*drawn(40, 8, 12, 1), *(np.full((8, 12, 1), 8 * grey, np.uint8) for grey in range(32))]
    answers = model.predict(None, images)
    outcomes, classes = expected_of(1, images)
    assert answers.columns.tolist() == ["label", "confidence", "mask"]
    assert answers["label"].tolist() == labels_of(outcomes.answer)
    assert len(set(answers["label"])) > 1
    assert answers["confidence"].dtype == np.float64
    np.testing.assert_allclose(answers["confidence"], outcomes.confidence, atol=1e-5)
    given = np.stack([np.asarray(mask_of(text)) for text in answers["mask"]])
    assert (given == classes.numpy()).mean() > 0.999
    assert mask_of(answers["mask"][0]).info["classes"].split("/") == list(CLASSES)
    assert mask_of(answers["mask"][0]).mode == "L"


def test_a_mask_has_the_size_of_the_image_that_was_sent(model):
    """Of 32 x 24 pixels the middle 32 x 21.33 are seen: 3 : 2, as the network sees it. The rest is 255."""
    image = drawn(24, 32, 3)
    mask = np.asarray(mask_of(model.predict(None, image)["mask"][0]))
    _, classes = expected_of(1, [image])
    assert mask.shape == (24, 32)
    assert set(mask[0]) | set(mask[-1]) == {255}
    assert (mask[1:-1] != 255).all()
    assert mask[12, 16] == classes[0, 4, 6]
    assert mask[3, 1] == classes[0, 0, 0]


def test_what_has_no_meaning_is_refused_with_a_sentence(model):
    with pytest.raises(MlflowException, match="`probabilities` has no meaning here: this model answers at each pixel"):
        model.predict(None, drawn(8, 12), {"probabilities": True})


def test_no_images_have_no_answers(model):
    answers = model.predict(None, pd.DataFrame({"image": []}))
    assert answers.shape == (0, 3)


@pytest.mark.slow
def test_a_fresh_process_answers_as_the_learner(artifacts, tmp_path, tmp_path_factory):
    template = tmp_path_factory.getbasetemp() / "mlflow-template.db"
    if not template.exists():
        Registry(f"sqlite:///{template}", None, "none").champion()
    shutil.copy(template, tmp_path / "mlflow.db")
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlartifacts", "retain")
    row = ScoreRow(version="candidate", scores={BATCH: Score(overall=0.9, among_known=0.95, images=5)})
    matrix = ScoreMatrix(experiences=(BATCH,), new=(BATCH,), rows=(row,))
    matrix.write(tmp_path / "evaluation" / "scores.json")
    verdict = Verdict(decision="accept", reason="Fine.", gate="test", confidence=0.95, findings=())
    facts = NightFacts(
        identity="aa", day=date(2026, 1, 5), parent=0, batches=(BATCH,), images=8, data_revision="d", commit="c",
        code="k",
    )  # fmt: skip
    script = Path(serving.__path__[0]) / "served.py"
    packaging = Packaging(script, artifacts["program"], ("torch",), dense=True)
    night = JudgedNight(facts, matrix, verdict, artifacts["snapshot"], tmp_path / "evaluation")
    uri = registry.model_uri(registry.log_night(night, packaging))
    images = drawn(30, 8, 12, 1)
    outcomes, _ = expected_of(1, images)
    labels = labels_of(outcomes.answer)
    reload.reload_and_compare(uri, registry.address, images, labels, outcomes.confidence, dense=True)
    other, _ = expected_of(2, images)
    with pytest.raises(DamagedState, match=r"answers \d+ of 30 images differently"):
        reload.reload_and_compare(uri, registry.address, images, labels_of(other.answer), other.confidence, dense=True)
