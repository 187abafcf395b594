import pytest
import torch
from torch.nn.functional import cross_entropy

from models.problems.classification import Classification
from models.strategies.base import Minibatch, TrainingContext
from models.strategies.er_ace import ErAce
from tests.models.datasets import linear, seen

PIXELS = [[1, 0], [2, 1], [0, 3], [3, 3], [1, 1], [0, 1]]


def context() -> TrainingContext:
    """Four classes."""
    return TrainingContext(linear([[0.3, 0.1], [0.2, -0.5], [0.0, 0.4], [-0.2, 0.1]]), None, Classification())


def step(targets: list[int], n_new: int, weight: torch.Tensor | None = None) -> Minibatch:
    return Minibatch(seen(PIXELS[: len(targets)]), torch.tensor(targets), n_new, weight=weight)


def test_new_images_move_no_row_of_an_absent_class() -> None:
    one = context()
    # Two of four classes are present: half of the new images join the remembered, two stay apart.
    losses = ErAce().loss(one, step([2, 3, 2, 3, 0, 1], 4))
    losses["task"].backward()
    gradient = one.network.head.weight.grad
    assert torch.equal(gradient[:2], torch.zeros(2, 2))
    assert gradient[2:].any(dim=1).all()


def test_new_images_compete_within_their_step_and_remembered_ones_with_all() -> None:
    one = context()
    outputs = one.network(seen(PIXELS)).detach()
    losses = ErAce().loss(one, step([2, 3, 2, 3, 0, 1], 4))
    torch.testing.assert_close(losses["task"].detach(), cross_entropy(outputs[:2, 2:], torch.tensor([0, 1])))
    torch.testing.assert_close(losses["replay"].detach(), cross_entropy(outputs[2:], torch.tensor([2, 3, 0, 1])))


@pytest.mark.parametrize(
    ("targets", "apart"),
    [([3, 3, 3, 3], 3), ([2, 3, 2, 3], 2), ([1, 2, 3, 3], 1), ([0, 1, 2, 3], 0)],
    ids=["one class of four", "two", "three", "all"],
)
def test_the_share_of_the_classes_that_are_present_joins_the_remembered(targets: list[int], apart: int) -> None:
    one = context()
    outputs = one.network(seen(PIXELS)).detach()
    losses = ErAce().loss(one, step([*targets, 0, 1], 4))
    assert ("task" in losses) == bool(apart)
    behind = torch.tensor([*targets, 0, 1])[apart:]
    torch.testing.assert_close(losses["replay"].detach(), cross_entropy(outputs[apart:], behind))


def test_without_classes_of_before_and_without_memory_it_is_the_problems_loss() -> None:
    one = context()
    losses = ErAce().loss(one, step([0, 1, 2, 3], 4))
    assert losses.keys() == {"replay"}
    outputs = one.network(seen(PIXELS[:4]))
    torch.testing.assert_close(losses["replay"], cross_entropy(outputs, torch.tensor([0, 1, 2, 3])))


def test_weights_count_in_either_part() -> None:
    even = ErAce().loss(context(), step([2, 3, 2, 3, 0, 1], 4, torch.ones(6)))
    plain = ErAce().loss(context(), step([2, 3, 2, 3, 0, 1], 4))
    heavy = ErAce().loss(context(), step([2, 3, 2, 3, 0, 1], 4, torch.tensor([3.0, 1, 1, 1, 1, 3])))
    for part in ("task", "replay"):
        torch.testing.assert_close(even[part], plain[part])
        assert heavy[part] != plain[part]
