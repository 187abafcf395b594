from collections import Counter
from datetime import date

import numpy as np
import pytest
import torch

from models.archive import Archive
from models.budget import Budget
from models.knowledge import Knowledge, sha256
from models.networks.mlp import MLP
from models.strategies.finetune import Finetune
from models.strategies.joint import Joint
from records.errors import DamagedState
from records.experience import Experience
from tasks.ingest import IngestParams, ingest
from tasks.update import ImageParams, MemoryParams, UpdateParams, update

PARAMS = UpdateParams(
    network=MLP(hidden=(8,)),
    memory=MemoryParams(size=12),
    budget=Budget(least_steps=5, most_steps=5, batch=8, replayed=8),
)
FIRST, SECOND = {"cross": 20, "square": 20}, {"bar": 20, "column": 30, "square": 20}


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "batches", tmp_path / "cache")


@pytest.fixture
def take(archive, deliver, tmp_path):
    """Ingests drawn shapes and admits all of them."""

    def take(counts, seed):
        folder = deliver(tmp_path / f"delivery-{seed}", counts, seed)
        batch = ingest(archive.batches, tmp_path / "staging", folder, date(2026, 3, 1 + seed), IngestParams()).batch
        labels = archive.labels(batch.id)
        split = Counter(labels.split.at(np.arange(batch.images)).tolist())
        return Experience(
            batch=batch.id,
            digest=batch.digest,
            classes=batch.classes,
            train=split["train"],
            validation=0,
            test=split["test"],
        )

    return take


@pytest.fixture
def learn(archive, tmp_path):
    """Updates and gives the candidate's folder; version 1 is what `learn("one", None, ...)` makes."""

    def learn(name, parent, experiences, params=PARAMS, identity="aa"):
        update(parent, 0 if parent is None else 1, experiences, archive, params, identity, tmp_path / name)
        return tmp_path / name

    return learn


@pytest.fixture
def nights(take):
    """The experiences of two nights; the second brings classes whose names sort before the first's."""
    return take(FIRST, 1), take(SECOND, 2)


def digests(folder):
    return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}


def weights(folder):
    return Knowledge.read(folder).learner.network.state_dict()


def equal(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_same_identity_gives_the_same_files_byte_for_byte(learn, nights):
    parent = learn("one", None, nights[:1])
    twice = [digests(learn(name, parent, nights[1:])) for name in ("two", "again")]
    assert twice[0] == twice[1]
    assert set(twice[0]) == {"learner.json", "memory.parquet", "snapshot.json", "weights.safetensors"}


def test_another_seed_gives_other_weights_and_another_name_does_not(learn, nights):
    first = weights(learn("one", None, nights[:1]))
    seeded = weights(learn("two", None, nights[:1], params=PARAMS.model_copy(update={"seed": 1})))
    assert seeded.keys() == first.keys()
    assert not equal(first, seeded)
    assert equal(first, weights(learn("three", None, nights[:1], identity="ab")))


def test_what_was_left_from_an_interrupted_night_does_not_matter(learn, nights, tmp_path):
    expected = digests(learn("one", None, nights[:1]))
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "weights.safetensors").write_bytes(b"half")
    (tmp_path / "two" / "stray").touch()
    assert digests(learn("two", None, nights[:1])) == expected


def test_a_class_keeps_its_index_for_ever_and_new_ones_are_appended(learn, nights):
    parent = learn("one", None, nights[:1])
    first, second = (Knowledge.read(f) for f in (parent, learn("two", parent, nights[1:])))
    assert first.snapshot.classes == first.learner.classes == ("cross", "square")
    assert second.snapshot.classes == second.learner.classes == ("cross", "square", "bar", "column")
    assert second.learner.network.head.out_features == 4
    assert second.snapshot.experiences == nights
    assert second.snapshot.known_at == {nights[0].batch: 2, nights[1].batch: 4}
    assert (second.snapshot.parent, second.snapshot.identity) == (1, "aa")
    assert second.snapshot.spec == first.snapshot.spec


def test_a_class_that_two_deliveries_of_a_night_bring_is_learned_once(learn, nights):
    assert Knowledge.read(learn("one", None, nights)).snapshot.classes == ("bar", "column", "cross", "square")


