import ast
import hashlib
import inspect
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn
from torchvision import models

from models.budget import Budget
from models.corrections.interpolation import Interpolation
from models.learner import Learner
from models.networks.base import Network
from models.networks.torchvision import Torchvision, fitted
from models.optimiser import Optimiser
from models.problems.classification import Classification
from models.strategies.base import TrainingContext, TrainingData, frozen
from models.strategies.finetune import Finetune
from models.training import Plan, train
from records.errors import Unavailable, WrongParameters
from records.snapshot import InputSpec
from tests.models.datasets import coloured, shaded

pytestmark = pytest.mark.unhurried

# One of each family of torchvision, and what its classifier is fed.
FAMILIES = {
    "alexnet": 4096,
    "convnext_tiny": 768,
    "densenet121": 1024,
    "efficientnet_b0": 1280,
    "googlenet": 1024,
    "inception_v3": 2048,
    "maxvit_t": 512,
    "mnasnet0_5": 1280,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 1024,
    "regnet_x_400mf": 400,
    "resnet50": 2048,
    "shufflenet_v2_x0_5": 1024,
    "squeezenet1_1": 512,
    "swin_t": 768,
    "swin_v2_t": 768,
    "vgg11_bn": 4096,
    "vit_b_16": 768,
}
SMALL = "shufflenet_v2_x0_5"
PUBLISHED = "shufflenetv2_x0.5-f707e7126e.pth"


