import pytest
import torch

from models.problems.classification import Classification
from models.strategies.base import Minibatch, TrainingContext, frozen
from models.strategies.replay_distillation import ReplayDistillation
from tests.models.datasets import linear, seen

STEP = Minibatch(seen([[1, 0], [2, 1], [0, 3]]), torch.tensor([2, 2, 0]), 2)


def context(parent: bool = True) -> TrainingContext:
    """The student answers (x, y, 0), the parent knew two classes and answers (0, 2y)."""
    student = linear([[1, 0], [0, 1], [0, 0]])
    return TrainingContext(student, frozen(linear([[0, 0], [0, 2]])) if parent else None, Classification())


def test_each_kind_of_images_is_held_to_the_parent_on_the_classes_it_knows() -> None:
    parts = ReplayDistillation(memory_weight=0.5, new_weight=0.1).loss(context(), STEP)
    assert parts["distillation_new"].item() == pytest.approx(0.1 * (1 + 0 + 4 + 1) / 4)
    assert parts["distillation_memory"].item() == pytest.approx(0.5 * (0 + 9) / 2)


@pytest.mark.parametrize(
    ("strategy", "parent", "names"),
    [
        (ReplayDistillation(), False, {"task"}),
        (ReplayDistillation(new_weight=0), True, {"task", "distillation_memory"}),
        (ReplayDistillation(memory_weight=0), True, {"task", "distillation_new"}),
    ],
    ids=["first night", "nothing on new images", "nothing on remembered ones"],
)
def test_parts_that_weigh_nothing_are_not_computed(strategy: ReplayDistillation, parent: bool, names: set[str]) -> None:
    assert strategy.loss(context(parent), STEP).keys() == names


def test_without_remembered_images_there_is_no_distance_on_them() -> None:
    alone = Minibatch(STEP.images[:2], STEP.targets[:2], 2)
    assert ReplayDistillation().loss(context(), alone).keys() == {"task", "distillation_new"}


def test_a_student_that_answers_as_its_parent_is_not_moved() -> None:
    same = TrainingContext(linear([[1, 0], [0, 1]]), frozen(linear([[1, 0], [0, 1]])), Classification())
    parts = ReplayDistillation().loss(same, Minibatch(STEP.images, torch.tensor([1, 1, 0]), 2))
    assert parts["distillation_new"] == parts["distillation_memory"] == 0
