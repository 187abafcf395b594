import math

import numpy as np
import pytest
import torch

from models.problems.classification import Classification

PROBLEM = Classification()


def test_loss_is_cross_entropy() -> None:
    outputs = torch.tensor([[0.0, math.log(3)]])
    assert PROBLEM.loss(outputs, torch.tensor([1])).item() == pytest.approx(-math.log(3 / 4))


def test_the_prior_is_added_to_the_logits() -> None:
    prior = torch.tensor([0.9, 0.1]).log()
    assert PROBLEM.loss(torch.zeros(1, 2), torch.tensor([1]), prior).item() == pytest.approx(-math.log(0.1))


def test_distance_counts_only_classes_that_the_teacher_knows() -> None:
    student = torch.tensor([[1.0, 2.0, 99.0]])
    assert PROBLEM.distance(student, torch.tensor([[1.0, 4.0]])).item() == pytest.approx(2.0)


def test_outcomes_tell_what_is_forgotten_from_what_new_classes_took() -> None:
    # Three images of class 0; two classes were known at first, the third came later.
    outputs = torch.tensor([[3.0, 1.0, 2.0], [2.0, 1.0, 3.0], [1.0, 2.0, 0.0]])
    answers = PROBLEM.outcomes(outputs, torch.tensor([0, 0, 0]), known=2)
    assert answers.answer.tolist() == [0, 2, 1]
    assert answers.overall.tolist() == [1, 0, 0]
    assert answers.among_known.tolist() == [1, 1, 0]
    assert answers.confidence[0] == pytest.approx(math.exp(3) / (math.exp(3) + math.exp(1) + math.exp(2)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_outputs_that_are_no_numbers_are_wrong_without_confidence(value: float) -> None:
    outputs = torch.tensor([[3.0, 1.0], [value, value], [3.0, value]])
    answers = PROBLEM.outcomes(outputs, torch.tensor([0, 0, 0]), known=1)
    assert answers.overall.tolist() == answers.among_known.tolist() == [1, 0, 0]
    assert answers.confidence[1:].tolist() == [0, 0]


def test_score_is_the_share_of_right_answers() -> None:
    assert PROBLEM.score(torch.tensor([[3.0, 4.0]])).tolist() == [0.75]


def test_chance_is_what_untrained_networks_score_on_average() -> None:
    """Of five images four are of the four known classes: 4/5 * 1/4 = 0.2."""
    targets = torch.tensor([0, 1, 1, 3, 4])
    assert PROBLEM.chance(targets, 4) == pytest.approx(0.2)
    outputs = torch.randn(2000, 5, 4, generator=torch.Generator().manual_seed(0))
    scores = [PROBLEM.scores_of(PROBLEM.outcomes(one, targets, 4))[0] for one in outputs]
    assert np.mean(scores) == pytest.approx(0.2, abs=0.01)
    assert PROBLEM.chance(targets, 0) == 0
