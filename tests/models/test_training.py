import copy
import math

import pytest
import torch

from dataset.archive import ImageDataset
from models.augmentation import Augmentation
from models.budget import Budget
from models.checkpoint import Checkpoint, Saved
from models.compute import Compute
from models.networks.base import Network
from models.networks.cnn import CNN
from models.networks.mlp import MLP
from models.optimiser import Optimiser
from models.problems.classification import Classification
from models.strategies.base import TrainingContext, TrainingData, frozen
from models.strategies.replay import Replay
from models.strategies.replay_distillation import ReplayDistillation
from models.strategies.reptile import Reptile
from models.strategies.si import SI
from models.training import Plan, _Trainer, novelty, train
from records.snapshot import InputSpec
from tests.models.datasets import shaded

SPEC = InputSpec(channels=1, height=4, width=4, mean=(0.5,), std=(0.25,))


def context(classes: int = 2, seed: int = 0, dropout: float = 0.0) -> TrainingContext:
    torch.manual_seed(seed)
    network = Network(MLP(hidden=(8,), dropout=dropout), SPEC, classes)
    return TrainingContext(network, frozen(copy.deepcopy(network)), Classification(), seed=5)


def data(new: ImageDataset, memory: ImageDataset | None = None) -> TrainingData:
    return TrainingData(new, lambda: memory, lambda: None)


def equal(one: Network, other: Network) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_equal_arguments_give_equal_weights_bit_for_bit() -> None:
    first, second = context(), context()
    plan = Plan(budget=Budget(batch_size=4, replay_batch_size=2, min_steps=20))
    for one in (first, second):
        train(one, Replay(), data(shaded([0, 1] * 8), shaded([0, 1], first=50)), plan)
    assert equal(first.network, second.network)
    assert not equal(first.network, context().network)


def test_what_is_learned_is_logged_by_part_and_the_loss_falls() -> None:
    seen: list[tuple[int, int]] = []
    plan = Plan(budget=Budget(batch_size=10, min_steps=100), optimiser=Optimiser(learning_rate=0.01))
    progress = lambda done, total: seen.append((done, total))  # noqa: E731
    log = train(context(), Replay(), data(shaded([0] * 20 + [1] * 20)), plan, progress=progress)
    assert (log.steps, log.images, len(log.losses["task"])) == (100, 1000, 10)
    assert log.losses["task"][-1] < log.losses["task"][0] < math.log(2) * 1.5
    assert log.cpu_seconds > 0
    assert log.environment["threads"] == str(torch.get_num_threads())
    assert seen[0] == (1, 100)
    assert seen[-1] == (100, 100)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("strategy", [ReplayDistillation(), SI(), Reptile(inner_steps=3)], ids=lambda s: s.name)
@pytest.mark.parametrize(
    "optimiser", [Optimiser(ema_decay=0.9), Optimiser(name="sgd", learning_rate=0.01)], ids=lambda o: o.name
)
def test_interrupted_and_resumed_is_as_if_it_had_never_been_bit_for_bit(strategy, optimiser, tmp_path) -> None:
    plan = Plan(
        budget=Budget(batch_size=4, replay_batch_size=2, min_steps=20),
        optimiser=optimiser,
        augmentation=Augmentation(translate=0.2),
    )
    seen = data(shaded([0, 1] * 8), shaded([0, 1], first=50))
    whole = context(dropout=0.3)
    expected = train(whole, strategy, seen, plan)

    def stop(done: int, total: int) -> None:
        if done == 13:
            raise Interrupted

    checkpoint = Checkpoint(tmp_path / "unfinished.safetensors", "night", every=0)
    with pytest.raises(Interrupted):
        train(context(dropout=0.3), strategy, seen, plan, checkpoint=checkpoint, progress=stop)
    steps: list[int] = []
    again = context(dropout=0.3)
    log = train(again, strategy, seen, plan, checkpoint=checkpoint, progress=lambda done, total: steps.append(done))
    assert steps == list(range(14, 21))
    assert equal(again.network, whole.network)
    assert again.state.keys() == whole.state.keys()
    assert all(torch.equal(value, whole.state[name]) for name, value in again.state.items())
    assert log.losses == expected.losses
    assert (log.steps, log.images) == (expected.steps, expected.images)


class ChannelsLast(Compute):
    """A CPU on which weights lie as they do on a GPU."""

    def place(self, network) -> None:
        network.to(memory_format=torch.channels_last)


def convolving(classes: int = 2) -> TrainingContext:
    torch.manual_seed(0)
    network = Network(CNN(width=8), SPEC, classes)
    return TrainingContext(network, frozen(copy.deepcopy(network)), Classification(), seed=5)


@pytest.mark.parametrize("strategy", [Replay(), SI()], ids=lambda s: s.name)
def test_weights_with_channels_last_go_on_after_an_interruption_bit_for_bit(strategy, tmp_path) -> None:
    plan = Plan(budget=Budget(batch_size=4, replay_batch_size=2, min_steps=8), optimiser=Optimiser(ema_decay=0.9))
    seen, last = data(shaded([0, 1] * 8), shaded([0, 1], first=50)), ChannelsLast()
    whole = convolving()
    train(whole, strategy, seen, plan, last)

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise Interrupted

    checkpoint = Checkpoint(tmp_path / "unfinished.safetensors", "night", every=0)
    with pytest.raises(Interrupted):
        train(convolving(), strategy, seen, plan, last, checkpoint, stop)
    again = convolving()
    train(again, strategy, seen, plan, last, checkpoint)
    assert any(weight.stride() != weight.contiguous().stride() for weight in again.network.parameters())
    assert equal(again.network, whole.network)
    assert all(torch.equal(value, whole.state[name]) for name, value in again.state.items())


