"""Strategies that need no answer an image learn masks, and fill in what nobody looked for."""

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dataset.archive import ImageDataset
from models.budget import Budget
from models.catalogue import StrategyChoice
from models.memory import Memory
from models.minibatches import BatchSampler
from models.networks.base import Network
from models.networks.unet import UNet
from models.problems.segmentation import Segmentation
from models.strategies.base import Strategy, TrainingContext, TrainingData, frozen
from models.strategies.replay import Replay
from models.training import Plan, train
from records.snapshot import InputSpec
from tests.models.catalogue import listed
from tests.models.datasets import masked

SIDE = 16
SPEC = InputSpec(channels=1, height=SIDE, width=SIDE, mean=(0.2,), std=(0.2,))


def squares(*classes: int, n: int = 8) -> NDArray[np.uint8]:
    """Masks with a square of each class, side by side."""
    masks = np.zeros((n, SIDE, SIDE), dtype=np.uint8)
    for place, index in enumerate(classes):
        masks[:, 4:12, 8 * place + 1 : 8 * place + 7] = index
    return masks


def old() -> ImageDataset:
    return masked(squares(1, 2), 4, [[1, 2]] * 8, batch="old")


def new() -> ImageDataset:
    """Class 1 is there, too, and nobody looked for it."""
    dataset = masked(squares(1, 3), 4, [[3]] * 8, batch="new")
    annotations = dataset.annotations
    assert annotations is not None
    annotations.values[0][annotations.values[0] == 1] = 0
    return dataset


def context(strategy: Strategy, problem: Segmentation) -> TrainingContext:
    torch.manual_seed(0)
    network = Network(UNet(width=8), SPEC, 3)
    parent = frozen(copy.deepcopy(network))
    network.grow(4)
    return TrainingContext(network=network, parent=parent, problem=problem)


@pytest.mark.parametrize("strategy", [s for s in listed(StrategyChoice) if not s.per_image], ids=lambda s: s.name)
def test_it_learns_masks(strategy: Strategy) -> None:
    night = context(strategy, Segmentation())
    data = TrainingData(new=new(), recall=lambda: old().loaded(), open_archive=old)
    before = [weight.clone() for weight in night.network.parameters()]
    budget = Budget(min_steps=2, max_steps=2, batch_size=4, replay_batch_size=4)
    log = train(night, strategy, data, Plan(budget=budget, imbalance="none"))
    assert log.steps == 2
    assert all(np.isfinite(part).all() for part in log.losses.values())
    after = night.network.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True) if a.shape == b.shape)


def test_a_step_holds_new_masks_first_and_says_what_was_looked_for() -> None:
    budget = Budget(batch_size=2, replay_batch_size=3)
    step = BatchSampler((new(),), old().loaded(), budget, 4, seed=0, imbalance="none").minibatch(0)
    assert step.targets.shape == (5, SIDE, SIDE)
    assert set(step.targets[:2].unique().tolist()) == {0, 3}
    assert set(step.targets[2:].unique().tolist()) == {0, 1, 2}
    assert step.labelled_for.tolist() == [[True, False, False, True]] * 2 + [[True, True, True, False]] * 3


def test_the_champion_is_asked_only_where_nobody_looked() -> None:
    """A parent that is sure of class 1 everywhere: new images are filled with it, old ones are labelled already."""
    night = context(Replay(), Segmentation(dice_weight=0))
    with torch.no_grad():
        for network in (night.network, night.parent):
            network.head.weight.zero_()
            network.head.bias.copy_(torch.tensor([0.0, 9.0, 0.0, 0.0][: network.head.out_features]))
    budget = Budget(batch_size=1, replay_batch_size=1)
    step = BatchSampler((new(),), old().loaded(), budget, 4, seed=0, imbalance="none").minibatch(0)
    losses = night.losses(night.network(step.images), step)
    # New: all but the square of class 3, which is wrong by nine, is class 1, which is right.
    assert losses[0].item() == pytest.approx(9 * 48 / SIDE**2, abs=0.01)
    # Old: class 1 is a square. The rest is wrong by nine; its background may be class 3 as well, which is log 2 less.
    background = (SIDE**2 - 96) * (9 - np.log(2))
    assert losses[1].item() == pytest.approx((background + 48 * 9) / SIDE**2, abs=0.01)


def test_memory_keeps_classes_evenly_and_an_image_of_two_takes_one_place(tmp_path) -> None:
    masks = np.concatenate([squares(1, n=12), squares(2, n=2), squares(2, 3, n=2)])
    memory = Memory.of(masked(masks, 4), seed=0).keep(6)
    assert len(memory) == 6
    kept = memory.shows.sum(axis=0).tolist()
    assert kept[0] == 0
    assert min(kept[1:]) == 2  # All that there is of class 3; as many of class 1, though most images show it.
    memory.write(tmp_path / "memory.parquet")
    again = Memory.read(tmp_path / "memory.parquet")
    assert again.shows.tolist() == memory.shows.tolist()
    assert again.labelled_for.tolist() == memory.labelled_for.tolist()
    both = again.merge(Memory.of(masked(squares(1, n=3), 5, batch="later"), seed=0))
    assert both.shows.shape == (9, 5)
