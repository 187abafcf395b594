import ast
import hashlib
import inspect
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn
from torchvision import models

from models.learner import Learner
from models.networks.torchvision_segmentation import TorchvisionSegmentation, segmentation_models
from records.errors import WrongParameters
from records.snapshot import InputSpec

pytestmark = pytest.mark.unhurried

# What the last layer of each is fed: in LR-ASPP 40 fine and 128 coarse features.
WIDTHS = {
    "deeplabv3_mobilenet_v3_large": 256,
    "deeplabv3_resnet101": 256,
    "deeplabv3_resnet50": 256,
    "fcn_resnet101": 512,
    "fcn_resnet50": 512,
    "lraspp_mobilenet_v3_large": 168,
}
SMALL = "lraspp_mobilenet_v3_large"


def spec(side: int = 48) -> InputSpec:
    # What comes out of `normalised` is then what went in, but for a scale of 255.
    return InputSpec(channels=3, height=side, width=side, mean=(0.0,) * 3, std=(1.0,) * 3)


def test_every_segmentation_network_of_torchvision_loses_its_last_layer() -> None:
    assert segmentation_models() == sorted(WIDTHS)
    for model, width in WIDTHS.items():
        if "101" in model:  # As with 50 layers, and slow to build.
            continue
        with torch.device("meta"):  # Without numbers it takes no time.
            body, features = TorchvisionSegmentation(model=model).body(spec(224))
        assert features == width
        assert not [name for name, value in body.state_dict().items() if value.dim() and len(value) == 21]


@pytest.mark.slow
def test_with_torchvisions_own_last_layers_it_answers_as_torchvision(tmp_path: Path) -> None:
    """LR-ASPP has two, of fine and of coarse features, whose sum is the answer: one head is equal to it."""
    torch.manual_seed(0)
    theirs = models.get_model(SMALL, weights=None, weights_backbone=None).eval()
    state = theirs.state_dict()
    content = save(state)
    weights = f"ours-{hashlib.sha256(content).hexdigest()[:8]}.safetensors"
    (tmp_path / weights).write_bytes(content)
    recipe = TorchvisionSegmentation(model=SMALL, weights=str(tmp_path / weights))
    network = Learner.fresh(recipe, spec(), [str(number) for number in range(21)], seed=0).network.eval()
    low, high = theirs.classifier.low_classifier, theirs.classifier.high_classifier
    with torch.no_grad():
        network.head.weight.copy_(torch.cat([low.weight, high.weight], dim=1).flatten(1))
        network.head.bias.copy_(low.bias + high.bias)
        images = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
        torch.testing.assert_close(network(images), theirs(images / 255)["out"], atol=1e-5, rtol=1e-4)
    assert not any(module.training for module in network.train().modules() if isinstance(module, nn.BatchNorm2d))


def test_what_does_not_exist_is_told_with_its_like() -> None:
    with pytest.raises(WrongParameters, match=r"`deeplabv3`, which torchvision does not have; did you mean `deeplab"):
        TorchvisionSegmentation(model="deeplabv3").check(None)
    with pytest.raises(WrongParameters, match=r"does not have for lraspp.*; known: COCO_WITH_VOC_LABELS_V1, DEFAULT,"):
        TorchvisionSegmentation(weights="IMAGENET1K_V1").check(None)
    TorchvisionSegmentation(weights="DEFAULT").check(64)
    assert not TorchvisionSegmentation(weights="DEFAULT").begins_as_chance


def test_weights_of_another_model_do_not_fit(tmp_path: Path) -> None:
    content = save({"backbone.0.0.weight": torch.zeros(16, 3, 3, 3)})
    weights = tmp_path / f"part-{hashlib.sha256(content).hexdigest()[:8]}.safetensors"
    weights.write_bytes(content)
    with pytest.raises(WrongParameters, match=rf"does not fit torchvision's {SMALL} \(backbone\."):
        Learner.fresh(TorchvisionSegmentation(weights=str(weights)), spec(), (), seed=0)


def test_torchvision_is_imported_only_where_it_is_used() -> None:
    for module in ("models.networks.torchvision_segmentation", "models.networks.pretrained"):
        top = ast.parse(Path(inspect.getfile(__import__(module, fromlist=["x"]))).read_text()).body
        imported = [ast.unparse(line) for line in top if isinstance(line, ast.Import | ast.ImportFrom)]
        assert "import torch" in imported
        assert not any("torchvision" in line for line in imported)
