"""The logged model as its users meet it: in other processes, where nothing of retain can be imported."""

import json
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
import torch
from PIL import Image

import dataset
import models
import records
import serving
from adapters.packaging import Packaging
from adapters.registry import Registry
from adapters.runs import JudgedNight
from dataset.decoding.fit import fit
from models.bundle import ModelBundle
from models.learner import Learner
from models.memory import Memory
from models.networks.cnn import CNN
from records.experience import Experience
from records.runs import NightFacts
from records.scores import Score, ScoreMatrix, ScoreRow
from records.snapshot import InputSpec
from records.verdict import Verdict
from serving import reload
from serving.program import write_program

pytestmark = pytest.mark.slow

SPEC = InputSpec(channels=3, height=16, width=12, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
CLASSES = ("cat", "dog", "Ünï $x")
SERVED = Path(serving.__path__[0]) / "served.py"
PHOTO = np.random.default_rng(0).integers(0, 256, (427, 640, 3), dtype=np.uint8)

APPLICATION = '''
import importlib.abc, json, sys

class NoRetain(importlib.abc.MetaPathFinder):
    """As where retain is not installed."""
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("tasks", "reports", "serving", "dataset", "adapters"):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, NoRetain())
home, address, photo = sys.argv[1:]
sys.path.insert(0, home)
import flows, models, records
from models import bundle
assert models.OURS and records.OURS and flows.OURS and bundle.OURS

import mlflow, numpy, base64
from PIL import Image
from mlflow.pyfunc import scoring_server

mlflow.set_tracking_uri(address)
first = mlflow.pyfunc.load_model("models:/retain/1")
fifth = mlflow.pyfunc.load_model("models:/retain@champion")
encoded = open(photo, "rb").read()
text = base64.b64encode(encoded).decode()
pixels = numpy.asarray(Image.open(photo))
results = {"forms": [m.predict(given).to_dict("records") for m in (first, fifth)
                  for given in (photo, encoded, text, pixels, [pixels, photo], Image.open(photo))]}
results["probabilities"] = fifth.predict(photo, params={"probabilities": True}).to_dict("records")

def post(**request):
    answer = scoring_server.invocations(json.dumps(request), "application/json", fifth, None)
    return json.loads(answer.response)["predictions"]

results["posted"] = [post(inputs=[text]), post(inputs=pixels.tolist()), post(instances=[text]),
                  post(dataframe_split={"columns": ["image"], "data": [[text]]}),
                  post(dataframe_records=[{"image": text}]), post(inputs=[text], params={"probabilities": True})]
try:
    fifth.predict(pixels / 255)
except mlflow.exceptions.MlflowException as error:
    results["refused"] = str(error)
results["ours"] = [sys.modules[name].__file__ for name in ("models", "records", "flows", "models.bundle")]
print(json.dumps(results))
'''


def learner_of(seed):
    return Learner.fresh(CNN(width=8), SPEC, CLASSES, seed)


def write_candidate(folder, seed):
    learner = learner_of(seed)
    learned = Experience(batch="2026-01-05-aaaaaaaa", digest="d", classes=CLASSES, train=8, validation=0, test=5)
    nothing = ModelBundle.of_nothing(CNN(width=8), SPEC, seed)
    nothing.after(learner, Memory.empty(), {}, [learned], f"{seed}", 0).write(folder)


def log(registry, place, seed, script):
    write_candidate(place / "candidate", seed)
    batch = "2026-01-05-aaaaaaaa"
    row = ScoreRow(version="candidate", scores={batch: Score(overall=0.9, among_known=0.95, images=5)})
    matrix = ScoreMatrix(experiences=(batch,), new=(batch,), rows=(row,))
    matrix.write(place / "evaluation" / "scores.json")
    verdict = Verdict(decision="accept", reason="Fine.", gate="test", confidence=0.95, findings=())
    facts = NightFacts(
        identity=str(seed), day=date(2026, 1, 5), parent=seed - 1, batches=(batch,), images=8, data_revision="d",
        commit="c", code="k",
    )  # fmt: skip
    packaging = Packaging(script, write_program(place / "candidate", place / "program"), ("torch",))
    return registry.log_night(JudgedNight(facts, matrix, verdict, place / "candidate", place / "evaluation"), packaging)


@pytest.fixture
def registry(tmp_path, mlflow_database):
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    return Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlartifacts", "retain")


def expected_of(seed, pixels):
    images = torch.from_numpy(fit(pixels, SPEC.channels, SPEC.height, SPEC.width)[None])
    return learner_of(seed).outputs(images).softmax(dim=1)[0].numpy()


def test_versions_of_different_code_answer_in_an_application_that_knows_no_retain(registry, tmp_path):
    """It has packages called `models`, `records` and `flows`; the first version calls its labels otherwise."""
    other = tmp_path / "other" / "served.py"
    other.parent.mkdir()
    other.write_text(SERVED.read_text().replace("names[answer]", '"first " + names[answer]'))
    for number, script in ((1, other), (2, SERVED)):
        registry.promote(log(registry, tmp_path / str(number), number, script))
    home = tmp_path / "application"
    for name in ("models", "records", "flows"):
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").write_text("OURS = True\n")
    (home / "models" / "bundle.py").write_text("OURS = True\n")
    (home / "run.py").write_text(APPLICATION)
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    command = [sys.executable, "-I", home / "run.py", home, registry.address, tmp_path / "photo.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    expected = [expected_of(seed, PHOTO) for seed in (1, 2)]
    labels = [f"first {CLASSES[expected[0].argmax()]}", CLASSES[expected[1].argmax()]]
    assert len(document["forms"]) == 12
    for version in (0, 1):
        for answers in document["forms"][version * 6 : version * 6 + 6]:
            assert {answer["label"] for answer in answers} == {labels[version]}
            assert all(abs(answer["confidence"] - expected[version].max()) < 1e-5 for answer in answers)
    for (answer,) in (document["probabilities"], *document["posted"]):
        assert answer["label"] == labels[1]
    for answer in (document["probabilities"][0], document["posted"][-1][0]):
        shares = [answer[f"probability/{name}"] for name in CLASSES]
        np.testing.assert_allclose(shares, expected[1], atol=1e-5)
    assert document["refused"] == "Image 1: its pixels are float64; they must be uint8, whole numbers 0 to 255."
    assert all(Path(place).is_relative_to(home) for place in document["ours"])


def test_a_version_of_before_models_stood_alone_still_loads(registry, tmp_path):
    """By MLflow, by the check before an approval, and as the parent of a night."""
    run = log(registry, tmp_path / "night", 1, SERVED)
    (folder,) = (tmp_path / "mlartifacts" / "models").glob("*/artifacts")
    shutil.rmtree(folder)
    mlflow.pyfunc.save_model(
        path=folder,
        python_model=str(Path(__file__).with_name("served_before.py")),
        code_paths=[dataset.__path__[0], models.__path__[0], records.__path__[0]],
        artifacts={"snapshot": str(tmp_path / "night" / "candidate")},
        pip_requirements=["torch"],
    )
    registry.promote(run)
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 12, 3), dtype=np.uint8)
    expected = learner_of(1).outputs(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).softmax(dim=1).numpy()
    labels, confidences = reload.answers(registry.model_uri(run), registry.address, images)
    assert labels == [CLASSES[i] for i in expected.argmax(axis=1)]
    np.testing.assert_allclose(confidences, expected.max(axis=1), atol=1e-5)
    fetched = registry.fetch(1, tmp_path / "versions")
    assert ModelBundle.read(fetched / "snapshot").learner.classes == CLASSES
    assert {path.name for path in fetched.iterdir()} == {"snapshot", "evaluation"}
