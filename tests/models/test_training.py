import copy
import math
from itertools import islice

import numpy as np
import pytest
import torch

from models.archive import Pool
from models.networks.base import Network
from models.networks.mlp import MLP
from models.problems.classification import Classification
from models.strategies.replay import Replay
from models.training import Budget, Optimiser, draw_steps, expected_log_prior, train
from records.snapshot import InputSpec

SPEC = InputSpec(channels=1, height=4, width=4, mean=(0.5,), std=(0.25,))


def pool(targets: list[int], first: int = 0) -> Pool:
    pixels = np.arange(first, first + len(targets), dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(4, 2).repeat(4, 3)
    return Pool(
        batch=np.zeros(len(targets), dtype=np.int64),
        row=np.arange(len(targets)),
        image=np.array([f"i{first + n}" for n in range(len(targets))]),
        target=torch.tensor(targets),
        batches=("b",),
        pixels=(pixels,),
    )


@pytest.mark.parametrize(
    ("budget", "images", "steps"),
    [
        (Budget(epochs=1, batch=64, least_steps=1), 640, 10),
        (Budget(epochs=2.5, batch=64, least_steps=1), 640, 25),
        (Budget(epochs=1, batch=64), 640, 150),
        (Budget(epochs=1, batch=64, least_steps=1, most_steps=4), 640, 4),
    ],
)
def test_a_budget_is_a_number_of_steps(budget: Budget, images: int, steps: int) -> None:
    assert budget.steps(images) == steps


def test_an_epoch_visits_every_new_image_once_over_all_pools() -> None:
    new = (pool([0] * 6), pool([1] * 2, first=6))
    steps = list(islice(draw_steps(new, None, Budget(batch=4), 2, seed=1), 4))
    for epoch in (steps[:2], steps[2:]):
        assert sorted(torch.cat([s.images[:, 0, 0, 0] for s in epoch]).tolist()) == list(range(8))
        assert sorted(torch.cat([s.targets for s in epoch]).tolist()) == [0] * 6 + [1] * 2


def test_replayed_images_stand_behind_the_new_ones() -> None:
    step = next(draw_steps((pool([0] * 8),), pool([1] * 3, first=100), Budget(batch=4, replayed=5), 2, seed=1))
    assert step.fresh == 4
    assert step.targets.tolist() == [0] * 4 + [1] * 5
    assert min(step.images[4:, 0, 0, 0].tolist()) >= 100


def test_the_prior_is_each_classs_share_of_a_step() -> None:
    prior = expected_log_prior((pool([0, 0, 0, 1]),), pool([2, 2]), Budget(batch=60, replayed=20), 4).exp()
    assert prior.tolist() == pytest.approx([45 / 80, 15 / 80, 20 / 80, 1e-6])


def test_equal_arguments_give_equal_weights_bit_for_bit() -> None:
    torch.manual_seed(0)
    first = Network(MLP(hidden=(8,)), SPEC, 2)
    second = copy.deepcopy(first)
    for network in (first, second):
        material = ((pool([0, 1] * 8),), pool([0, 1], first=50))
        train(
            network,
            None,
            Replay(),
            Classification(),
            material,
            Budget(batch=4, replayed=2, least_steps=20),
            Optimiser(),
            seed=5,
            device=torch.device("cpu"),
        )
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_what_is_learned_is_logged_by_part_and_the_loss_falls() -> None:
    torch.manual_seed(0)
    seen: list[tuple[int, int]] = []
    targets = [0] * 20 + [1] * 20
    log = train(
        Network(MLP(hidden=(8,)), SPEC, 2),
        None,
        Replay(),
        Classification(),
        ((pool(targets),), None),
        Budget(batch=10, least_steps=100),
        Optimiser(rate=0.01),
        seed=5,
        device=torch.device("cpu"),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (log.steps, log.images, len(log.losses["task"])) == (100, 1000, 10)
    assert log.losses["task"][-1] < log.losses["task"][0] < math.log(2) * 1.5
    assert seen[0] == (1, 100)
    assert seen[-1] == (100, 100)