def test_memory_is_bounded_and_shared_evenly_by_the_classes(learn, nights, archive):
    parent = learn("one", None, nights[:1])
    first, second = (Knowledge.read(f) for f in (parent, learn("two", parent, nights[1:])))
    assert Counter(first.memory.target.tolist()) == {0: 6, 1: 6}
    assert Counter(second.memory.target.tolist()) == {0: 3, 1: 3, 2: 3, 3: 3}
    trained = archive.pool(nights, "train", second.learner.classes, second.learner.spec)
    named = dict(zip(trained.image.tolist(), trained.target.tolist(), strict=True))
    assert [named[image] for image in second.memory.image.tolist()] == second.memory.target.tolist()


def test_whoever_replays_the_whole_archive_keeps_no_memory(learn, nights):
    params = PARAMS.model_copy(update={"memory": MemoryParams(size="all")})
    parent = learn("one", None, nights[:1], params)
    second = learn("two", parent, nights[1:], params)
    assert [len(Knowledge.read(folder).memory) for folder in (parent, second)] == [0, 0]
    assert not equal(weights(second), weights(learn("none", parent, nights[1:])))  # there, nothing is replayed


def test_joint_starts_over_whatever_its_parent_is(learn, nights):
    seeded = PARAMS.model_copy(update={"seed": 1})
    parents = [learn("one", None, nights[:1]), learn("other", None, nights[:1], seeded)]
    for strategy, same in ((Joint(), True), (Finetune(), False)):
        params = PARAMS.model_copy(update={"strategy": strategy})
        children = [learn(f"child-{p.name}", p, nights[1:], params) for p in parents]
        assert equal(*(weights(child) for child in children)) == same
        assert Knowledge.read(children[0]).learner.classes == ("cross", "square", "bar", "column")


def test_learning_leaves_the_parent_as_it_was(learn, nights):
    parent = learn("one", None, nights[:1])
    before = digests(parent)
    for strategy in (PARAMS.strategy, Finetune(), Joint()):
        learn("two", parent, nights[1:], PARAMS.model_copy(update={"strategy": strategy}))
    assert digests(parent) == before


def test_progress_and_log_tell_of_every_step(archive, nights, tmp_path):
    told = []
    _, log = update(
        None, 0, nights[:1], archive, PARAMS, "aa", tmp_path / "one", lambda done, total: told.append((done, total))
    )
    assert told == [(done, 5) for done in range(1, 6)]
    assert (log.steps, log.images) == (5, 5 * 8)


def test_the_first_night_decides_what_the_network_sees(learn, nights):
    params = PARAMS.model_copy(update={"image": ImageParams(size=8, channels=3)})
    parent = learn("one", None, nights[:1], params)
    spec = Knowledge.read(learn("two", parent, nights[1:])).learner.spec
    assert (spec.channels, spec.height, spec.width) == (3, 8, 8)


@pytest.mark.parametrize("name", ["weights.safetensors", "memory.parquet", "learner.json"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_snapshot_is_not_read(learn, nights, name, damage):
    folder = learn("one", None, nights[:1])
    path = folder / name
    if damage == "changed":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
    else:
        path.unlink()
    with pytest.raises(DamagedState, match=f"{name} is missing or was changed"):
        Knowledge.read(folder)
    with pytest.raises(DamagedState):
        learn("two", folder, nights[1:])


def test_a_night_with_a_small_memory_costs_later_nights_nothing(learn, nights):
    small = PARAMS.model_copy(update={"memory": MemoryParams(size=2)})
    usual = learn("usual", learn("one", None, nights[:1]), nights[1:])
    after = learn("after", learn("small", None, nights[:1], small), nights[1:])
    assert len(Knowledge.read(usual).memory) == 12
    assert Knowledge.read(after).memory.image.tolist() == Knowledge.read(usual).memory.image.tolist()


def test_dropout_is_seeded_too(learn, nights):
    params = PARAMS.model_copy(update={"network": MLP(hidden=(16,), dropout=0.5)})
    assert equal(*(weights(learn(name, None, nights[:1], params)) for name in ("one", "again")))
