import pytest
import torch

from models.networks.base import Network
from models.networks.unet import UNet
from models.optimiser import Optimiser
from records.snapshot import InputSpec


def spec(height: int, width: int, channels: int = 1) -> InputSpec:
    half = (0.5,) * channels
    return InputSpec(channels=channels, height=height, width=width, mean=half, std=half)


@pytest.mark.parametrize(
    ("sides", "lowest"), [((8, 8), 4), ((28, 28), 14), ((64, 64), 8), ((64, 200), 8), ((256, 256), 8), ((512, 600), 16)]
)
def test_stages_halve_the_image_until_it_would_be_smaller_than_eight_places(
    sides: tuple[int, int], lowest: int
) -> None:
    with torch.device("meta"):
        body, _ = UNet(width=8).body(spec(*sides))
        stages = body.stages
        seen = stages.first(torch.zeros(1, 4, sides[0] // 2, sides[1] // 2))
        for stage in stages.down:
            seen = stage(seen)
    assert min(seen.shape[2:]) == lowest
    assert seen.shape[1] <= 64


@pytest.mark.parametrize("block", [1, 2, 3])
@pytest.mark.parametrize("sides", [(1, 1), (1, 9), (7, 5), (33, 18), (31, 64)])
def test_any_height_and_width_has_an_answer_at_each_pixel(sides: tuple[int, int], block: int) -> None:
    network = Network(UNet(width=8, block=block), spec(*sides, channels=3), 4)
    images = torch.randint(0, 256, (2, 3, *sides), dtype=torch.uint8)
    assert network.features(images).shape == (2, 8, *sides)
    assert network(images).shape == (2, 4, *sides)


def test_answers_do_not_depend_on_the_other_images_of_a_step() -> None:
    body, _ = UNet(width=8).body(spec(12, 12))
    images = torch.rand(6, 1, 12, 12)
    torch.testing.assert_close(body.train()(images)[:2], body.eval()(images[:2]))


def test_an_answer_is_as_fine_as_a_pixel_and_sees_the_whole_image() -> None:
    """Neighbours that differ are told apart; and what is in one corner matters in the other."""
    torch.manual_seed(0)
    body, _ = UNet(width=8).body(spec(32, 32))
    images = torch.zeros(2, 1, 32, 32)
    images[:, :, 16, 16] = 3.0
    images[1, :, 0, 0] = 3.0
    with torch.no_grad():
        features = body(images)
    assert len(features[0, :, 15:19, 15:19].flatten(1).unique(dim=1).T) > 8
    assert (features[0] - features[1])[:, 30:, 30:].abs().max() > 1e-5


def test_it_learns_where_a_square_is() -> None:
    """Squares of 5 pixels, bright on the class 1 and dark on the class 2, in noise."""
    drawn = torch.Generator().manual_seed(0)
    images = torch.randint(90, 166, (32, 1, 16, 16), dtype=torch.uint8, generator=drawn)
    targets = torch.zeros(32, 16, 16, dtype=torch.int64)
    for number in range(32):
        top, left = torch.randint(0, 12, (2,), generator=drawn).tolist()
        images[number, 0, top : top + 5, left : left + 5] = 255 if number % 2 else 0
        targets[number, top : top + 5, left : left + 5] = 2 - number % 2
    torch.manual_seed(0)
    network = Network(UNet(width=16), spec(16, 16), 3)
    optimisers = Optimiser(name="muon", learning_rate=1e-2).start(network)
    for _ in range(40):
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(images), targets).backward()
        for optimiser in optimisers:
            optimiser.step()
    with torch.no_grad():
        assert (network(images).argmax(dim=1) == targets).double().mean() > 0.98
