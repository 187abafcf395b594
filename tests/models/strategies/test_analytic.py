import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from dataset.archive import ImageDataset
from models.measures import calibration_error
from models.networks.base import Network, Recipe
from models.networks.cnn import CNN
from models.networks.mlp import MLP
from models.networks.patches import Patches
from models.networks.torchvision import Torchvision
from models.problems.classification import Classification
from models.strategies import analytic
from models.strategies.analytic import LARGEST, NEVER, Analytic, Sums, lda, ridge
from models.strategies.base import TrainingContext, TrainingData, frozen
from models.training import Plan, train
from records.snapshot import InputSpec
from tests.models.datasets import pool_of

SPEC = InputSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.29,))
PATCHES = Patches(filters=4, pooling_grid=2)
BODIES = [PATCHES, Patches(filters=6, channels=3, pooling_grid=2), MLP(hidden=(12,)), CNN(width=8)]
heads = pytest.mark.parametrize("head", ["ridge", "lda"])
bodies = pytest.mark.parametrize("recipe", BODIES, ids=str)


def shapes(targets: list[int], seed: int = 0) -> ImageDataset:
    """Noise with a bright bar whose place stands for the class."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 160, (len(targets), 1, 8, 8), dtype=np.uint8)
    for image, target in zip(pixels, targets, strict=True):
        image[0, 2 * target : 2 * target + 2] += 90
    return pool_of(pixels, targets, [f"{seed}-{n}" for n in range(len(targets))])


def part(dataset: ImageDataset, start: int, stop: int) -> ImageDataset:
    kept = slice(start, stop)
    return replace(
        dataset,
        batch=dataset.batch[kept],
        row=dataset.row[kept],
        image=dataset.image[kept],
        target=dataset.target[kept],
    )


def network(recipe: Recipe, classes: int, first: ImageDataset) -> Network:
    torch.manual_seed(0)
    made = Network(recipe, SPEC, classes)
    made.adapt(recipe, first.all_images(), 0)
    return made


def night(
    strategy: Analytic, before: TrainingContext, new: ImageDataset, archive: ImageDataset | None = None
) -> TrainingContext:
    """What follows on `before`, whose network has met the classes."""
    parent = frozen(copy.deepcopy(before.network))
    context = TrainingContext(copy.deepcopy(before.network), parent, Classification(), dict(before.state), seed=1)
    context.network.grow(int(new.target.max()) + 1)

    def open_archive() -> ImageDataset:
        assert archive is not None, "the archive was opened"
        return archive

    train(context, strategy, TrainingData(new, lambda: None, open_archive), Plan())
    return context


def first_night(
    strategy: Analytic, recipe: Recipe, new: ImageDataset, adapted_to: ImageDataset | None = None
) -> TrainingContext:
    context = TrainingContext(
        network(recipe, int(new.target.max()) + 1, adapted_to or new), None, Classification(), seed=1
    )
    train(context, strategy, TrainingData(new, lambda: None, lambda: None), Plan())
    return context


def accuracy(context: TrainingContext, dataset: ImageDataset) -> float:
    with torch.no_grad():
        return float((context.network(dataset.all_images()).argmax(dim=1) == dataset.target).double().mean())


def same_sums(one: TrainingContext, other: TrainingContext) -> bool:
    mine, its = Sums.unpacked(one.state), Sums.unpacked(other.state)
    return torch.equal(mine.gram, its.gram) and torch.equal(mine.cross, its.cross)


def same_head(one: TrainingContext, other: TrainingContext) -> bool:
    mine, its = one.network.head, other.network.head
    return torch.equal(mine.weight, its.weight) and torch.equal(mine.bias, its.bias)


def rows(count: int, features: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    rounded = torch.randint(-LARGEST, LARGEST + 1, (count, features), dtype=torch.int8, generator=drawn)
    return rounded, torch.randint(0, classes, (count,), generator=drawn)


def summed(rounded: torch.Tensor, targets: torch.Tensor, classes: int) -> Sums:
    sums = Sums.nothing(rounded.shape[1], classes)
    sums.add(rounded, targets)
    return sums


def clusters(seed: int = 0, each: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    """Rounded features of three classes, correlated."""
    generator = np.random.default_rng(seed)
    targets = np.repeat(np.arange(3), each)
    mixing = generator.normal(size=(6, 6))
    drawn = (generator.normal(size=(len(targets), 6)) + generator.normal(size=(3, 6))[targets]) @ mixing * 12
    return torch.from_numpy(drawn.round().clip(-LARGEST, LARGEST)).to(torch.int8), torch.from_numpy(targets)


@pytest.mark.parametrize("bytes_are_exact", [True, False])
@pytest.mark.parametrize("largest", [True, False])
def test_sums_are_exact(monkeypatch: pytest.MonkeyPatch, bytes_are_exact: bool, largest: bool) -> None:
    if not bytes_are_exact:  # as on a processor without instructions for products of bytes
        monkeypatch.setattr(analytic, "_multiplies_bytes_exactly", lambda: False)
    rounded, targets = rows(2500, 9, 4)
    if largest:
        rounded = torch.full_like(rounded, -LARGEST)
    sums = summed(rounded, targets, 4)
    whole = torch.cat([rounded, torch.ones(2500, 1)], dim=1).double()
    assert torch.equal(sums.gram.double(), whole.T @ whole)
    assert torch.equal(sums.cross.double(), whole.T @ torch.nn.functional.one_hot(targets, 4).double())


def test_sums_of_very_many_images_at_once_do_not_overflow() -> None:
    count = 2**31 // LARGEST**2 + 1000
    sums = summed(torch.full((count, 1), LARGEST, dtype=torch.int8), torch.zeros(count, dtype=torch.int64), 1)
    assert sums.gram[0, 0] == count * LARGEST**2 > 2**31


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 4), st.integers(0, 99), st.data())
def test_neither_order_nor_division_matters(count: int, features: int, classes: int, seed: int, data) -> None:
    rounded, targets = rows(count, features, classes, seed)
    order = torch.tensor(data.draw(st.permutations(range(count))))
    cut = data.draw(st.integers(0, count))
    whole = summed(rounded, targets, classes)
    parts = [summed(rounded[here], targets[here], classes) for here in (order[:cut], order[cut:])]
    both = parts[0] + parts[1]
    assert torch.equal(both.gram, whole.gram)
    assert torch.equal(both.cross, whole.cross)
    without = whole - parts[1]
    assert torch.equal(without.gram, parts[0].gram)
    assert torch.equal(without.cross, parts[0].cross)


def test_who_knows_fewer_classes_has_no_image_of_the_others() -> None:
    few, many = summed(*rows(10, 3, 2), 2), summed(*rows(20, 3, 5, seed=1), 5)
    for both in (few + many, many + few):
        assert both.cross.shape == (4, 5)
        assert torch.equal(both.cross[:, :2], few.cross + many.cross[:, :2])
        assert torch.equal(both.cross[:, 2:], many.cross[:, 2:])


@pytest.mark.parametrize(("factor", "kind"), [(1, torch.int32), (10**7, torch.int64)])
def test_packed_and_unpacked(factor: int, kind: torch.dtype) -> None:
    sums = summed(*rows(50, 5, 3), 3)
    sums = Sums(sums.gram * factor, sums.cross * factor)
    packed = sums.packed()
    assert packed["gram"].dtype == kind
    assert packed["gram"].shape == (6 * 7 // 2,)
    again = Sums.unpacked(packed)
    assert torch.equal(again.gram, sums.gram)
    assert torch.equal(again.cross, sums.cross)


def test_ridge_is_that_of_scikit_learn() -> None:
    rounded, targets = clusters()
    strength = 0.01
    weight, bias = ridge(summed(rounded, targets, 3), strength)
    standard = StandardScaler().fit(rounded.double().numpy())
    features = standard.transform(rounded.double().numpy())
    # Ours is added to the mean of squares over images, theirs to the sum.
    theirs = Ridge(alpha=strength * len(rounded)).fit(features, torch.nn.functional.one_hot(targets).numpy())
    outputs = (rounded.double() @ weight.T + bias).numpy()
    expected = theirs.predict(features)
    factor = outputs.std() / expected.std()  # of a logit: no answer depends on it
    np.testing.assert_allclose(outputs / factor, expected, atol=1e-4)
    assert (outputs.argmax(1) == expected.argmax(1)).all()


def test_lda_is_that_of_scikit_learn() -> None:
    rounded, targets = clusters()
    weight, bias = lda(summed(rounded, targets, 3), 1e-7)
    features = rounded.double().numpy()
    theirs = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3).fit(features, targets.numpy())
    outputs = (rounded.double() @ weight.T + bias).softmax(dim=1).numpy()
    np.testing.assert_allclose(outputs, theirs.predict_proba(features), atol=1e-3)
    assert (outputs.argmax(1) == theirs.predict(features)).all()


@heads
@bodies
def test_night_by_night_is_the_same_as_all_at_once(head: str, recipe: Recipe) -> None:
    strategy = Analytic(head=head)
    dataset = shapes([0, 1] * 20 + [0, 2] * 20 + [3, 1, 2] * 15)
    nights = [part(dataset, 0, 40), part(dataset, 40, 80), part(dataset, 80, 125)]
    context = first_night(strategy, recipe, nights[0])
    together = TrainingContext(network(recipe, 4, nights[0]), None, Classification(), seed=1)
    together.state = {name: context.state[name] for name in ("centre", "scale", "body")}
    together.state.update(Sums.nothing(together.network.width, 0).packed())
    train(together, strategy, TrainingData(dataset, lambda: None, lambda: None), Plan())
    for new in nights[1:]:
        context = night(strategy, context, new)
    if recipe.name == "patches":  # features of others may depend, in the last bit, on how many are asked at once
        assert same_sums(context, together)
        assert same_head(context, together)
    torch.testing.assert_close(context.network.head.weight, together.network.head.weight, rtol=0.05, atol=0.05)
    assert accuracy(context, shapes([0, 1, 2, 3] * 25, seed=5)) > (0.9 if recipe.name == "patches" else 0.5)


@heads
def test_what_is_forgotten_was_never_seen(head: str) -> None:
    strategy = Analytic(head=head)
    dataset = shapes([0, 1, 2] * 20)
    context = first_night(strategy, PATCHES, part(dataset, 0, 33), adapted_to=dataset)
    before = copy.deepcopy(context)
    context = night(strategy, context, part(dataset, 33, 60))
    assert not same_head(context, before)
    strategy.forget(context, part(dataset, 33, 60))
    assert same_sums(context, before)
    assert same_head(context, before)


@heads
def test_a_class_without_images_is_never_the_answer(head: str) -> None:
    strategy = Analytic(head=head)
    dataset = shapes([0, 1] * 20 + [2] * 20)
    context = first_night(strategy, PATCHES, dataset)
    strategy.forget(context, part(dataset, 40, 60))
    with torch.no_grad():
        outputs = context.network(shapes([0, 1, 2, 3] * 20, seed=1).all_images())
    assert (outputs.argmax(dim=1) != 2).all()
    assert outputs[:, 2].max() < NEVER / 2
    strategy.forget(context, part(dataset, 0, 40))  # now nothing is known
    assert all(value.isfinite().all() for value in context.network.state_dict().values())


@heads
def test_confidence_can_be_believed(head: str) -> None:
    context = first_night(Analytic(head=head, ridge=0.01), PATCHES, shapes([0, 1, 2, 3] * 150))
    asked = shapes([0, 1, 2, 3] * 100, seed=3)
    with torch.no_grad():
        confidence, answer = context.network(asked.all_images()).softmax(dim=1).max(dim=1)
    right = (answer == asked.target).double().numpy()
    assert right.mean() > 0.95
    assert confidence.mean() > 0.85
    assert calibration_error(confidence.double().numpy(), right) < 0.12


@bodies
def test_what_another_strategy_learned_is_gone_through_once(recipe: Recipe) -> None:
    past, new = shapes([0, 1] * 20), shapes([2, 3] * 20, seed=1)
    untold = TrainingContext(network(recipe, 2, past), None, Classification())
    context = night(Analytic(), untold, new, archive=past)
    assert int(Sums.unpacked(context.state).gram[-1, -1]) == 80
    tested = shapes([0, 1, 2, 3] * 25, seed=5)
    assert accuracy(context, tested) > (0.9 if recipe.name == "patches" else 0.5)
    later = night(Analytic(), context, shapes([3] * 9, seed=2))  # the archive is not opened again
    assert int(Sums.unpacked(later.state).gram[-1, -1]) == 89


def test_sums_of_another_body_are_of_no_use() -> None:
    past, new = shapes([0, 1] * 20), shapes([2, 3] * 20, seed=1)
    context = first_night(Analytic(), MLP(hidden=(12,)), past)
    with torch.no_grad():
        context.network.body[1].weight += 0.1
    with pytest.raises(AssertionError, match="the archive was opened"):
        night(Analytic(), context, new)
    rebuilt = night(Analytic(), context, new, archive=past)
    anew = night(Analytic(), replace(context, state={}), new, archive=past)
    assert same_sums(rebuilt, anew)
    assert same_head(rebuilt, anew)


@heads
@pytest.mark.parametrize("count", [1, 2, 5])
@bodies
def test_fewer_images_than_features(head: str, count: int, recipe: Recipe) -> None:
    context = first_night(Analytic(head=head), recipe, shapes([0, 1, 2, 3, 0][:count]))
    assert all(value.isfinite().all() for value in context.network.state_dict().values())
    later = night(Analytic(head=head), context, shapes([0, 1, 2, 3] * 2, seed=1))
    assert all(value.isfinite().all() for value in later.network.state_dict().values())


@heads
@bodies
def test_blank_images_have_features_that_never_vary(head: str, recipe: Recipe) -> None:
    dataset = shapes([0, 1, 2] * 5)
    blank = replace(dataset, pixels=(np.full_like(dataset.pixels[0], 90),))
    context = first_night(Analytic(head=head), recipe, blank)
    assert all(value.isfinite().all() for value in context.network.state_dict().values())


def test_a_body_with_batch_statistics() -> None:
    context = first_night(Analytic(), Torchvision(model="resnet18"), shapes([0, 1] * 4))
    later = night(Analytic(), context, shapes([0, 1] * 4, seed=1))
    assert int(Sums.unpacked(later.state).gram[-1, -1]) == 16
