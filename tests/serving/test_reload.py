import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

import serving
from adapters.packaging import Packaging
from adapters.registry import Registry
from adapters.runs import JudgedNight
from models.bundle import ModelBundle
from models.learner import Learner
from models.memory import Memory
from models.networks.mlp import MLP
from records.errors import DamagedState
from records.experience import Experience
from records.runs import NightFacts
from records.scores import Score, ScoreMatrix, ScoreRow
from records.snapshot import InputSpec
from records.verdict import Verdict
from serving import reload
from serving.program import write_program

SPEC = InputSpec(channels=3, height=6, width=5, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
BATCH = "2026-01-05-aaaaaaaa"
IMAGES = np.random.default_rng(0).integers(0, 256, (200, 6, 5, 3), dtype=np.uint8)


@pytest.fixture(scope="module", autouse=True)
def process():
    """One fresh process serves all tests; it ends with them."""
    reload.warm()


def learner_of(seed):
    return Learner.fresh(MLP(hidden=(16,)), SPEC, ("cat", "dog", "Ünï $x"), seed)


def write_candidate(folder, seed):
    learner = learner_of(seed)
    learned = Experience(batch=BATCH, digest="d", classes=learner.classes, train=8, validation=0, test=5)
    nothing = ModelBundle.of_nothing(MLP(hidden=(16,)), SPEC, seed)
    nothing.after(learner, Memory.empty(), {}, [learned], "aa", 0).write(folder)


def answers_of(seed):
    learner = learner_of(seed)
    outputs = learner.outputs(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()))
    confidence, answer = outputs.softmax(dim=1).max(dim=1)
    return [learner.classes[i] for i in answer], confidence.double().numpy()


@pytest.fixture(scope="module")
def logged(tmp_path_factory, mlflow_database):
    """A real model logged in a real registry: (registry, uri, folder of the model's files)."""
    place = tmp_path_factory.mktemp("logged")
    shutil.copy(mlflow_database, place / "mlflow.db")
    registry = Registry(f"sqlite:///{place / 'mlflow.db'}", place / "mlartifacts", "retain")
    write_candidate(place / "candidate", seed=1)
    row = ScoreRow(version="candidate", scores={BATCH: Score(overall=0.9, among_known=0.95, images=5)})
    matrix = ScoreMatrix(experiences=(BATCH,), new=(BATCH,), rows=(row,))
    matrix.write(place / "evaluation" / "scores.json")
    verdict = Verdict(decision="accept", reason="Fine.", gate="test", confidence=0.95, findings=())
    facts = NightFacts(
        identity="aa", day=date(2026, 1, 5), parent=0, batches=(BATCH,), images=8, data_revision="d", commit="c",
        code="k",
    )  # fmt: skip
    program = write_program(place / "candidate", place / "program")
    packaging = Packaging(Path(serving.__path__[0]) / "served.py", program, ("torch",))
    run = registry.log_night(JudgedNight(facts, matrix, verdict, place / "candidate", place / "evaluation"), packaging)
    (folder,) = (place / "mlartifacts" / "models").glob("*/artifacts")
    return registry, registry.model_uri(run), folder


@pytest.fixture
def damaged(logged, tmp_path):
    """The logged model's files, to be damaged: they are put back afterwards. Gives the folder."""
    folder = logged[2]
    shutil.copytree(folder, tmp_path / "whole")
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "whole", folder)


@pytest.mark.slow
def test_the_logged_model_answers_as_the_candidate(logged):
    registry, uri, _ = logged
    labels, confidences = answers_of(seed=1)
    assert set(labels) == {"cat", "dog", "Ünï $x"}
    reload.reload_and_compare(uri, registry.address, IMAGES, labels, confidences)


@pytest.mark.slow
def test_a_weight_that_was_tampered_with_is_found(logged, damaged):
    registry, uri, _ = logged
    weights = damaged / "artifacts" / "candidate" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0x40
    weights.write_bytes(content)
    with pytest.raises(DamagedState, match=r"cannot be loaded back .*weights\.safetensors is missing or was changed"):
        reload.reload_and_compare(uri, registry.address, IMAGES, *answers_of(seed=1))


