from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from models.archive import Pool
from models.memory import Memory, even_quotas, rank


def pool(images: list[str], targets: list[int]) -> Pool:
    pixels = np.arange(len(images), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Pool(
        batch=np.zeros(len(images), dtype=np.int64),
        row=np.arange(len(images)),
        image=np.array(images, dtype=str),
        target=torch.tensor(targets, dtype=torch.int64),
        batches=("b",),
        pixels=(pixels,),
    )


def memory(numbers: list[int], seed: int = 0) -> Memory:
    """Images named by number; the class is the number modulo three."""
    return Memory.of(pool([f"i{n}" for n in numbers], [n % 3 for n in numbers]), seed)


def names(kept: Memory) -> list[str]:
    return kept.image.tolist()


distinct = st.lists(st.integers(0, 500), unique=True, max_size=60)


@settings(max_examples=50, deadline=None)
@given(distinct, st.integers(0, 40), st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(numbers: list[int], size: int, random: object) -> None:
    shuffled = list(numbers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert names(memory(numbers).keep(size)) == names(memory(shuffled).keep(size))


@settings(max_examples=50, deadline=None)
@given(distinct, distinct, st.integers(0, 40))
def test_workers_memories_merge_into_the_one_that_saw_all(one: list[int], two: list[int], size: int) -> None:
    together = memory(sorted({*one, *two})).keep(size)
    merged = memory(one).keep(size).merge(memory(two).keep(size)).keep(size)
    # A worker that saw few of a class fills up with others, so only the merged memory is cut to the common quotas.
    assert names(merged) == names(together)


@settings(max_examples=50, deadline=None)
@given(distinct, st.integers(0, 40))
def test_remembering_twice_changes_nothing(numbers: list[int], size: int) -> None:
    once = memory(numbers).keep(size)
    assert names(once.merge(memory(numbers)).keep(size)) == names(once)


@settings(max_examples=50, deadline=None)
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
