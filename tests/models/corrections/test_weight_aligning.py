import torch

from models.corrections.weight_aligning import WeightAligning
from models.problems.classification import Classification
from models.strategies.base import TrainingContext, TrainingData, frozen
from tests.models.datasets import coloured, linear

NOTHING = TrainingData(coloured(1, 0), lambda: None, lambda: None)


def test_new_rows_get_the_mean_length_of_old_ones() -> None:
    # Old rows of length 5 and 1, new ones of 10 and 2: the new ones are halved, and keep their proportion.
    student = linear([[3, 4], [1, 0], [6, 8], [0, 2]], [1, 2, 3, 4])
    WeightAligning().apply(TrainingContext(student, frozen(linear([[0, 1], [0, 1]])), Classification()), NOTHING)
    assert student.head.weight.tolist() == [[3, 4], [1, 0], [3, 4], [0, 1]]
    assert student.head.bias.tolist() == [1, 2, 3, 4]


def test_mean_lengths_are_equal_afterwards_whatever_they_were() -> None:
    torch.manual_seed(0)
    student = linear(torch.randn(7, 5).tolist())
    WeightAligning().apply(
        TrainingContext(student, frozen(linear(torch.randn(3, 5).tolist())), Classification()), NOTHING
    )
    lengths = student.head.weight.norm(dim=1)
    torch.testing.assert_close(lengths[:3].mean(), lengths[3:].mean())