@pytest.mark.slow
def test_other_weights_with_the_right_digests_answer_differently(logged, damaged):
    registry, uri, _ = logged
    write_candidate(damaged / "artifacts" / "candidate", seed=2)
    with pytest.raises(DamagedState, match=r"answers \d+ of 200 images differently"):
        reload.reload_and_compare(uri, registry.address, IMAGES, *answers_of(seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("package", ["records", "dataset"])
def test_a_model_that_imports_retain_is_not_registered(logged, damaged, package):
    """It would answer here alone, and differently once the code changes."""
    registry, uri, _ = logged
    script = damaged / "served.py"
    script.write_text(f"import {package}\n" + script.read_text())
    with pytest.raises(DamagedState, match=f"package {package} was imported from .*, not from the logged model"):
        reload.reload_and_compare(uri, registry.address, IMAGES, *answers_of(seed=1))


def test_every_package_of_retain_is_looked_for():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    installed = {name.partition(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    assert set(reload.PACKAGES) == installed


@pytest.mark.parametrize(
    ("given", "sure", "wrong"),
    [
        (["a", "b", "a"], [0.9, 0.8, 0.402], [False, False, False]),
        (["a", "b", "b"], [0.9, 0.805, 0.4], [False, False, False]),
        (["b", "a", "b"], [0.9, 0.8, 0.402], [True, True, False]),
        (["a", "b", "a"], [0.9, 0.7, float("nan")], [False, True, True]),
    ],
    ids=["equal", "rounding", "names in another order", "other confidences"],
)
def test_what_counts_as_a_different_answer(given, sure, wrong):
    found = reload.different(given, np.array(sure), ["a", "b", "a"], np.array([0.9, 0.8, 0.402]))
    assert found.tolist() == wrong


def test_a_label_of_pixels_may_differ_where_two_classes_are_equal_but_for_rounding():
    labels, sure = ["a/b"] * 20, np.full(20, 0.9)
    few, many = ["a", *labels[1:]], ["a"] * 3 + labels[3:]
    assert reload.different(few, sure, labels, sure, dense=True).sum() == 0
    assert reload.different(many, sure, labels, sure, dense=True).sum() == 3
    assert reload.different(labels, sure, labels, sure + 0.02, dense=True).all()


@pytest.mark.slow
def test_nothing_is_pickled(logged):
    files = {path.suffix for path in logged[2].rglob("*") if path.is_file()}
    assert not files & {".pkl", ".pickle", ".pt", ".pth", ".joblib", ".bin"}
    assert ".safetensors" in files
    assert not any(path.name == "__pycache__" for path in logged[2].rglob("*"))


@pytest.mark.skipif(sys.platform != "linux", reason="pidfd_open is of Linux")
@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), 9)"], ids=["ends", "is killed"])
def test_no_process_is_left_when_its_owner(end, tmp_path):
    # One that imports no libraries: the owner is gone before they were imported, or after, it is the same.
    text, changed = re.subn(r"(?s)LIBRARIES = \(.*?\n\)", "LIBRARIES = ()", reload.FRESH.read_text())
    assert changed == 1
    (light := tmp_path / "fresh.py").write_text(text)
    code = "print(reload._waiting.process.pid, flush=True)"
    # It ends only once it is watched: else its process may be gone before anybody could look.
    begin = f"import os, pathlib\nfrom serving import reload\nreload.FRESH = pathlib.Path({str(light)!r})"
    script = f"{begin}\nreload.warm()\n{code}\ninput()\n{end}"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    owner = subprocess.Popen([sys.executable, "-c", script], **pipes)
    handle = os.pidfd_open(int(owner.stdout.readline()))
    try:
        owner.communicate("\n")
        watch = select.poll()
        watch.register(handle, select.POLLIN)
        assert watch.poll(120_000), "it is still there two minutes later"
    finally:
        os.close(handle)
    assert owner.returncode == (-signal.SIGKILL if end else 0)


def test_a_process_that_has_ended_is_replaced():
    before = reload._waiting
    before.process.kill()
    before.process.wait()
    reload.warm()
    assert reload._waiting is not before
    assert reload._waiting.usable
