"""Contract of every strategy in the catalogue, and what is particular to the four simplest."""

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from dataset.archive import ImageDataset
from models.catalogue import CorrectionChoice, StrategyChoice
from models.networks.base import Network
from models.networks.mlp import MLP
from models.problems.classification import Classification
from models.strategies.base import Losses, Minibatch, Strategy, TrainingContext, TrainingData, frozen
from models.strategies.finetune import Finetune
from models.strategies.joint import Joint
from models.strategies.names import StrategyName
from models.strategies.replay import Replay
from models.strategies.replay_distillation import ReplayDistillation
from models.training import Plan, train
from records.snapshot import InputSpec
from tasks.update.settings import UpdateParams
from tests.models.catalogue import listed
from tests.models.datasets import coloured

SPEC = InputSpec(channels=1, height=4, width=4, mean=(0.5,), std=(0.25,))
STRATEGIES = listed(StrategyChoice)
ROOT = Path(__file__).parents[3]


def example() -> Strategy:
    """The strategy that docs/extending.md adds, from the page itself: it keeps the contract as if it were listed."""
    code, *_ = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), flags=re.S)
    names: dict = {"__name__": "example"}
    exec(code, names)
    (kind,) = [k for k in names.values() if isinstance(k, type) and issubclass(k, Strategy) and k is not Strategy]
    return kind()


EXAMPLE = example()
every_strategy = pytest.mark.parametrize("strategy", [*STRATEGIES, EXAMPLE], ids=lambda s: s.name)
every_listed_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)


def data() -> TrainingData:
    return TrainingData(new=coloured(4, 2), recall=lambda: coloured(3, 0), open_archive=lambda: coloured(9, 1))


def minibatch() -> Minibatch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 1, 4, 4), dtype=torch.uint8, generator=generator)
    prior = torch.tensor([1 / 3, 1e-6, 2 / 3]).log()
    return Minibatch(images, torch.tensor([2, 2, 2, 2, 0, 0]), 4, prior, remembered=torch.zeros(2, 2))


@pytest.fixture
def context() -> TrainingContext:
    torch.manual_seed(0)
    student, parent = (Network(MLP(hidden=(8,)), SPEC, classes) for classes in (3, 2))
    return TrainingContext(student, frozen(parent), Classification(), seed=1)


def test_forms_and_help_offer_exactly_the_strategies_of_the_catalogue() -> None:
    assert list(get_args(StrategyName)) == [strategy.name for strategy in STRATEGIES]


@every_strategy
@pytest.mark.parametrize("first_night", [True, False])
def test_every_loss_is_finite_and_reaches_the_whole_network(
    strategy: Strategy, context: TrainingContext, first_night: bool
) -> None:
    if not strategy.descends:
        pytest.skip("takes no steps")
    if first_night:
        context.parent = None
    strategy.begin(context, data())
    losses = strategy.loss(context, minibatch())
    assert losses["task"].ndim == 0
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in context.network.parameters())


@every_strategy
def test_a_night_and_the_next_keep_tensors_that_can_be_written(strategy: Strategy, context: TrainingContext) -> None:
    from safetensors.torch import load, save

    plan = Plan(budget={"min_steps": 3, "max_steps": 3, "batch_size": 2, "replay_batch_size": 2})
    train(context, strategy, data(), plan)
    kept = load(save({name: tensor.contiguous() for name, tensor in context.state.items()}))
    parent = frozen(copy.deepcopy(context.network))
    student = copy.deepcopy(context.network).requires_grad_(True)
    student.grow(4)
    following = TrainingContext(student, parent, Classification(), kept, seed=2)
    new = TrainingData(new=coloured(4, 3), recall=lambda: coloured(3, 2), open_archive=lambda: coloured(9, 1))
    train(following, strategy, new, plan)
    assert following.state.keys() == context.state.keys()
    assert all(value.isfinite().all() for value in student.state_dict().values())
    assert not student.training


@every_strategy
def test_no_strategy_changes_its_parent_while_training(strategy: Strategy, context: TrainingContext) -> None:
    before = copy.deepcopy(context.parent.state_dict())
    train(context, strategy, data(), Plan(budget={"min_steps": 2, "max_steps": 2}))
    assert all(torch.equal(value, before[name]) for name, value in context.parent.state_dict().items())
    assert all(p.grad is None for p in context.parent.parameters())


@every_strategy
def test_the_weights_of_what_memory_prefers_are_positive(strategy: Strategy, context: TrainingContext) -> None:
    weights = strategy.importance(context, coloured(5, 1))
    assert weights is None or (weights.shape == (5,) and (weights > 0).all())


