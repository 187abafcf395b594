"""Contract of every network in the catalogue."""

from typing import get_args

import pytest
import torch

from models.catalogue import NetworkRecipe
from models.networks.base import Network, Recipe
from records.snapshot import InputSpec

RECIPES = [recipe() for recipe in get_args(get_args(NetworkRecipe)[0])]
SPECS = [
    InputSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,)),
    InputSpec(channels=3, height=32, width=20, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_images_become_features_and_logits(recipe: Recipe, spec: InputSpec) -> None:
    network = Network(recipe, spec, 3)
    images = torch.randint(0, 256, (5, spec.channels, spec.height, spec.width), dtype=torch.uint8)
    assert network.features(images).shape == (5, network.width)
    assert network(images).shape == (5, 3)
    assert network(images).isfinite().all()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_growing_changes_no_known_answer(recipe: Recipe) -> None:
    network = Network(recipe, SPECS[0], 2).eval()
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    before = network(images)
    network.grow(5)
    torch.testing.assert_close(network(images)[:, :2], before)
    network.grow(3)
    assert network(images).shape == (4, 5)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_version_zero_knows_no_class(recipe: Recipe) -> None:
    network = Network(recipe, SPECS[0], 0)
    assert network(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).shape == (2, 0)
    network.grow(2)
    assert network(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).isfinite().all()
