"""Contract of every correction in the catalogue."""

import copy

import pytest
import torch

from models.catalogue import CorrectionChoice
from models.corrections.base import BiasCorrection
from models.corrections.interpolation import Interpolation
from models.networks.base import Network
from models.networks.mlp import MLP
from models.problems.classification import Classification
from models.strategies.base import TrainingContext, TrainingData, frozen
from records.snapshot import InputSpec
from tests.models.catalogue import listed
from tests.models.datasets import coloured

SPEC = InputSpec(channels=1, height=4, width=4, mean=(0.5,), std=(0.25,))
CORRECTIONS = listed(CorrectionChoice)
every_correction = pytest.mark.parametrize("correction", CORRECTIONS, ids=lambda c: c.name)
every_bias_correction = pytest.mark.parametrize(
    "correction", [c for c in CORRECTIONS if c.name != "interpolation"], ids=lambda c: c.name
)


def corrected(correction: BiasCorrection, old: int, classes: int, memory: bool = True) -> tuple[TrainingContext, dict]:
    """A course after the correction, and its weights before."""
    torch.manual_seed(0)
    student, parent = (Network(MLP(hidden=(8,)), SPEC, n) for n in (classes, old))
    context = TrainingContext(student.eval(), frozen(parent) if old else None, Classification())
    before = copy.deepcopy(student.state_dict())
    remembered = coloured(3, 0) if memory else None
    correction.apply(context, TrainingData(coloured(4, classes - 1), lambda: remembered, lambda: None))
    return context, before


def changed(context: TrainingContext, before: dict) -> list[str]:
    return [name for name, value in context.network.state_dict().items() if not torch.equal(value, before[name])]


@every_bias_correction
@pytest.mark.parametrize(("old", "classes"), [(0, 3), (3, 3)], ids=["first night", "no new class"])
def test_without_old_or_without_new_classes_nothing_happens(correction: BiasCorrection, old: int, classes: int) -> None:
    assert changed(*corrected(correction, old, classes)) == []


@every_bias_correction
def test_only_the_rows_of_new_classes_change(correction: BiasCorrection) -> None:
    context, before = corrected(correction, old=2, classes=4)
    assert set(changed(context, before)) <= {"head.weight", "head.bias"}
    assert "head.weight" in changed(context, before)
    assert torch.equal(context.network.head.weight[:2], before["head.weight"][:2])
    assert torch.equal(context.network.head.bias[:2], before["head.bias"][:2])
    assert context.network.head.weight.requires_grad
    assert all(value.isfinite().all() for value in context.network.state_dict().values())


@every_correction
def test_a_night_without_memory_is_no_fault(correction: BiasCorrection) -> None:
    corrected(correction, old=2, classes=4, memory=False)


@every_correction
def test_it_does_the_same_twice(correction: BiasCorrection) -> None:
    one, other = (corrected(correction, old=2, classes=4)[0].network.state_dict() for _ in range(2))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_interpolation_goes_part_of_the_way_and_leaves_new_classes_alone() -> None:
    context, before = corrected(Interpolation(parent_weight=0.25), old=2, classes=4)
    for name, its in context.parent.state_dict().items():
        rows = len(its) if name.startswith("head") else None
        mine = context.network.state_dict()[name]
        torch.testing.assert_close(mine[:rows], 0.75 * before[name][:rows] + 0.25 * its)
    assert torch.equal(context.network.head.weight[2:], before["head.weight"][2:])
    assert changed(*corrected(Interpolation(), old=0, classes=3)) == []