@pytest.mark.parametrize(
    ("strategy", "new", "replayed"),
    [(Finetune(), [4], None), (Joint(), [9, 4], None), (Replay(), [4], 3), (ReplayDistillation(), [4], 3)],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_a_night_learns_from(strategy: Strategy, new: list[int], replayed: int | None) -> None:
    datasets, again = strategy.draw(data())
    assert [len(p) for p in datasets] == new
    assert (None if again is None else len(again)) == replayed


def test_only_the_full_retrain_opens_the_archive_and_starts_over() -> None:
    def refuse() -> ImageDataset:
        raise AssertionError("the archive was opened")

    for strategy in STRATEGIES:
        if strategy.name == "joint":
            assert strategy.starts_over
        else:
            strategy.draw(TrainingData(new=coloured(4, 2), recall=lambda: coloured(3, 0), open_archive=refuse))
            assert not strategy.starts_over


@pytest.mark.parametrize("name", ["finetune", "joint", "lwf", "ewc", "si", "analytic"])
def test_who_replays_nothing_recalls_nothing(name: str) -> None:
    def refuse() -> ImageDataset:
        raise AssertionError("memory was recalled")

    (strategy,) = (s for s in STRATEGIES if s.name == name)
    _, replayed = strategy.draw(TrainingData(coloured(4, 2), refuse, lambda: coloured(9, 1)))
    assert replayed is None


def test_the_loss_of_a_blend_is_that_of_both_its_classes(context: TrainingContext) -> None:
    plain = minibatch()
    outputs = context.network(plain.images)
    partner, share = torch.tensor([0, 2, 1, 2, 2, 0]), torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    blended = replace(plain, partner_targets=partner, mixup_lambda=share)
    mine, its = (context.problem.losses(outputs, t, plain.log_prior) for t in (plain.targets, partner))
    torch.testing.assert_close(context.loss(outputs, blended), (share * mine + (1 - share) * its).mean())


def test_features_are_held_to_the_parents_on_remembered_images(context: TrainingContext) -> None:
    losses = ReplayDistillation(feature_weight=2.0).loss(context, minibatch())
    mine, its = (network.features(minibatch().images[4:]) for network in (context.network, context.parent))
    assert losses["features"].item() == pytest.approx(2 * ((mine - its) ** 2).mean().item())


@every_strategy
def test_the_loss_counts_images_by_their_weights_and_corrects_for_the_frequency_of_classes(
    strategy: Strategy, context: TrainingContext
) -> None:
    """As `context.loss` does it; a strategy that takes the problem's loss by itself must not leave them out."""
    if not strategy.descends or strategy.name == "finetune":
        pytest.skip("takes no steps, or corrects for nothing: it is what others are compared with")
    strategy.begin(context, data())
    plain = replace(minibatch(), log_prior=None)
    of_plain = total(strategy.loss(context, plain))
    weighted = replace(plain, weight=torch.tensor([3.0, 0.5, 0.5, 0.5, 0.2, 1.3]))
    assert total(strategy.loss(context, weighted)) != pytest.approx(of_plain, rel=1e-4)
    if strategy.name != "er_ace":  # It says itself which classes compete.
        assert total(strategy.loss(context, minibatch())) != pytest.approx(of_plain, rel=1e-4)


def total(losses: Losses) -> float:
    return sum(part.item() for part in losses.values())


@every_strategy
def test_the_loss_of_a_blended_image_is_that_of_both_its_classes_unless_it_is_said_to_make_no_sense(
    strategy: Strategy, context: TrainingContext
) -> None:
    if not (strategy.descends and strategy.blends):
        pytest.skip("images are not blended")
    strategy.begin(context, data())
    plain, (half, whole) = minibatch(), (torch.full((6,), share) for share in (0.5, 1.0))
    other = torch.tensor([0, 0, 0, 0, 2, 2])
    one, turned = (
        replace(plain, partner_targets=other, mixup_lambda=half),
        replace(plain, targets=other, partner_targets=plain.targets, mixup_lambda=half),
    )
    loss = strategy.loss(context, one)["task"]
    # Half of one and half of the other is the same whichever is called the first.
    if strategy.name != "importance_weighted":  # it counts an image by the loss of its first class
        torch.testing.assert_close(loss, strategy.loss(context, turned)["task"])
    assert loss.item() != pytest.approx(strategy.loss(context, plain)["task"].item(), rel=1e-4)
    of_itself = replace(plain, partner_targets=other, mixup_lambda=whole)
    torch.testing.assert_close(strategy.loss(context, of_itself)["task"], strategy.loss(context, plain)["task"])


def test_the_example_of_the_page_holds_the_features_and_is_in_no_list(context: TrainingContext) -> None:
    losses = EXAMPLE.loss(context, minibatch())
    assert losses.keys() == {"task", "features"}
    torch.testing.assert_close(losses["task"], context.loss(context.network(minibatch().images), minibatch()))
    assert EXAMPLE.name not in {strategy.name for strategy in STRATEGIES}
    before, plan = losses["task"].item(), Plan(budget={"min_steps": 30, "max_steps": 30, "batch_size": 4})
    log = train(context, EXAMPLE, data(), plan)
    assert log.steps == 30
    context.network.train()
    assert log.losses["task"][-1] < log.losses["task"][0] < before * 10


@pytest.mark.parametrize("name", ["dark_replay", "er_ace"])
def test_what_cannot_be_blended_is_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=f"`augmentation.mixup_alpha` makes no sense with the strategy {name}"):
        UpdateParams.model_validate({"strategy": {"name": name}, "augmentation": {"mixup_alpha": 0.2}})


@every_listed_strategy
def test_a_correction_is_refused_exactly_where_it_would_undo_what_the_strategy_does(strategy: Strategy) -> None:
    for correction in listed(CorrectionChoice):
        asked = {"strategy": strategy.model_dump(), "correction": correction.model_dump()}
        if strategy.corrected:
            assert UpdateParams.model_validate(asked).correction == correction
        else:
            with pytest.raises(ValueError, match=f"`correction` makes no sense with the strategy {strategy.name}"):
                UpdateParams.model_validate(asked)
