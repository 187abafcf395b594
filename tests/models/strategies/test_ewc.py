import pytest
import torch

from models.problems.classification import Classification
from models.strategies.base import Minibatch, TrainingContext, TrainingData
from models.strategies.ewc import EWC, quadratic_penalty
from tests.models.datasets import in_a_row, linear, seen


def data(*pixels: list[int], targets: list[int]) -> TrainingData:
    return TrainingData(in_a_row(list(pixels), targets), lambda: None, lambda: None)


def finished(strategy: EWC, context: TrainingContext, night: TrainingData) -> TrainingContext:
    strategy.begin(context, night)
    strategy.finish(context, night)
    return context


def test_the_fisher_information_of_one_layer() -> None:
    # All logits are zero, so p = 1/2 and the gradient of an image's loss is (p - 1, p) or (p, p - 1) times the pixels.
    context = TrainingContext(linear([[0, 0], [0, 0]]), None, Classification())
    finished(EWC(), context, data([2, 0], [4, 6], targets=[0, 1]))
    squares = torch.tensor([(4 + 16) / 2, (0 + 36) / 2]) / 4
    torch.testing.assert_close(context.state["importance.head.weight"], squares.repeat(2, 1))
    torch.testing.assert_close(context.state["importance.head.bias"], torch.full((2,), 0.25))
    assert context.state.keys() == {"importance.head.weight", "importance.head.bias"}
    assert context.network.head.weight.grad is None


def test_a_gradient_is_squared_image_by_image() -> None:
    # The two gradients cancel out: the square of their mean is zero, the mean of their squares is not.
    context = TrainingContext(linear([[0, 0], [0, 0]]), None, Classification())
    finished(EWC(), context, data([2, 0], [2, 0], targets=[0, 1]))
    assert context.state["importance.head.weight"][:, 0].tolist() == [1, 1]


def test_only_a_sample_of_the_images_is_looked_at() -> None:
    context = TrainingContext(linear([[0, 0], [0, 0]]), None, Classification())
    finished(EWC(fisher_images=1), context, data([2, 0], [0, 2], targets=[0, 1]))
    assert sorted(context.state["importance.head.weight"][0].tolist()) == [0, 1]


def test_importances_fade_and_add_up_and_grown_rows_are_free() -> None:
    context = TrainingContext(linear([[0, 0], [0, 0]]), None, Classification())
    strategy = EWC(decay_factor=0.5, penalty_weight=100)
    finished(strategy, context, data([2, 0], targets=[0]))
    context.network.grow(3)
    with torch.no_grad():
        context.network.head.weight.zero_()
        context.network.head.bias.zero_()
    strategy.begin(context, None)
    with torch.no_grad():
        context.network.head.weight += torch.tensor([[3.0, 9.0], [0.0, 9.0], [9.0, 9.0]])
    # Pixel 0 has importance 2^2 / 4 = 1 in both old rows, pixel 1 has none, row 2 is new.
    assert quadratic_penalty(context).item() == pytest.approx(9)
    penalty = strategy.loss(context, Minibatch(seen([[0, 0]]), torch.tensor([2]), 1))["penalty"]
    assert penalty.item() == pytest.approx(100 / 2 * 9)
    penalty.backward()
    assert context.network.head.weight.grad.tolist() == [[300, 0], [0, 0], [0, 0]]

    with torch.no_grad():
        context.network.head.weight.zero_()
    strategy.finish(context, data([0, 3], targets=[2]))
    expected = torch.tensor([[0.5, 1.0], [0.5, 1.0], [0.0, 4.0]])  # (1/3)^2 * 9 twice, (2/3)^2 * 9; half of the old
    torch.testing.assert_close(context.state["importance.head.weight"], expected)


def test_springs_hold_what_the_night_starts_with() -> None:
    context = finished(
        EWC(), TrainingContext(linear([[0, 0], [0, 0]]), None, Classification()), data([2, 0], targets=[0])
    )
    with torch.no_grad():
        context.network.head.weight += 1  # as a correction would, after the last step
    EWC().begin(context, None)
    assert quadratic_penalty(context) == 0


def test_on_the_first_night_there_are_no_springs() -> None:
    context = TrainingContext(linear([[0, 0], [0, 0]]), None, Classification())
    EWC().begin(context, None)
    assert EWC().loss(context, Minibatch(seen([[1, 1]]), torch.tensor([0]), 1)).keys() == {"task"}
