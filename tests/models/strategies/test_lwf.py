import math

import pytest
import torch

from models.problems.classification import Classification
from models.strategies.base import Minibatch, TrainingContext, frozen
from models.strategies.lwf import LwF
from tests.models.datasets import linear, seen

STEP = Minibatch(seen([[1, 0]]), torch.tensor([2]), 1)


def softened(logits: list[float], temperature: float) -> list[float]:
    total = sum(math.exp(logit / temperature) for logit in logits)
    return [math.exp(logit / temperature) / total for logit in logits]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_divergence_is_that_of_the_softened_answers_on_known_classes(temperature: float) -> None:
    context = TrainingContext(linear([[1, 0], [0, 0], [5, 0]]), frozen(linear([[0, 0], [3, 0]])), Classification())
    part = LwF(distillation_weight=0.7, temperature=temperature).loss(context, STEP)["distillation"]
    mine, its = softened([1, 0], temperature), softened([0, 3], temperature)
    divergence = sum(p * math.log(p / q) for p, q in zip(its, mine, strict=True))
    assert part.item() == pytest.approx(0.7 * temperature**2 * divergence)


def test_it_is_the_mean_over_the_images_of_a_step() -> None:
    context = TrainingContext(linear([[1, 0], [0, 0]]), frozen(linear([[0, 0], [3, 0]])), Classification())
    one = LwF().loss(context, Minibatch(STEP.images, torch.tensor([1]), 1))["distillation"]
    twice = Minibatch(seen([[1, 0], [1, 0], [0, 0]]), torch.tensor([1, 1, 1]), 3)  # the third is answered alike by both
    torch.testing.assert_close(LwF().loss(context, twice)["distillation"], one * 2 / 3)


def test_equal_networks_do_not_diverge() -> None:
    context = TrainingContext(linear([[1, 2], [3, 4], [0, 9]]), frozen(linear([[1, 2], [3, 4]])), Classification())
    part = LwF().loss(context, STEP)["distillation"]
    assert part.item() == pytest.approx(0, abs=1e-7)
    part.backward()
    assert context.network.head.weight.grad.abs().max() < 1e-6


def test_on_the_first_night_nothing_is_distilled() -> None:
    assert LwF().loss(TrainingContext(linear([[1, 2], [3, 4], [0, 9]]), None, Classification()), STEP).keys() == {
        "task"
    }
