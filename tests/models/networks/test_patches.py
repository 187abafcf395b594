from pathlib import Path

import pytest
import torch

from models.learner import Learner
from models.networks.base import Network
from models.networks.patches import FARTHEST, Patches
from records.snapshot import InputSpec

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 20, 33), (1, 4, 9), (1, 1, 5)]
FEW = Patches(filters=12)


def spec(channels: int = 1, height: int = 12, width: int = 12) -> InputSpec:
    return InputSpec(channels=channels, height=height, width=width, mean=(0.5,) * channels, std=(0.29,) * channels)


def pictures(count: int, seen: InputSpec, seed: int = 0) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(seed)
    shape = (count, seen.channels, seen.height, seen.width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=drawn)


def adapted(recipe: Patches, seen: InputSpec, images: torch.Tensor, seed: int = 0) -> Network:
    torch.manual_seed(7)
    network = Network(recipe, seen, 3)
    network.adapt(recipe, images, seed)
    return network.eval()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("channels", [None, 5])
def test_every_shape_has_features_that_are_bounded_and_even(shape: tuple[int, int, int], channels: int | None) -> None:
    seen = spec(*shape)
    images = pictures(60, seen)
    network = adapted(Patches(filters=12, channels=channels), seen, images)
    with torch.no_grad():
        features = network.features(images)
    assert features.shape == (60, network.width)
    assert features.isfinite().all()
    assert features.abs().max() <= FARTHEST == network.bound
    if min(shape[1:]) > 4:
        assert network.width == (channels or 24) * 16
        assert features.mean(dim=0).abs().max() < 0.1
        assert 0.7 < features.std() < 1.1


def test_components_are_at_most_as_many_as_answers() -> None:
    network = adapted(Patches(filters=3, channels=50), spec(), pictures(20, spec()))
    assert network.features(pictures(2, spec())).shape == (2, network.width)
    assert network.width == 6 * 16


@pytest.mark.parametrize("channels", [None, 5])
def test_features_do_not_depend_on_the_images_beside(channels: int | None) -> None:
    images = pictures(230, spec(3, 16, 16))
    network = adapted(Patches(filters=12, channels=channels), spec(3, 16, 16), images)
    with torch.no_grad():
        whole = network.features(images)
        for at_once in (1, 3, 64, 100, 101):
            parts = [network.features(part) for part in images.split(at_once)]
            assert torch.equal(torch.cat(parts), whole)


def test_the_seed_decides_which_filters_are_drawn() -> None:
    images = pictures(40, spec())
    first, second, other = (adapted(FEW, spec(), images, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["body.0.filters"], other["body.0.filters"])


@pytest.mark.parametrize("recipe", [FEW, Patches(filters=12, channels=5), Patches(filters=12, hidden=(8,))], ids=str)
def test_written_and_read_it_answers_the_same(recipe: Patches, tmp_path: Path) -> None:
    learner = Learner.fresh(recipe, spec(3), ("a", "b"), seed=0)
    learner.network.adapt(recipe, pictures(50, spec(3)), 3)
    learner.write(tmp_path)
    images = pictures(20, spec(3), seed=1)
    assert torch.equal(Learner.read(tmp_path).outputs(images), learner.outputs(images))


@pytest.mark.parametrize("channels", [None, 5])
@pytest.mark.parametrize("grid", [1, 4])
@pytest.mark.parametrize("count", [1, 3, 30])
@pytest.mark.parametrize("blank", [True, False])
def test_few_or_blank_first_images_still_give_numbers(channels: int | None, grid: int, count: int, blank: bool) -> None:
    first = torch.full((count, 1, 12, 12), 90, dtype=torch.uint8) if blank else pictures(count, spec())
    network = adapted(Patches(filters=12, channels=channels, pooling_grid=grid), spec(), first)
    assert all(value.isfinite().all() for value in network.state_dict().values())
    assert network.features(pictures(5, spec(), seed=1)).isfinite().all()
    assert network.features(first).isfinite().all()


def test_layers_on_top_are_trained_and_what_is_below_is_not() -> None:
    recipe = Patches(filters=12, hidden=(16, 8))
    images = pictures(30, spec())
    network = adapted(recipe, spec(), images).train()
    assert network.bound is None
    assert network.width == 8
    fixed = {name: value.clone() for name, value in network.body[0].state_dict().items()}
    assert list(network.body[0].parameters()) == []
    descent = torch.optim.SGD(network.parameters(), lr=0.1)
    torch.nn.functional.cross_entropy(network(images), torch.arange(30) % 3).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())
    descent.step()
    assert all(torch.equal(value, fixed[name]) for name, value in network.body[0].state_dict().items())
