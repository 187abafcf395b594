import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from models.memory import Memory
from models.problems.classification import Classification
from models.strategies.base import Minibatch, TrainingContext
from models.strategies.importance_weighted import ImportanceWeighted
from models.strategies.replay import Replay
from tests.models.datasets import in_a_row, linear, seen

PIXELS = [[1, 0], [2, 1], [0, 3], [3, 3]]
PRIOR = torch.tensor([0.7, 0.3]).log()


def context() -> TrainingContext:
    return TrainingContext(linear([[0.5, 0.0], [0.0, 0.5]]), None, Classification())


def step(weight: torch.Tensor | None = None) -> Minibatch:
    return Minibatch(seen(PIXELS), torch.tensor([0, 1, 1, 0]), 2, PRIOR, weight)


@pytest.mark.parametrize("by", ["loss", "gradient"])
def test_without_strength_it_is_replay(by: str) -> None:
    one, other = context(), context()
    mine, its = ImportanceWeighted(by=by, exponent=0).loss(one, step())["task"], Replay().loss(other, step())["task"]
    mine.backward()
    its.backward()
    torch.testing.assert_close(mine, its)
    torch.testing.assert_close(one.network.head.weight.grad, other.network.head.weight.grad)


def test_each_images_loss_counts_by_its_own_size() -> None:
    outputs = context().network(seen(PIXELS)).detach() + PRIOR
    losses = cross_entropy(outputs, torch.tensor([0, 1, 1, 0]), reduction="none")
    for strength in (0.5, 1.0):
        weight = losses**strength
        expected = (weight * losses).sum() / weight.sum()
        weighted = ImportanceWeighted(by="loss", exponent=strength, max_weight=1000).loss(context(), step())["task"]
        torch.testing.assert_close(weighted.detach(), expected)


def test_weights_of_the_step_multiply() -> None:
    weight = torch.tensor([1.0, 0.0, 0.0, 0.0])
    losses = cross_entropy(context().network(seen(PIXELS[:1])) + PRIOR, torch.tensor([0]))
    torch.testing.assert_close(ImportanceWeighted().loss(context(), step(weight))["task"], losses)


def test_the_gradient_of_the_head_is_its_norm_at_the_outputs_times_that_of_the_features() -> None:
    one, dataset = context(), in_a_row(PIXELS, [0, 1, 1, 0])
    norms = []
    for n in range(4):
        one.network.zero_grad()
        cross_entropy(one.network(seen(PIXELS[n : n + 1])), dataset.target[n : n + 1]).backward()
        norms.append(float(one.network.head.weight.grad.norm()))
    weights = ImportanceWeighted(exponent=1, max_weight=1000).importance(one, dataset)
    assert weights == pytest.approx(np.array(norms) / np.mean(norms), rel=1e-5)


@pytest.mark.parametrize("by", ["loss", "gradient"])
@pytest.mark.parametrize("strength", [0.5, 1.0, 4.0])
def test_harder_images_weigh_more_and_none_more_than_allowed(by: str, strength: float) -> None:
    # All of class 0, answered (x / 2, y / 2): the more y, the harder.
    dataset = in_a_row([[9, 0], [5, 1], [3, 3], [1, 5], [0, 30], [0, 200]], [0] * 6)
    weights = ImportanceWeighted(by=by, exponent=strength, max_weight=3).importance(context(), dataset)
    assert (np.diff(weights) >= 0).all()
    assert weights[0] < weights[-1]
    assert weights.min() >= 1 / 3
    assert weights.max() <= 3


def test_memory_keeps_hard_images_more_often() -> None:
    easy, hard = [9, 0], [0, 9]
    dataset = in_a_row([easy, hard] * 20, [0] * 40)
    weights = ImportanceWeighted(exponent=1, max_weight=3).importance(context(), dataset)
    kept = {0: 0, 1: 0}
    for seed in range(100):
        for row in Memory.of(dataset, seed, weights).keep(10).row.tolist():
            kept[row % 2] += 1
    assert kept[1] > 2 * kept[0]
