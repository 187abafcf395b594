import math

import pytest
import torch

from models.problems.classification import Classification
from models.strategies.base import Minibatch, TrainingContext
from models.strategies.dark_replay import DarkReplay
from tests.models.datasets import linear, seen

NAN = math.nan


def losses(remembered: torch.Tensor | None) -> tuple[TrainingContext, dict[str, torch.Tensor]]:
    """Of one new image and two remembered ones, which are answered (1, 0, 5) and (0, 2, 10)."""
    context = TrainingContext(linear([[1, 0], [0, 1], [5, 5]]), None, Classification())
    step = Minibatch(seen([[3, 3], [1, 0], [0, 2]]), torch.tensor([2, 0, 1]), 1, remembered=remembered)
    return context, DarkReplay(logit_weight=0.5).loss(context, step)


def test_remembered_images_are_held_to_what_was_stored_with_them() -> None:
    _, parts = losses(torch.tensor([[1.0, 1.0, 5.0], [3.0, 2.0, 10.0]]))
    assert parts["logits"].item() == pytest.approx(0.5 * (1 + 9) / 6)


def test_stored_outputs_of_fewer_classes_are_compared_on_those() -> None:
    _, parts = losses(torch.tensor([[1.0, 1.0], [3.0, 2.0]]))
    assert parts["logits"].item() == pytest.approx(0.5 * (1 + 9) / 4)


def test_a_class_that_came_later_pulls_nowhere() -> None:
    context, parts = losses(torch.tensor([[0.0, NAN, NAN], [0.0, 2.0, NAN]]))
    assert parts["logits"].item() == pytest.approx(0.5 * 1 / 6)
    parts["logits"].backward()
    # d/dW of 0.5 / 6 * (w00 * 1 + b0 - 0)^2, w00 = 1; everything else is where it should be, or unknown.
    expected = torch.zeros(3, 2)
    expected[0, 0] = 0.5 / 6 * 2
    torch.testing.assert_close(context.network.head.weight.grad, expected)


def test_the_problems_loss_is_over_both_kinds() -> None:
    context, parts = losses(None)
    outputs = context.network(seen([[3, 3], [1, 0], [0, 2]]))
    assert parts.keys() == {"task"}
    torch.testing.assert_close(parts["task"], torch.nn.functional.cross_entropy(outputs, torch.tensor([2, 0, 1])))
