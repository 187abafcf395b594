import torch

from models.networks.base import Network
from models.networks.mlp import MLP
from models.problems.classification import Classification
from models.strategies.base import Strategy, TrainingContext, TrainingData
from models.strategies.replay import Replay
from models.strategies.reptile import Reptile
from models.training import Plan, train
from records.snapshot import InputSpec
from tests.models.datasets import coloured, linear

SPEC = InputSpec(channels=1, height=4, width=4, mean=(0.5,), std=(0.25,))


def learned(strategy: Strategy, steps: int = 7) -> TrainingContext:
    torch.manual_seed(0)
    context = TrainingContext(Network(MLP(hidden=(8,)), SPEC, 2), None, Classification(), seed=1)
    plan = Plan(budget={"min_steps": steps, "max_steps": steps, "batch_size": 2, "replay_batch_size": 2})
    train(context, strategy, TrainingData(coloured(4, 1), lambda: coloured(3, 0), lambda: None), plan)
    return context


def weights(context: TrainingContext) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in context.network.parameters()]


def move(context: TrainingContext, strategy: Reptile, to: float) -> float:
    """An inner step to a place; where the strategy leaves the weight."""
    with torch.no_grad():
        context.network.head.weight.fill_(to)
    strategy.after_step(context)
    return context.network.head.weight.item()


def test_whoever_keeps_the_whole_way_replays_bit_for_bit() -> None:
    pairs = zip(
        weights(learned(Reptile(outer_learning_rate=1, inner_steps=3))), weights(learned(Replay())), strict=True
    )
    assert all(torch.equal(one, other) for one, other in pairs)


def test_after_the_inner_steps_only_part_of_the_way_is_kept() -> None:
    context, strategy = (
        TrainingContext(linear([[1.0]]), None, Classification()),
        Reptile(inner_steps=2, outer_learning_rate=0.25),
    )
    strategy.begin(context, None)
    assert [move(context, strategy, to) for to in (2, 9, 4, 7)] == [2, 1 + 8 / 4, 4, 3 + 4 / 4]


def test_a_last_shorter_round_is_shortened_too_and_a_whole_one_not_twice() -> None:
    for places, expected in (((9,), 3), ((5, 9), 3), ((5, 9, 7), 4)):
        context, strategy = (
            TrainingContext(linear([[1.0]]), None, Classification()),
            Reptile(inner_steps=2, outer_learning_rate=0.25),
        )
        strategy.begin(context, None)
        for to in places:
            move(context, strategy, to)
        strategy.finish(context, None)
        assert context.network.head.weight.item() == expected


def test_it_keeps_nothing_for_the_next_night() -> None:
    assert learned(Reptile(inner_steps=3)).state == {}


def test_part_of_the_way_is_another_way() -> None:
    pairs = zip(
        weights(learned(Reptile(outer_learning_rate=0.5, inner_steps=3))), weights(learned(Replay())), strict=True
    )
    assert not any(torch.equal(one, other) for one, other in pairs)
