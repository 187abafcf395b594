"""Contract of every network in the catalogue."""

from pathlib import Path

import pytest
import torch

from models.catalogue import NetworkRecipe
from models.learner import Learner
from models.networks.base import Network, PixelHead, Recipe
from records.snapshot import InputSpec
from tests.models.catalogue import listed

RECIPES = listed(NetworkRecipe)
SPECS = [
    InputSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,)),
    InputSpec(channels=1, height=28, width=28, mean=(0.3,), std=(0.35,)),
    InputSpec(channels=3, height=32, width=20, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)),
]


def pictures(count: int, spec: InputSpec = SPECS[0]) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(count)
    shape = (count, spec.channels, spec.height, spec.width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=drawn)


def answered(recipe: Recipe, spec: InputSpec = SPECS[0]) -> tuple[int, ...]:
    """What an image is given an answer for: itself, or each of its pixels."""
    return (spec.height, spec.width) if recipe.dense else ()


TORCHVISION = ("torchvision", "torchvision_segmentation")
"""Networks whose library takes seconds to import."""


@pytest.fixture(
    params=[
        pytest.param(recipe, id=recipe.name, marks=[pytest.mark.unhurried] if recipe.name in TORCHVISION else [])
        for recipe in RECIPES
    ]
)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return request.param


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.height}x{spec.width}x{spec.channels}")
def test_images_become_features_and_logits(recipe: Recipe, spec: InputSpec) -> None:
    network = Network(recipe, spec, 3)
    images = pictures(5, spec)
    features, outputs = network.features(images), network(images)
    assert features.shape[:2] == (5, network.width)
    assert features.dim() == (4 if recipe.dense else 2)
    assert outputs.shape == (5, 3, *answered(recipe, spec))
    assert outputs.isfinite().all()
    # Strategies call body and head one after the other.
    assert network.head(features).shape == outputs.shape


def test_every_weight_learns(recipe: Recipe) -> None:
    torch.manual_seed(0)
    network = Network(recipe, SPECS[0], 3)
    descent = torch.optim.SGD(network.parameters(), lr=0.01)
    # Two steps: what stands behind a scale that starts at zero has no gradient at the first.
    for _ in range(2):
        descent.zero_grad()
        outputs = network(pictures(16))
        targets = (torch.arange(16) % 3).view(16, *[1] * len(answered(recipe))).expand(16, *answered(recipe))
        torch.nn.functional.cross_entropy(outputs, targets).backward()
        descent.step()
    assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_growing_changes_no_known_answer(recipe: Recipe) -> None:
    network = Network(recipe, SPECS[0], 2).eval()
    images = pictures(4)
    before = network(images)
    network.grow(5)
    torch.testing.assert_close(network(images)[:, :2], before)
    network.grow(3)
    assert network(images).shape == (4, 5, *answered(recipe))


def test_version_zero_knows_no_class(recipe: Recipe) -> None:
    network = Network(recipe, SPECS[0], 0)
    assert network(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).shape == (2, 0, *answered(recipe))
    network.grow(2)
    assert network(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).isfinite().all()


def test_equal_seeds_give_equal_weights(recipe: Recipe) -> None:
    first, second = (Learner.fresh(recipe, SPECS[0], ("a", "b"), seed=3).network.state_dict() for _ in range(2))
    other = Learner.fresh(recipe, SPECS[0], ("a", "b"), seed=4).network.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_written_and_read_back_it_gives_equal_outputs(recipe: Recipe, tmp_path: Path) -> None:
    learner = Learner.fresh(recipe, SPECS[0], ("a", "b"), seed=0)
    learner.network.train()(pictures(16))  # statistics of a batch, where there are any, are kept too
    learner.write(tmp_path)
    again = Learner.read(tmp_path)
    assert again.recipe == recipe
    assert torch.equal(again.outputs(pictures(4)), learner.outputs(pictures(4)))


def test_no_images_have_no_answers(recipe: Recipe) -> None:
    learner = Learner.fresh(recipe, SPECS[0], ("a", "b"), seed=0)
    assert learner.outputs(pictures(0)).shape == (0, 2, *answered(recipe))


def test_an_image_answers_alike_whatever_is_beside_it(recipe: Recipe) -> None:
    learner = Learner.fresh(recipe, SPECS[0], ("a", "b"), seed=0)
    images = pictures(5)
    torch.testing.assert_close(learner.outputs(images[3:4]), learner.outputs(images)[3:4], atol=1e-5, rtol=1e-4)


def test_the_head_of_a_dense_network_is_one_linear_map_at_each_place() -> None:
    """Its answers of 2 x 2 places become those of 4 x 4 pixels: at a quarter and three quarters of the way."""
    head = PixelHead(1, 1, (4, 4))
    with torch.no_grad():
        head.weight.fill_(2.0)
        head.bias.fill_(1.0)
        outputs = head(torch.tensor([[[[0.0, 4.0], [0.0, 4.0]]]]))
    assert outputs.tolist() == [[[[1.0, 3.0, 7.0, 9.0]] * 4]]
