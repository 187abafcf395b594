import numpy as np
import pytest
import torch

from dataset.archive import ImageDataset
from models.corrections.bias_layer import BiasLayer, balanced_outputs
from models.problems.classification import Classification
from models.strategies.base import TrainingContext, TrainingData, frozen
from tests.models.datasets import in_a_row, linear

PLAIN = [[0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 0.1]]


def images(targets: list[int]) -> ImageDataset:
    """Each class has a pixel of its own, mostly the brightest."""
    generator = np.random.default_rng(len(targets))
    pixels = generator.integers(0, 60, (len(targets), 3))
    pixels[np.arange(len(targets)), targets] += 25
    return in_a_row(pixels.tolist(), targets)


def data() -> TrainingData:
    """Few images of two old classes, many of a new one."""
    return TrainingData(images([2] * 400), lambda: images([0, 1] * 100), lambda: None)


def shares(context: TrainingContext) -> list[float]:
    """How often each class is answered on as many images of each."""
    outputs, _ = balanced_outputs(context, data().memory, data().new)
    return (torch.bincount(outputs.argmax(dim=1), minlength=3) / len(outputs)).tolist()


@pytest.mark.parametrize(("factor", "offset"), [(1, 4), (3, 0), (2, 3), (1, -4), (0.5, 0)])
def test_what_inflates_the_logits_of_new_classes_is_taken_out_again(factor: float, offset: float) -> None:
    rows = [*PLAIN[:2], [value * factor for value in PLAIN[2]]]
    context = TrainingContext(linear(rows, [0, 0, offset]), frozen(linear(PLAIN[:2])), Classification())
    fair = shares(TrainingContext(linear(PLAIN), None, Classification()))
    before = abs(shares(context)[2] - fair[2])
    BiasLayer().apply(context, data())
    assert before > 0.15
    assert shares(context)[2] == pytest.approx(fair[2], abs=0.06)


def test_it_is_fitted_on_as_many_images_of_every_class() -> None:
    context = TrainingContext(linear(PLAIN), frozen(linear(PLAIN[:2])), Classification())
    _, targets = balanced_outputs(context, images([0, 1, 1, 0, 0]), images([2] * 9))
    assert torch.bincount(targets).tolist() == [2, 2, 2]


def test_the_head_answers_what_was_fitted() -> None:
    context = TrainingContext(linear(PLAIN, [0, 0, 3]), frozen(linear(PLAIN[:2])), Classification())
    before, _ = balanced_outputs(context, data().memory, data().new)
    BiasLayer().apply(context, data())
    after, _ = balanced_outputs(context, data().memory, data().new)
    assert torch.equal(after[:, :2], before[:, :2])
    factor, offset = np.polyfit(before[:, 2], after[:, 2], 1)
    torch.testing.assert_close(after[:, 2], before[:, 2] * float(factor) + float(offset), rtol=1e-4, atol=1e-4)