def spec(side: int, channels: int = 3) -> InputSpec:
    half = (0.5,) * channels
    return InputSpec(channels=channels, height=side, width=side, mean=half, std=half)


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Torch's own folder of weights, empty, on a machine without a network."""

    def refuse(*args: object, **settings: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def own(folder: Path, state: dict[str, torch.Tensor]) -> str:
    content = save({name: value.contiguous() for name, value in state.items()})
    name = f"ours-{hashlib.sha256(content).hexdigest()[:8]}.safetensors"
    (folder / name).write_bytes(content)
    return name


@pytest.mark.parametrize(("model", "width"), FAMILIES.items())
def test_the_classifier_of_every_family_comes_off(model: str, width: int) -> None:
    # Without numbers it takes no time; RegNets do arithmetic with tensors when they are built.
    with torch.device("cpu" if model.startswith("regnet") else "meta"):
        body, features = Torchvision(model=model).body(spec(224))
    assert features == width
    assert not [v for k, v in body.state_dict().items() if v.dim() and len(v) == 1000 and "bias_table" not in k]


def test_every_family_of_torchvision_is_among_them() -> None:
    def family(model: str) -> str:
        return models.get_model_builder(model).__module__

    assert {family(model) for model in models.list_models(module=models)} == {family(model) for model in FAMILIES}


def test_grey_images_are_seen_as_colour_images_without_colour() -> None:
    grey, colour = (Network(Torchvision(model=SMALL), spec(32, channels), 2).eval() for channels in (1, 3))
    colour.body.load_state_dict(grey.body.state_dict())
    images = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(grey.features(images), colour.features(images.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(("frozen", "changes"), [(True, False), (False, True)])
def test_statistics_that_came_with_weights_stay_if_they_are_frozen(
    frozen: bool, changes: bool, checkpoints: Path
) -> None:
    weights = own(checkpoints, models.get_model(SMALL).state_dict())
    recipe = Torchvision(model=SMALL, weights=weights, freeze_batch_norm=frozen)
    body = Learner.fresh(recipe, spec(32), (), seed=0).network.body.train()
    before = {name: value.clone() for name, value in body.named_buffers() if "running" in name}
    body(torch.rand(4, 3, 32, 32)).sum().backward()
    assert any(not torch.equal(value, before[k]) for k, value in body.named_buffers() if k in before) is changes
    assert all(parameter.grad is not None for parameter in body.parameters())


def test_without_weights_there_are_no_statistics_to_keep() -> None:
    body, _ = Torchvision(model=SMALL).body(spec(32))
    assert all(module.training for module in body.train().modules() if isinstance(module, nn.BatchNorm2d))


def test_a_learner_starts_from_published_weights_and_is_read_without_them(checkpoints: Path, tmp_path: Path) -> None:
    given = models.get_model(SMALL).state_dict()
    torch.save(given, checkpoints / PUBLISHED)
    learner = Learner.fresh(Torchvision(model=SMALL, weights="DEFAULT"), spec(32), ("a", "b"), seed=0)
    weights = learner.network.body.state_dict()
    assert all(torch.equal(value, given[name.removeprefix("model.")]) for name, value in weights.items())
    learner.write(tmp_path / "learner")
    (checkpoints / PUBLISHED).unlink()
    again = Learner.read(tmp_path / "learner")
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(again.outputs(images), learner.outputs(images))


def test_published_weights_cannot_run_code(checkpoints: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(checkpoints / "sprung"),)

    torch.save({"conv1.weight": Trap()}, checkpoints / PUBLISHED)
    with pytest.raises(WrongParameters, match=r"is not a readable file of weights"):
        Learner.fresh(Torchvision(model=SMALL, weights="DEFAULT"), spec(32), (), seed=0)
    assert not (checkpoints / "sprung").exists()


def test_positions_of_a_vit_are_interpolated_to_the_images_size() -> None:
    with torch.device("meta"):
        model = models.get_model("vit_b_32", image_size=64)
    state = fitted(model, {"encoder.pos_embedding": torch.ones(1, 1 + 7 * 7, 768)})
    torch.testing.assert_close(state["encoder.pos_embedding"], torch.ones(1, 1 + 2 * 2, 768))


@pytest.mark.slow
def test_densenets_published_names_are_understood(checkpoints: Path) -> None:
    recipe = Torchvision(model="densenet121")
    body, _ = recipe.body(spec(32))
    old = {}
    for name, value in body.state_dict().items():
        for part in ("norm1", "norm2", "conv1", "conv2"):
            name = name.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.") if "denselayer" in name else name
        old[name.removeprefix("model.")] = torch.zeros_like(value)
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    recipe.model_copy(update={"weights": own(checkpoints, old)}).load_pretrained(body)
    assert not any(value.any() for value in body.parameters())


def wrong(side: int = 32, **fields: str) -> str:
    with pytest.raises((WrongParameters, Unavailable)) as error:
        Learner.fresh(Torchvision(**fields), spec(side), (), seed=0)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_model_that_does_not_exist_is_told_with_its_like() -> None:
    assert wrong(model="resnet_50").startswith(
        "`update.network.model` is `resnet_50`, which torchvision does not have; did you mean `resnet50` or "
    )
    assert "; known: alexnet, convnext_base, " in wrong(model="yolo")


@pytest.mark.parametrize(("model", "side"), [("vit_b_16", 28), ("inception_v3", 64), ("maxvit_t", 64), ("vgg11", 8)])
def test_images_that_are_too_small_are_told_with_the_parameter(model: str, side: int) -> None:
    with torch.device("meta"):
        message = wrong(side, model=model)
    assert message.startswith(f"torchvision's {model} cannot take images of {side} x {side} pixels (")
    assert "Set `update.image.size`, to 224 for instance" in message


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vit_b_16", "inception_v3", "maxvit_t", "regnet_x_400mf"])
def test_whether_a_size_will_do_is_known_before_there_is_an_image(model: str) -> None:
    Torchvision(model=model).check(224)
    Torchvision(model=model).check(None)
    if model != "regnet_x_400mf":
        with pytest.raises(WrongParameters, match="cannot take images of 50 x 50 pixels"):
            Torchvision(model=model).check(50)


def test_weights_that_do_not_exist_are_told_with_those_that_do() -> None:
    message = wrong(model="resnet50", weights="IMAGENET")
    assert "`update.network.weights` is `IMAGENET`, which torchvision does not have for resnet50" in message
    assert "known: IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT, or a .safetensors file" in message


def test_weights_that_are_not_at_hand_are_told_with_their_place(
    checkpoints: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    message = wrong(model=SMALL, weights="DEFAULT")
    assert f"are not at {checkpoints / PUBLISHED} and cannot be downloaded (no route to host)" in message
    assert (
        f"Put https://download.pytorch.org/models/{PUBLISHED} there, or set `update.network.weights` to null" in message
    )
    assert capfd.readouterr().out == ""
    assert f"are not at {checkpoints / 'x-12345678.safetensors'} (" in wrong(weights="x-12345678.safetensors")


def test_a_file_of_weights_is_what_its_name_says(checkpoints: Path) -> None:
    name = own(checkpoints, {"conv1.weight": torch.zeros(3)})
    (checkpoints / name).rename(checkpoints / "ours.safetensors")
    assert f"rename it to {name}" in wrong(model=SMALL, weights="ours.safetensors")
    (checkpoints / "ours.safetensors").rename(checkpoints / "ours-00000000.safetensors")
    assert f"rename it to {name}" in wrong(model=SMALL, weights="ours-00000000.safetensors")
    noise = hashlib.sha256(b"noise").hexdigest()[:8]
    (checkpoints / f"noise-{noise}.safetensors").write_bytes(b"noise")
    assert "is not a readable file of weights" in wrong(model=SMALL, weights=f"noise-{noise}.safetensors")


def test_weights_of_another_model_do_not_fit(checkpoints: Path) -> None:
    part = own(checkpoints, {"conv1.0.weight": torch.zeros(24, 3, 3, 3)})
    assert f"{part} does not fit torchvision's {SMALL} (conv1.1.weight)" in wrong(model=SMALL, weights=part)
    other = own(checkpoints, {"conv1.0.weight": torch.zeros(1)})
    assert "does not fit" in wrong(model=SMALL, weights=other)


def test_torchvision_is_imported_only_where_it_is_used() -> None:
    top = ast.parse(Path(inspect.getfile(Torchvision)).read_text()).body
    imported = [ast.unparse(line) for line in top if isinstance(line, ast.Import | ast.ImportFrom)]
    assert "import torch" in imported
    assert not any("torchvision" in line for line in imported)


def batch_normalised(seed: int) -> Network:
    torch.manual_seed(seed)
    spec = InputSpec(channels=1, height=4, width=4, mean=(0.5,), std=(0.25,))
    network = Network(Torchvision(model=SMALL), spec, 2)
    with torch.no_grad():
        for statistic in network.buffers():
            statistic.add_(seed)
    return network


def test_interpolation_takes_statistics_along_with_the_weights():
    student, parent = batch_normalised(1), batch_normalised(2)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    context = TrainingContext(student, frozen(parent), Classification())
    Interpolation(parent_weight=0.25).apply(context, TrainingData(coloured(2, 0), lambda: None, lambda: None))
    its, counted = parent.state_dict(), 0
    for name, value in student.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * its[name])
            counted += name.endswith("running_var")
        else:
            assert torch.equal(value, before[name])
    assert counted > 30


def test_the_moving_average_takes_statistics_along_with_the_weights():
    def trained(average: float) -> dict[str, torch.Tensor]:
        context = TrainingContext(batch_normalised(1), None, Classification(), seed=5)
        plan = Plan(budget=Budget(batch_size=4, min_steps=3, max_steps=3), optimiser=Optimiser(ema_decay=average))
        train(context, Finetune(), TrainingData(shaded([0, 1] * 4), lambda: None, lambda: None), plan)
        return context.network.state_dict()

    last, averaged = trained(0.0), trained(0.9)
    statistics = [name for name in last if name.endswith(("running_mean", "running_var"))]
    assert all(not torch.equal(last[name], averaged[name]) for name in statistics)
    assert all(torch.equal(last[name], averaged[name]) for name in last if name.endswith("num_batches_tracked"))
