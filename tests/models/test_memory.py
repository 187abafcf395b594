from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from dataset.archive import ImageDataset
from models.memory import COLUMNS, Memory, Share, even_quotas, rank
from tests.models.datasets import pool_of

Make = Callable[[list[int]], Memory]


def dataset(images: list[str], targets: list[int]) -> ImageDataset:
    return pool_of(np.arange(len(images), dtype=np.uint8).reshape(-1, 1, 1, 1), targets, images)


def memory(numbers: list[int], seed: int = 0) -> Memory:
    """Images named by number; the class is the number modulo three."""
    return Memory.of(dataset([f"i{n}" for n in numbers], [n % 3 for n in numbers]), seed)


def weighted(numbers: list[int], seed: int = 0) -> Memory:
    """The same with weights of 1, 2, 4 or 8, which belong to the image."""
    one = dataset([f"i{n}" for n in numbers], [n % 3 for n in numbers])
    return Memory.of(one, seed, np.array([2.0 ** (n % 4) for n in numbers]))


def names(kept: Memory) -> list[str]:
    return kept.image.tolist()


quick = settings(max_examples=50)
either_share = pytest.mark.parametrize("share", ["balanced", "proportional"])
either_memory = pytest.mark.parametrize("make", [memory, weighted], ids=["uniform", "weighted"])
distinct = st.lists(st.integers(0, 500), unique=True, max_size=60)


