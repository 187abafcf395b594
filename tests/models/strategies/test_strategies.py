"""Contract of every strategy in the catalogue, and what is particular to each."""

import copy
from typing import get_args

import numpy as np
import pytest
import torch

from models.archive import Pool
from models.catalogue import StrategyChoice
from models.networks.base import Network
from models.networks.mlp import MLP
from models.problems.classification import Classification
from models.strategies.base import Material, Step, Strategy
from models.strategies.finetune import Finetune
from models.strategies.joint import Joint
from models.strategies.replay import Replay
from models.strategies.replay_distillation import ReplayDistillation
from records.snapshot import InputSpec

SPEC = InputSpec(channels=1, height=4, width=4, mean=(0.5,), std=(0.25,))
STRATEGIES = [strategy() for strategy in get_args(get_args(StrategyChoice)[0])]


def pool(count: int, target: int) -> Pool:
    return Pool(
        batch=np.zeros(count, dtype=np.int64),
        row=np.arange(count),
        image=np.array([f"{target}-{n}" for n in range(count)]),
        target=torch.full((count,), target),
        batches=("b",),
        pixels=(np.full((count, 1, 4, 4), 50 * target, dtype=np.uint8),),
    )


def material() -> Material:
    return Material(new=pool(4, 2), memory=pool(3, 0), open_archive=lambda: pool(9, 1))


def step(network: Network) -> Step:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 1, 4, 4), dtype=torch.uint8, generator=generator)
    return Step(images, torch.tensor([2, 2, 2, 2, 0, 0]), 4, torch.tensor([1 / 3, 1e-6, 2 / 3]).log())


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network(MLP(hidden=(8,)), SPEC, 3)


@pytest.fixture
def parent() -> Network:
    torch.manual_seed(1)
    return Network(MLP(hidden=(8,)), SPEC, 2)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)
@pytest.mark.parametrize("first_night", [True, False])
def test_every_loss_is_finite_and_reaches_the_whole_network(
    strategy: Strategy, network: Network, parent: Network, first_night: bool
) -> None:
    teacher = strategy.teacher(None if first_night else parent)
    losses = strategy.loss(network, teacher, step(network), Classification())
    assert losses["task"].ndim == 0
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)
def test_no_strategy_changes_its_teacher(strategy: Strategy, network: Network, parent: Network) -> None:
    before = copy.deepcopy(parent.state_dict())
    losses = strategy.loss(network, strategy.teacher(parent), step(network), Classification())
    torch.stack(list(losses.values())).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in parent.state_dict().items())
    assert all(p.grad is None for p in parent.parameters())


@pytest.mark.parametrize(
    ("strategy", "new", "replayed"),
    [(Finetune(), [4], None), (Joint(), [9, 4], None), (Replay(), [4], 3), (ReplayDistillation(), [4], 3)],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_a_night_learns_from(strategy: Strategy, new: list[int], replayed: int | None) -> None:
    pools, again = strategy.draw(material())
    assert [len(p) for p in pools] == new
    assert (None if again is None else len(again)) == replayed


def test_only_the_full_retrain_opens_the_archive_and_starts_over() -> None:
    def refuse() -> Pool:
        raise AssertionError("the archive was opened")

    for strategy in STRATEGIES:
        if strategy.name == "joint":
            assert strategy.starts_over
        else:
            strategy.draw(Material(new=pool(4, 2), memory=pool(3, 0), open_archive=refuse))
            assert not strategy.starts_over


def test_distillation_is_named_by_the_images_it_holds_to(network: Network, parent: Network) -> None:
    strategy = ReplayDistillation(remembered=2.0, fresh=3.0)
    seen = step(network)
    losses = strategy.loss(network, strategy.teacher(parent), seen, Classification())
    difference = (network(seen.images)[:, :2] - parent(seen.images)) ** 2
    assert losses["distillation_fresh"].item() == pytest.approx(3 * difference[:4].mean().item())
    assert losses["distillation_remembered"].item() == pytest.approx(2 * difference[4:].mean().item())
    assert set(strategy.loss(network, None, seen, Classification())) == {"task"}
