import pytest
import torch
from torch import Tensor

from models.problems.classification import Classification
from models.strategies.base import Course, Step
from models.strategies.ewc import spring_energy
from models.strategies.si import SI
from tests.models.pools import linear, seen


def weight(course: Course) -> Tensor:
    return course.network.head.weight


def descend(course: Course, strategy: SI, gradient: float, to: float) -> None:
    """A step whose gradient at weight 0, 0 is given, which moves that weight to a given place."""
    for parameter in course.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    weight(course).grad[0, 0] = gradient
    with torch.no_grad():
        weight(course)[0, 0] = to
    strategy.after_step(course)


def test_importance_is_the_paths_share_of_the_fall_over_the_squared_move() -> None:
    # The loss w^2 from w = 1 by two steps of 0.25 w * 2: gradients 2 and 1, moves to 0.5 and 0.25.
    course, strategy = Course(linear([[1.0], [0.0]]), None, Classification()), SI(damping=0.1)
    strategy.begin(course, None)
    descend(course, strategy, gradient=2, to=0.5)
    descend(course, strategy, gradient=1, to=0.25)
    strategy.finish(course, None)
    path = 2 * 0.5 + 1 * 0.25
    assert course.state["importance.head.weight"][0, 0].item() == pytest.approx(path / (0.75**2 + 0.1))
    assert course.state["importance.head.weight"][1, 0] == 0
    assert course.state.keys() == {"importance.head.weight", "importance.head.bias"}


def test_a_weight_that_went_uphill_is_of_no_importance() -> None:
    course, strategy = Course(linear([[1.0], [0.0]]), None, Classification()), SI()
    strategy.begin(course, None)
    descend(course, strategy, gradient=-2, to=0.5)
    strategy.finish(course, None)
    assert not course.state["importance.head.weight"].any()


def test_the_springs_own_gradient_is_no_merit_of_the_images() -> None:
    course, strategy = Course(linear([[1.0], [0.0]]), None, Classification()), SI(strength=0.5)
    course.state["importance.head.weight"] = torch.tensor([[4.0], [0.0]])
    strategy.begin(course, None)
    with torch.no_grad():
        weight(course)[0, 0] = 3.0
    descend(course, strategy, gradient=0, to=3.0)  # now two away from where the springs hold it
    energy = strategy.strength * spring_energy(course)
    assert energy.item() == pytest.approx(0.5 * 4 * 2**2)
    pull = torch.autograd.grad(energy, weight(course))[0][0, 0].item()
    assert pull == pytest.approx(2 * 0.5 * 4 * 2)
    before = course.state["path.head.weight"][0, 0].item()
    descend(course, strategy, gradient=pull + 1, to=2.5)  # 1 is the images' own
    assert course.state["path.head.weight"][0, 0].item() - before == pytest.approx(1 * 0.5)


def test_importances_add_up_over_nights_and_grown_rows_are_free() -> None:
    course, strategy = Course(linear([[1.0], [0.0]]), None, Classification()), SI(damping=1)
    course.state["importance.head.weight"] = torch.tensor([[4.0], [5.0]])
    course.state["importance.head.bias"] = torch.zeros(2)
    course.network.grow(3)
    strategy.begin(course, None)
    with torch.no_grad():
        weight(course)[2] += 100
    assert spring_energy(course) == 0
    descend(course, strategy, gradient=2, to=1.0)
    strategy.begin(course, None)
    descend(course, strategy, gradient=2, to=0.0)
    strategy.finish(course, None)
    assert course.state["importance.head.weight"][:2].flatten().tolist() == pytest.approx([4 + 2 / (1 + 1), 5])
    assert course.state["importance.head.weight"].shape == (3, 1)


def test_the_springs_are_a_part_of_the_loss_from_the_second_night_on() -> None:
    course, step = Course(linear([[1.0], [0.0]]), None, Classification()), Step(seen([[1]]), torch.tensor([0]), 1)
    SI().begin(course, None)
    assert SI().loss(course, step).keys() == {"task"}
    SI().finish(course, None)
    SI().begin(course, None)
    assert SI().loss(course, step).keys() == {"task", "springs"}
