import pytest
import torch

from models.networks.resnet import Block, ResNet18
from records.snapshot import InputSpec


def spec(side: int) -> InputSpec:
    return InputSpec(channels=1, height=side, width=side, mean=(0.5,), std=(0.25,))


@pytest.mark.parametrize(("side", "last"), [(8, 4), (28, 7), (32, 4), (224, 28)])
def test_stages_halve_the_image_until_it_would_be_smaller_than_four_pixels(side: int, last: int) -> None:
    body, width = ResNet18(width=8).body(spec(side))
    assert width == 64
    assert body[:-2](torch.zeros(1, 1, side, side)).shape == (1, 64, last, last)


def test_it_has_the_convolutions_of_a_resnet_18() -> None:
    body, width = ResNet18().body(spec(32))
    sides = [module.kernel_size[0] for module in body.modules() if isinstance(module, torch.nn.Conv2d)]
    assert (sides.count(3), sides.count(1)) == (17, 3)
    assert width == 512


def test_a_fresh_block_hands_on_what_came_in() -> None:
    images = torch.rand(2, 8, 6, 6)
    assert torch.equal(Block(8, 8)(images), images)


def test_answers_do_not_depend_on_the_other_images_of_a_step() -> None:
    body, _ = ResNet18(width=8).body(spec(8))
    images = torch.rand(6, 1, 8, 8)
    torch.testing.assert_close(body.train()(images)[:2], body.eval()(images[:2]))