@quick
@given(distinct, st.integers(0, 40), st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(numbers: list[int], size: int, random: object) -> None:
    shuffled = list(numbers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert names(memory(numbers).keep(size)) == names(memory(shuffled).keep(size))


def test_whoever_sends_images_chooses_what_is_remembered_unless_there_is_a_key() -> None:
    honest = [f"honest{n}" for n in range(200)]
    # Of ten variants each the one that ranks lowest.
    sent = [min((f"sent{n}-{pixel}" for pixel in range(10)), key=lambda image: rank(0, image)) for n in range(50)]
    one = dataset(honest + sent, [0] * 250)
    assert sum(name.startswith("sent") for name in names(Memory.of(one, 0).keep(50))) > 30
    kept = names(Memory.of(one, 0, key="5b" * 16).keep(50))
    assert sum(name.startswith("sent") for name in kept) < 20
    assert kept == names(Memory.of(one, 0, key="5b" * 16).keep(50)) != names(Memory.of(one, 1, key="5b" * 16).keep(50))


@quick
@given(distinct, distinct, st.integers(0, 40))
def test_workers_memories_merge_into_the_one_that_saw_all(one: list[int], two: list[int], size: int) -> None:
    together = memory(sorted({*one, *two})).keep(size)
    merged = memory(one).keep(size).merge(memory(two).keep(size)).keep(size)
    # A worker that saw few of a class fills up with others, so only the merged memory is cut to the common quotas.
    assert names(merged) == names(together)


@quick
@given(distinct, st.integers(0, 40))
def test_remembering_twice_changes_nothing(numbers: list[int], size: int) -> None:
    once = memory(numbers).keep(size)
    assert names(once.merge(memory(numbers)).keep(size)) == names(once)


@quick
@given(st.lists(st.integers(0, 500), unique=True, min_size=1, max_size=60), st.integers(1, 40))
def test_a_deleted_image_lets_the_next_one_in(numbers: list[int], size: int) -> None:
    kept = memory(numbers).keep(size)
    gone = names(kept)[0]
    without = memory([n for n in numbers if f"i{n}" != gone]).keep(size)
    assert gone not in names(without)
    assert names(memory(numbers).forget([gone]).keep(size)) == names(without)


def test_every_image_is_as_likely_to_be_kept() -> None:
    numbers = list(range(0, 300, 3))
    counts = dict.fromkeys((f"i{n}" for n in numbers), 0)
    for seed in range(400):
        for name in names(memory(numbers, seed).keep(20)):
            counts[name] += 1
    assert chisquare(list(counts.values())).pvalue > 0.001


def test_rank_is_a_hash_of_seed_and_image_alone() -> None:
    assert rank(0, "abc") == rank(0, "abc")
    assert rank(0, "abc") != rank(1, "abc")
    assert 0 <= rank(7, "abc") < 2**63


@pytest.mark.parametrize(
    ("counts", "size", "quotas"),
    [
        ([10, 10, 10], 9, [3, 3, 3]),
        ([10, 10, 10], 10, [4, 3, 3]),
        ([1, 10, 10], 9, [1, 4, 4]),
        ([2, 2, 2], 100, [2, 2, 2]),
        ([5, 0, 5], 4, [2, 0, 2]),
        ([], 5, []),
        ([3, 3], 0, [0, 0]),
    ],
)
def test_quotas_are_as_even_as_the_classes_allow(counts: list[int], size: int, quotas: list[int]) -> None:
    assert even_quotas(counts, size) == quotas


def test_written_and_read_back_it_is_the_same_and_equal_memories_give_equal_files(tmp_path: Path) -> None:
    kept = memory([5, 9, 1, 2]).keep(3)
    kept.write(tmp_path / "a")
    memory([5, 9, 1, 2]).keep(3).write(tmp_path / "b")
    again = Memory.read(tmp_path / "a")
    assert names(again) == names(kept)
    assert again.rank.tolist() == kept.rank.tolist()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_empty_memory_is_a_memory(tmp_path: Path) -> None:
    Memory.empty().write(tmp_path / "m")
    again = Memory.read(tmp_path / "m")
    assert len(again) == 0
    assert names(again.merge(memory([1, 2])).keep(10)) == names(memory([1, 2]).keep(10))


def same(one: Memory, other: Memory) -> bool:
    """Every column, row by row."""
    return all(getattr(one, c).tolist() == getattr(other, c).tolist() for c in COLUMNS)


@either_share
@either_memory
@quick
@given(numbers=distinct, size=st.integers(0, 40), random=st.randoms(use_true_random=False))
def test_order_does_not_matter_whatever_is_preferred(
    make: Make, share: Share, numbers: list[int], size: int, random: Random
) -> None:
    shuffled = list(numbers)
    random.shuffle(shuffled)
    assert names(make(shuffled).keep(size, share)) == names(make(numbers).keep(size, share))


@either_share
@either_memory
@quick
@given(numbers=distinct, size=st.integers(0, 40), workers=st.lists(st.integers(0, 5), min_size=60, max_size=60))
def test_any_division_among_workers_keeps_what_one_would(
    make: Make, share: Share, numbers: list[int], size: int, workers: list[int]
) -> None:
    merged = Memory.empty()
    for worker in range(6):
        seen = [n for n, by in zip(numbers, workers, strict=False) if by == worker]
        merged = merged.merge(make(seen).keep(size, share))
    assert names(merged.keep(size, share)) == names(make(numbers).keep(size, share))


@either_share
@either_memory
@quick
@given(numbers=distinct, size=st.integers(0, 40), smaller=st.integers(0, 40))
def test_kept_twice_it_is_the_same_and_a_smaller_one_is_part_of_a_larger(
    make: Make, share: Share, numbers: list[int], size: int, smaller: int
) -> None:
    kept = make(numbers).keep(size, share)
    assert len(kept) == min(size, len(numbers))
    assert same(kept.keep(size, share), kept)
    assert same(kept.merge(kept).keep(size, share), kept)
    least = min(size, smaller)
    assert names(kept.keep(least, share)) == names(make(numbers).keep(least, share))


@either_share
@either_memory
@quick
@given(numbers=distinct.filter(bool), size=st.integers(1, 40))
def test_ranked_anew_without_a_deleted_image_the_next_comes_in(
    make: Make, share: Share, numbers: list[int], size: int
) -> None:
    kept = names(make(numbers).keep(size, share))
    gone = kept[0]
    anew = names(make([n for n in numbers if f"i{n}" != gone]).keep(size, share))
    assert gone not in anew
    assert len(anew) == min(size, len(numbers) - 1)
    if share == "proportional":
        assert set(kept) - {gone} <= set(anew)


@pytest.mark.parametrize("size", [1, 3])
def test_a_proportional_share_is_as_likely_for_every_image_whatever_its_class(size: int) -> None:
    numbers = [0, 3, 6, 9, 12, 15, 1, 4, 2]  # six, two and one of a class
    counts = Counter(name for seed in range(900) for name in names(memory(numbers, seed).keep(size, "proportional")))
    assert sum(counts.values()) == 900 * size
    assert chisquare([counts[f"i{n}"] for n in numbers]).pvalue > 1e-3


def test_of_two_images_the_one_that_weighs_three_times_as_much_is_kept_three_times_as_often() -> None:
    two, weight = dataset(["light", "heavy"], [0, 1]), np.array([1.0, 3.0])
    counts = Counter(names(Memory.of(two, seed, weight).keep(1, "proportional"))[0] for seed in range(2000))
    assert chisquare([counts["light"], counts["heavy"]], [500, 1500]).pvalue > 1e-3


def test_the_second_of_a_weighted_sample_is_drawn_from_what_is_left() -> None:
    three, weight = dataset(["a", "b", "c"], [0, 0, 0]), np.array([1.0, 2.0, 3.0])
    counts = Counter(tuple(sorted(names(Memory.of(three, seed, weight).keep(2)))) for seed in range(3000))
    # First and then second, either way round: P(a, b) = 1/6 * 2/5 + 2/6 * 1/4, and so on.
    chances = [1 / 6 * 2 / 5 + 2 / 6 * 1 / 4, 1 / 6 * 3 / 5 + 3 / 6 * 1 / 3, 2 / 6 * 3 / 4 + 3 / 6 * 2 / 3]
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    assert chisquare([counts[pair] for pair in pairs], [3000 * chance for chance in chances]).pvalue > 1e-3


def test_equal_weights_keep_what_no_weights_keep() -> None:
    one = dataset([f"i{n}" for n in range(50)], [n % 3 for n in range(50)])
    for seed in range(20):
        for share in ("balanced", "proportional"):
            even = Memory.of(one, seed, np.full(50, 0.3)).keep(9, share)
            assert names(even) == names(Memory.of(one, seed).keep(9, share))


def answers(kept: Memory, classes: int, night: int) -> np.ndarray:
    """Of image n, night * 1000 + n."""
    numbers = [int(name[1:]) for name in names(kept)]
    return np.array([[night * 1000 + n] * classes for n in numbers], dtype=np.float32).reshape(-1, classes)


@either_share
def test_outputs_stay_with_their_images_over_nights_files_and_memories(share: Share, tmp_path: Path) -> None:
    first = memory(list(range(0, 30))).keep(12, share)
    first = first.answered(answers(first, 2, night=1))
    first.write(tmp_path / "first")
    second = Memory.read(tmp_path / "first").merge(memory(list(range(20, 60)))).keep(15, share)
    second = second.answered(answers(second.unanswered(), 3, night=2))
    assert len(second.unanswered()) == 0
    second.write(tmp_path / "second")
    again = Memory.read(tmp_path / "second")
    assert again.outputs.dtype == np.float32
    assert 0 < len({*names(first)} & {*names(again)}) < len(again)
    for name, outputs in zip(names(again), again.outputs, strict=True):
        number = int(name[1:])
        if name in names(first):
            assert outputs[:2].tolist() == [1000 + number] * 2
            assert np.isnan(outputs[2])
        else:
            assert outputs.tolist() == [2000 + number] * 3
    second.write(tmp_path / "equal")
    assert (tmp_path / "equal").read_bytes() == (tmp_path / "second").read_bytes()


def test_outputs_of_one_of_two_memories_are_unknown_in_the_other() -> None:
    one, other = memory([1, 2, 3]), memory([2, 50])
    one = one.answered(answers(one, 2, night=1))
    for merged in (one.merge(other), other.merge(one)):
        known = dict(zip(names(merged), merged.outputs.tolist(), strict=True))
        assert known["i1"] == [1001, 1001]
        assert np.isnan(known["i50"]).all()
    assert one.merge(other).keep(0).outputs.shape == (0, 2)


def test_ranked_anew_images_have_the_weights_and_outputs_they_had() -> None:
    kept = weighted([1, 2, 3, 4, 7, 40]).keep(3)
    kept = kept.answered(answers(kept, 2, night=1))
    anew = memory([1, 2, 3, 4, 5, 6, 7, 40]).like(kept)
    assert sorted(names(anew)) == sorted(f"i{n}" for n in [1, 2, 3, 4, 5, 6, 7, 40])
    for name, weight, outputs in zip(names(anew), anew.weight, anew.outputs, strict=True):
        if name in names(kept):
            assert weight == 2.0 ** (int(name[1:]) % 4)
            assert outputs.tolist() == [1000 + int(name[1:])] * 2
        else:
            assert weight == 1
            assert np.isnan(outputs).all()
    assert memory([1, 2]).like(memory([2, 3])).outputs is None


def test_an_empty_memory_with_outputs_can_be_written_and_read(tmp_path: Path) -> None:
    one = memory([1, 2])
    one.answered(answers(one, 2, night=1)).keep(0).write(tmp_path / "m")
    assert Memory.read(tmp_path / "m").outputs.shape == (0, 2)