def test_what_was_saved_lies_in_memory_as_it_did(tmp_path) -> None:
    plain = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    tensors = {
        "plain": plain,
        "last": plain.to(memory_format=torch.channels_last),
        # A length of 1 may have any stride, and a fused kernel compares them all.
        "grey": plain[:, :1].contiguous().to(memory_format=torch.channels_last),
        "matrix": plain.view(6, 20).t(),
        "part": plain[:, 1],
        "wide": torch.ones(1).expand(3),
        "step": torch.tensor(7.0),
    }
    checkpoint = Checkpoint(tmp_path / "unfinished.safetensors", "night")
    checkpoint.save(Saved(1, 0.5, tensors))
    loaded = checkpoint.load().tensors
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    assert {name: tensor.stride() for name, tensor in loaded.items()} == {
        name: torch.empty_like(tensor).stride() for name, tensor in tensors.items()
    }
    assert loaded["grey"].stride() == tensors["grey"].stride()


@pytest.mark.filterwarnings("ignore:.*to a meta parameter:UserWarning")
def test_all_that_is_gone_on_from_is_on_the_device(tmp_path) -> None:
    plan = Plan(
        budget=Budget(batch_size=4, replay_batch_size=2, min_steps=8), optimiser=Optimiser(name="sgd", ema_decay=0.9)
    )
    seen = data(shaded([0, 1] * 8), shaded([0, 1], first=50))
    checkpoint = Checkpoint(tmp_path / "unfinished.safetensors", "night", every=0)
    train(context(), SI(), seen, plan, checkpoint=checkpoint)
    elsewhere, device = context(), torch.device("meta")
    elsewhere.device = device
    elsewhere.network.to(device)
    SI().begin(elsewhere, seen)
    descent = _Trainer(elsewhere, SI(), seen, plan, Compute(device))
    descent._resume(checkpoint)
    kept = [value for values in descent.optimisers[0].state.values() for value in values.values()]
    placed = [*elsewhere.state.values(), *descent.average.average, *kept, *descent.losses["task"]]
    assert len(descent.losses["task"]) == 8
    assert kept
    assert {value.device.type for value in placed} == {"meta"}


@pytest.mark.parametrize("changed", ["torch", "device", "cpu_instructions", "threads", "processes", "compile"])
def test_what_was_computed_in_another_environment_is_no_start(changed, tmp_path) -> None:
    path, here = tmp_path / "unfinished.safetensors", Compute().environment()
    assert changed in here
    Checkpoint(path, "night", here).save(Saved(3, 0.5, {"weight": torch.ones(2)}))
    now = {**here, changed: "another"}
    assert Checkpoint(path, "night", here).load().step == 3
    assert Checkpoint(path, "night", now).load() is None
    assert Checkpoint(path, "night", now).made_elsewhere() == {changed: (here[changed], "another")}
    assert Checkpoint(path, "another night", now).made_elsewhere() == {}


def test_another_nights_checkpoint_is_no_start(tmp_path) -> None:
    path = tmp_path / "unfinished.safetensors"
    plan = Plan(budget=Budget(batch_size=4, min_steps=20))
    train(context(seed=3), Replay(), data(shaded([0, 1] * 8)), plan, checkpoint=Checkpoint(path, "another", every=0))
    fresh, beside = context(), context()
    train(fresh, Replay(), data(shaded([0, 1] * 8)), plan)
    train(beside, Replay(), data(shaded([0, 1] * 8)), plan, checkpoint=Checkpoint(path, "this", every=1e9))
    assert equal(fresh.network, beside.network)


def test_a_budget_in_seconds_ends_with_the_clock(monkeypatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr("models.training.time.monotonic", lambda: next(ticks))
    log = train(context(), Replay(), data(shaded([0, 1] * 8)), Plan(budget=Budget(batch_size=4, max_seconds=7)))
    assert log.steps == 7


def test_novelty_is_the_share_that_the_parent_answers_wrongly() -> None:
    known = context(classes=2)
    with torch.no_grad():
        known.parent.head.weight.zero_()
        known.parent.head.bias.copy_(torch.tensor([0.0, 1.0]))  # it answers 1, whatever it sees
    assert novelty(known, shaded([0, 1, 1, 2])) == 0.5
    known.parent = None
    assert novelty(known, shaded([0, 1, 1, 2])) == 1.0


def test_averaged_weights_are_not_the_last_ones() -> None:
    last, averaged = context(), context()
    seen = data(shaded([0, 1] * 8))
    budget = Budget(batch_size=4, min_steps=20)
    train(last, Replay(), seen, Plan(budget=budget))
    train(averaged, Replay(), seen, Plan(budget=budget, optimiser=Optimiser(ema_decay=0.95)))
    assert not equal(last.network, averaged.network)
