import pytest
import torch
from torch import Tensor

from models.problems.classification import Classification
from models.strategies.base import Minibatch, TrainingContext
from models.strategies.ewc import quadratic_penalty
from models.strategies.si import SI
from tests.models.datasets import linear, seen


def weight(context: TrainingContext) -> Tensor:
    return context.network.head.weight


def descend(context: TrainingContext, strategy: SI, gradient: float, to: float) -> None:
    """A step whose gradient at weight 0, 0 is given, which moves that weight to a given place."""
    for parameter in context.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    weight(context).grad[0, 0] = gradient
    with torch.no_grad():
        weight(context)[0, 0] = to
    strategy.after_step(context)


def test_importance_is_the_paths_share_of_the_fall_over_the_squared_move() -> None:
    # The loss w^2 from w = 1 by two steps of 0.25 w * 2: gradients 2 and 1, moves to 0.5 and 0.25.
    context, strategy = TrainingContext(linear([[1.0], [0.0]]), None, Classification()), SI(damping=0.1)
    strategy.begin(context, None)
    descend(context, strategy, gradient=2, to=0.5)
    descend(context, strategy, gradient=1, to=0.25)
    strategy.finish(context, None)
    path = 2 * 0.5 + 1 * 0.25
    assert context.state["importance.head.weight"][0, 0].item() == pytest.approx(path / (0.75**2 + 0.1))
    assert context.state["importance.head.weight"][1, 0] == 0
    assert context.state.keys() == {"importance.head.weight", "importance.head.bias"}


def test_a_weight_that_went_uphill_is_of_no_importance() -> None:
    context, strategy = TrainingContext(linear([[1.0], [0.0]]), None, Classification()), SI()
    strategy.begin(context, None)
    descend(context, strategy, gradient=-2, to=0.5)
    strategy.finish(context, None)
    assert not context.state["importance.head.weight"].any()


def test_the_springs_own_gradient_is_no_merit_of_the_images() -> None:
    context, strategy = TrainingContext(linear([[1.0], [0.0]]), None, Classification()), SI(penalty_weight=0.5)
    context.state["importance.head.weight"] = torch.tensor([[4.0], [0.0]])
    strategy.begin(context, None)
    with torch.no_grad():
        weight(context)[0, 0] = 3.0
    descend(context, strategy, gradient=0, to=3.0)  # now two away from where the penalty hold it
    energy = strategy.penalty_weight * quadratic_penalty(context)
    assert energy.item() == pytest.approx(0.5 * 4 * 2**2)
    pull = torch.autograd.grad(energy, weight(context))[0][0, 0].item()
    assert pull == pytest.approx(2 * 0.5 * 4 * 2)
    before = context.state["path.head.weight"][0, 0].item()
    descend(context, strategy, gradient=pull + 1, to=2.5)  # 1 is the images' own
    assert context.state["path.head.weight"][0, 0].item() - before == pytest.approx(1 * 0.5)


def test_importances_add_up_over_nights_and_grown_rows_are_free() -> None:
    context, strategy = TrainingContext(linear([[1.0], [0.0]]), None, Classification()), SI(damping=1)
    context.state["importance.head.weight"] = torch.tensor([[4.0], [5.0]])
    context.state["importance.head.bias"] = torch.zeros(2)
    context.network.grow(3)
    strategy.begin(context, None)
    with torch.no_grad():
        weight(context)[2] += 100
    assert quadratic_penalty(context) == 0
    descend(context, strategy, gradient=2, to=1.0)
    strategy.begin(context, None)
    descend(context, strategy, gradient=2, to=0.0)
    strategy.finish(context, None)
    assert context.state["importance.head.weight"][:2].flatten().tolist() == pytest.approx([4 + 2 / (1 + 1), 5])
    assert context.state["importance.head.weight"].shape == (3, 1)


def test_the_springs_are_a_part_of_the_loss_from_the_second_night_on() -> None:
    context, step = (
        TrainingContext(linear([[1.0], [0.0]]), None, Classification()),
        Minibatch(seen([[1]]), torch.tensor([0]), 1),
    )
    SI().begin(context, None)
    assert SI().loss(context, step).keys() == {"task"}
    SI().finish(context, None)
    SI().begin(context, None)
    assert SI().loss(context, step).keys() == {"task", "penalty"}
