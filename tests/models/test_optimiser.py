import itertools
import math
import warnings

import pytest
import torch
from torch import nn

from models.networks.base import Network
from models.networks.mlp import MLP
from models.optimiser import MovingAverage, Optimiser, adapted_rate, rate_share, set_rate
from records.snapshot import InputSpec

STEPS = 1000


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def test_one_cycle_warms_up_for_three_tenths_and_anneals_to_nothing() -> None:
    shares = [rate_share("one_cycle", done / STEPS) for done in range(STEPS + 1)]
    assert shares[0] == pytest.approx(1 / 25)
    assert shares[300] == max(shares) == 1
    assert shares[STEPS] == pytest.approx(0)
    assert shares[150] == pytest.approx((1 + 1 / 25) / 2)
    assert shares[650] == pytest.approx(1 / 2)
    assert all(a < b for a, b in itertools.pairwise(shares[:301]))
    assert all(a > b for a, b in itertools.pairwise(shares[300:]))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_one_cycle_is_that_of_torch(name: str) -> None:
    mine, its = (Optimiser(name=name, learning_rate=0.5).start(network())[0] for _ in range(2))
    schedule = torch.optim.lr_scheduler.OneCycleLR(its, max_lr=0.5, total_steps=STEPS, pct_start=0.3, div_factor=25)

    def momentum(descent: torch.optim.Optimizer) -> float:
        group = descent.param_groups[0]
        return group["betas"][0] if "betas" in group else group["momentum"]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimiser never stepped
        for step in range(STEPS):
            set_rate(mine, 1.0, "one_cycle", step / STEPS)
            assert mine.param_groups[0]["lr"] == pytest.approx(its.param_groups[0]["lr"], abs=0.5 * 0.006)
            assert momentum(mine) == pytest.approx(momentum(its), abs=0.005)
            schedule.step() if step < STEPS - 1 else None


def test_cosine_falls_from_the_start_and_constant_does_not() -> None:
    assert [rate_share("cosine", done) for done in (0, 1 / 3, 0.5, 1)] == pytest.approx([1, 0.75, 0.5, 0])
    assert {rate_share("constant", done) for done in (0, 0.3, 1)} == {1.0}


def test_a_night_that_takes_longer_than_expected_does_not_climb_again() -> None:
    assert rate_share("one_cycle", 1.2) == pytest.approx(0)
    assert rate_share("cosine", 1.2) == pytest.approx(0)


@pytest.mark.parametrize(
    ("novelty", "images", "rate"),
    [(1, 1000, 2), (1, 4000, 2), (1, 250, 1), (0.5, 1000, 1), (0.5, 10, 0.1), (0, 1000, 0.2)],
)
def test_the_rate_goes_with_what_is_new_and_the_root_of_how_much(novelty: float, images: int, rate: float) -> None:
    assert 2.0 * adapted_rate(novelty, images, usual=1000) == pytest.approx(rate)


def test_the_moving_average_by_hand() -> None:
    weight = torch.zeros(1)
    average = MovingAverage([weight], decay=0.5)
    for step, value in enumerate([10.0, 20.0, 30.0], start=1):
        weight.fill_(value)
        average.follow(step)
    expected = 0.0
    for decay, value in ((2 / 11, 10), (3 / 12, 20), (4 / 13, 30)):
        expected = decay * expected + (1 - decay) * value
    assert average.average[0].item() == pytest.approx(expected)
    for step in range(4, 12):
        average.follow(step)
    before = average.average[0].item()
    weight.fill_(0.0)
    average.follow(1000)
    assert average.average[0].item() == pytest.approx(before * 0.5)  # by now the decay that was asked for
    average.settle()
    assert weight.item() == average.average[0].item()


def descended(descent: torch.optim.Optimizer, layer: nn.Linear) -> nn.Linear:
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        descent.zero_grad()
        layer(torch.randn(8, 3, generator=generator)).square().mean().backward()
        descent.step()
    return layer


def test_fused_adamw_is_adamw() -> None:
    mine, its = network(), network()
    descended(Optimiser(learning_rate=0.01, weight_decay=0.1).start(mine)[0], mine)
    descended(torch.optim.AdamW(its.parameters(), lr=0.01, weight_decay=0.1, fused=False, foreach=False), its)
    torch.testing.assert_close(mine.weight, its.weight)
    torch.testing.assert_close(mine.bias, its.bias)


def test_sgd_by_hand() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 1.0)
    [descent] = Optimiser(name="sgd", learning_rate=0.1, weight_decay=0.0).start(layer)
    weight, velocity = 1.0, 0.0
    for _ in range(3):
        descent.zero_grad()
        layer.weight.square().sum().backward()
        descent.step()
        velocity = 0.9 * velocity + 2 * weight
        weight -= 0.1 * (2 * weight + 0.9 * velocity)
        assert layer.weight.item() == pytest.approx(weight)


def test_weights_that_are_frozen_are_left_alone() -> None:
    layer = network()
    layer.bias.requires_grad_(False)
    assert [len(group["params"]) for group in Optimiser().start(layer)[0].param_groups] == [1]
    assert math.isclose(Optimiser().start(layer)[0].param_groups[0]["lr"], 2e-3)


def test_muon_takes_the_matrices_of_the_body_and_adamw_everything_else() -> None:
    spec = InputSpec(channels=1, height=2, width=3, mean=(0.5,), std=(0.25,))
    whole = Network(MLP(hidden=(5, 4)), spec, 3)
    muon, adamw = Optimiser(name="muon").start(whole)
    assert [tuple(weight.shape) for weight in muon.param_groups[0]["params"]] == [(5, 6), (4, 5)]
    assert [tuple(weight.shape) for weight in adamw.param_groups[0]["params"]] == [(5,), (4,), (3, 4), (3,)]
    set_rate(muon, 0.5, "one_cycle", 0.3)
    assert muon.param_groups[0]["lr"] == pytest.approx(0.01)
    assert muon.param_groups[0]["momentum"] == 0.95


def test_without_a_matrix_in_the_body_there_is_no_muon() -> None:
    spec = InputSpec(channels=1, height=2, width=3, mean=(0.5,), std=(0.25,))
    assert len(Optimiser(name="muon").start(Network(MLP(hidden=()), spec, 3))) == 1
