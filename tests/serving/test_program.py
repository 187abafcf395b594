import ast
import sys
import zipfile
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file
from torch.export.passes import move_to_device_pass

import serving
from models.catalogue import NetworkRecipe
from models.learner import Learner
from models.networks.cnn import CNN
from models.networks.mlp import MLP
from models.networks.patches import Patches
from models.networks.resnet import ResNet18
from models.networks.torchvision import Torchvision
from models.networks.torchvision_segmentation import TorchvisionSegmentation
from models.networks.unet import UNet
from records.snapshot import InputSpec
from serving.program import MOST_AT_ONCE, PICTURES, write_program
from tasks.register import REQUIREMENTS

GREY = InputSpec(channels=1, height=9, width=12, mean=(0.4,), std=(0.3,))
COLOUR = InputSpec(channels=3, height=32, width=32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
NETWORKS = [
    (MLP(hidden=(16,), dropout=0.2), GREY),
    (CNN(width=8), GREY),
    (CNN(width=8), COLOUR),
    pytest.param(ResNet18(width=8), COLOUR, marks=pytest.mark.slow),
    (Patches(filters=8), GREY),
    (Patches(filters=8, channels=4, hidden=(10,)), COLOUR),
    pytest.param(Torchvision(model="resnet18"), COLOUR, marks=pytest.mark.slow),
    (UNet(width=8), GREY),
    pytest.param(Torchvision(model="vit_b_16"), COLOUR, marks=pytest.mark.slow),
    pytest.param(Torchvision(model="mobilenet_v3_small"), GREY, marks=pytest.mark.slow),
    pytest.param(TorchvisionSegmentation(), COLOUR, marks=pytest.mark.slow),
    pytest.param(TorchvisionSegmentation(model="deeplabv3_resnet50"), COLOUR, marks=pytest.mark.slow),
    pytest.param(TorchvisionSegmentation(model="fcn_resnet50"), GREY, marks=pytest.mark.slow),
]


def name_of(value):
    return " ".join(filter(None, (value.name, getattr(value, "model", "")))) if hasattr(value, "name") else None


def unsettled(learner):
    """Statistics as after training: batch normalisation must use these, and not those of the images at hand."""
    with torch.no_grad():
        for number, value in enumerate(learner.network.buffers()):
            if value.is_floating_point() and value.dim() == 1:
                value.add_(torch.rand(value.shape, generator=torch.Generator().manual_seed(number)))
    return learner


def test_every_network_of_the_catalogue_is_tried():
    listed = get_args(get_args(NetworkRecipe)[0])
    assert {type(getattr(case, "values", case)[0]) for case in NETWORKS} == set(listed)


@pytest.mark.parametrize(("recipe", "spec"), NETWORKS, ids=name_of)
def test_the_program_answers_as_the_learner(tmp_path, recipe, spec):
    """For one image and for many, with weights from the snapshot's file; and wherever it is moved to."""
    learner = unsettled(Learner.fresh(recipe, spec, ("a", "b", "c"), 3))
    learner.network.train()
    learner.write(tmp_path / "snapshot")
    folder = write_program(tmp_path / "snapshot", tmp_path / "program")
    program = torch.export.load(folder / "program.pt2").module()
    weights = dict(sorted(load_file(tmp_path / "snapshot" / "weights.safetensors").items()))
    generator = torch.Generator().manual_seed(0)
    for count in (1, 2, 5, MOST_AT_ONCE):
        shape = (count, spec.channels, spec.height, spec.width)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        expected = learner.outputs(images).softmax(dim=1)
        with torch.inference_mode():
            torch.testing.assert_close(program(weights, images), expected, atol=1e-5, rtol=1e-4)
    moved = move_to_device_pass(torch.export.load(folder / "program.pt2"), "meta").module()
    elsewhere = moved({name: weight.to("meta") for name, weight in weights.items()}, images.to("meta"))
    assert (elsewhere.device.type, elsewhere.shape) == ("meta", expected.shape)


def test_a_program_holds_neither_weights_nor_pickles(tmp_path):
    learner = Learner.fresh(CNN(width=64), COLOUR, ("a", "b"), 3)
    learner.write(tmp_path / "snapshot")
    folder = write_program(tmp_path / "snapshot", tmp_path / "program")
    with zipfile.ZipFile(folder / "program.pt2") as archive:
        sizes = {Path(info.filename).name: info.file_size for info in archive.infolist()}
        content = b"".join(archive.read(info) for info in archive.infolist())
    assert sizes["model.pt"] == 0
    assert b'"use_pickle": true' not in content
    assert b"\x80\x02" not in content
    assert (folder / "program.pt2").stat().st_size * 10 < (tmp_path / "snapshot" / "weights.safetensors").stat().st_size


def test_the_model_imports_nothing_of_retain_and_names_the_rest():
    """All that the files of a logged model import is in its requirements, and nothing else is."""
    imported = set()
    for source in [Path(serving.__path__[0]) / "served.py", *(Path(str(module.__file__)) for module in PICTURES)]:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"mlflow"}
    assert {{"PIL": "pillow"}.get(name, name) for name in foreign} == set(REQUIREMENTS)
