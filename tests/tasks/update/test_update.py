import logging
from collections import Counter
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import torch

from dataset.archive import Archive
from models.augmentation import Augmentation
from models.budget import Budget
from models.bundle import ModelBundle, sha256
from models.checkpoint import Checkpoint
from models.compute import Compute
from models.corrections.bias_layer import BiasLayer
from models.corrections.weight_aligning import WeightAligning
from models.learner import Learner
from models.networks.mlp import MLP
from models.networks.patches import Patches
from models.strategies.analytic import Analytic
from models.strategies.dark_replay import DarkReplay
from models.strategies.ewc import EWC
from models.strategies.finetune import Finetune
from models.strategies.joint import Joint
from models.strategies.si import SI
from records.errors import DamagedState, WrongParameters
from records.experience import Experience
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams
from tasks.update.settings import ImageParams, MemoryParams, UpdateParams
from tasks.update.update import learn as continue_learning
from tasks.update.update import update

PARAMS = UpdateParams(
    network=MLP(hidden=(8,)),
    memory=MemoryParams(size=12),
    budget=Budget(min_steps=5, max_steps=5, batch_size=8, replay_batch_size=8),
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
    return ModelBundle.read(folder).learner.network.state_dict()


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
    first, second = (ModelBundle.read(f) for f in (parent, learn("two", parent, nights[1:])))
    assert first.snapshot.classes == first.learner.classes == ("cross", "square")
    assert second.snapshot.classes == second.learner.classes == ("cross", "square", "bar", "column")
    assert second.learner.network.head.out_features == 4
    assert second.snapshot.experiences == nights
    assert second.snapshot.known_at == {nights[0].batch: 2, nights[1].batch: 4}
    assert (second.snapshot.parent, second.snapshot.identity) == (1, "aa")
    assert second.snapshot.spec == first.snapshot.spec


def test_a_class_that_two_deliveries_of_a_night_bring_is_learned_once(learn, nights):
    assert ModelBundle.read(learn("one", None, nights)).snapshot.classes == ("bar", "column", "cross", "square")


def test_memory_is_bounded_and_shared_evenly_by_the_classes(learn, nights, archive):
    parent = learn("one", None, nights[:1])
    first, second = (ModelBundle.read(f) for f in (parent, learn("two", parent, nights[1:])))
    assert Counter(first.memory.target.tolist()) == {0: 6, 1: 6}
    assert Counter(second.memory.target.tolist()) == {0: 3, 1: 3, 2: 3, 3: 3}
    trained = archive.dataset(nights, "train", second.learner.classes, second.learner.spec)
    named = dict(zip(trained.image.tolist(), trained.target.tolist(), strict=True))
    assert [named[image] for image in second.memory.image.tolist()] == second.memory.target.tolist()


def test_whoever_replays_the_whole_archive_keeps_no_memory(learn, nights):
    params = PARAMS.model_copy(update={"memory": MemoryParams(size="all")})
    parent = learn("one", None, nights[:1], params)
    second = learn("two", parent, nights[1:], params)
    assert [len(ModelBundle.read(folder).memory) for folder in (parent, second)] == [0, 0]
    assert not equal(weights(second), weights(learn("none", parent, nights[1:])))  # there, nothing is replayed


def test_joint_starts_over_whatever_its_parent_is(learn, nights):
    seeded = PARAMS.model_copy(update={"seed": 1})
    parents = [learn("one", None, nights[:1]), learn("other", None, nights[:1], seeded)]
    for strategy, same in ((Joint(), True), (Finetune(), False)):
        params = PARAMS.model_copy(update={"strategy": strategy})
        children = [learn(f"child-{p.name}", p, nights[1:], params) for p in parents]
        assert equal(*(weights(child) for child in children)) == same
        assert ModelBundle.read(children[0]).learner.classes == ("cross", "square", "bar", "column")


def test_another_network_than_the_parents_is_refused_unless_the_night_starts_over(learn, nights):
    parent = learn("one", None, nights[:1])
    other = PARAMS.model_copy(update={"network": MLP(hidden=(16,))})
    with pytest.raises(
        WrongParameters, match="`update.network` is .*, but the champion's is .*: restore it, or run one night"
    ):
        learn("two", parent, nights[1:], other)
    started_over = learn("three", parent, nights[1:], other.model_copy(update={"strategy": Joint()}))
    assert ModelBundle.read(started_over).learner.recipe == MLP(hidden=(16,))


def test_another_problem_than_the_parents_is_refused_even_if_the_night_starts_over(learn, nights):
    parent = learn("one", None, nights[:1])
    masks = UpdateParams.model_validate(
        {"problem": {"name": "segmentation"}, "network": {"name": "unet"}, "strategy": {"name": "joint"}}
    )
    with pytest.raises(WrongParameters, match="learned without masks, and `update.problem` is `segmentation`, which"):
        learn("two", parent, nights[1:], masks)


def test_learning_leaves_the_parent_as_it_was(learn, nights):
    parent = learn("one", None, nights[:1])
    before = digests(parent)
    for strategy in (PARAMS.strategy, Finetune(), Joint()):
        learn("two", parent, nights[1:], PARAMS.model_copy(update={"strategy": strategy}))
    assert digests(parent) == before


def test_progress_and_log_tell_of_every_step(archive, nights, tmp_path):
    calls = []
    _, log = update(
        None, 0, nights[:1], archive, PARAMS, "aa", tmp_path / "one", lambda done, total: calls.append((done, total))
    )
    assert calls == [(done, 5) for done in range(1, 6)]
    assert (log.steps, log.images) == (5, 5 * 8)


def test_what_the_network_sees_is_said_once_a_night_before_it_is_trained(learn, nights, caplog):
    caplog.set_level(logging.INFO, "retain")
    parent = learn("one", None, nights[:1])
    learn("two", parent, nights[1:])
    messages = [record.getMessage() for record in caplog.records]
    size = "The network sees images of 12 x 12 pixels; `update.image.size` changes it"
    assert [line for line in messages if "pixels" in line] == [
        f"{size}.",
        f"{size}, but only before the first version.",
    ]
    assert messages[0] == f"{size}."
    assert messages[1].startswith("5 steps, about ")


def test_the_first_night_decides_what_the_network_sees(learn, nights):
    params = PARAMS.model_copy(update={"image": ImageParams(size=8, channels=3)})
    parent = learn("one", None, nights[:1], params)
    spec = ModelBundle.read(learn("two", parent, nights[1:])).learner.spec
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
        ModelBundle.read(folder)
    with pytest.raises(DamagedState):
        learn("two", folder, nights[1:])


def test_a_night_with_a_small_memory_costs_later_nights_nothing(learn, nights):
    small = PARAMS.model_copy(update={"memory": MemoryParams(size=2)})
    usual = learn("usual", learn("one", None, nights[:1]), nights[1:])
    after = learn("after", learn("small", None, nights[:1], small), nights[1:])
    assert len(ModelBundle.read(usual).memory) == 12
    assert ModelBundle.read(after).memory.image.tolist() == ModelBundle.read(usual).memory.image.tolist()


def test_dropout_is_seeded_too(learn, nights):
    params = PARAMS.model_copy(update={"network": MLP(hidden=(16,), dropout=0.5)})
    assert equal(*(weights(learn(name, None, nights[:1], params)) for name in ("one", "again")))


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("strategy", [PARAMS.strategy, SI(), DarkReplay()], ids=lambda s: s.name)
def test_an_interrupted_update_goes_on_and_ends_with_the_same_files(archive, learn, nights, tmp_path, strategy):
    params = PARAMS.model_copy(
        update={"strategy": strategy, "correction": BiasLayer(), "augmentation": Augmentation(translate=0.1)}
    )
    parent = learn("one", None, nights[:1], params)
    expected = digests(learn("whole", parent, nights[1:], params))
    unfinished = tmp_path / "state" / "unfinished.safetensors"

    def stop(done, total):
        if done == 3:
            raise Interrupted

    often = Checkpoint(unfinished, "aa", Compute().environment(), every=0)
    with pytest.raises(Interrupted):
        continue_learning(parent, 1, nights[1:], archive, params, "aa", Compute(), often, stop)
    assert unfinished.exists()
    steps = []
    progress = lambda done, total: steps.append(done)  # noqa: E731
    _, log = update(parent, 1, nights[1:], archive, params, "aa", tmp_path / "two", progress, unfinished)
    assert steps == [4, 5]
    assert log.steps == 5
    assert digests(tmp_path / "two") == expected
    assert list(unfinished.parent.iterdir()) == []


def test_an_update_interrupted_with_other_threads_starts_anew_and_says_so(archive, nights, tmp_path, caplog):
    unfinished = tmp_path / "unfinished.safetensors"
    then = Compute().environment() | {"threads": "64"}

    def stop(done, total):
        if done == 3:
            raise Interrupted

    often = Checkpoint(unfinished, "aa", then, every=0)
    with pytest.raises(Interrupted):
        continue_learning(None, 0, nights[:1], archive, PARAMS, "aa", Compute(), often, stop)
    steps = []
    progress = lambda done, total: steps.append(done)  # noqa: E731
    update(None, 0, nights[:1], archive, PARAMS, "aa", tmp_path / "one", progress, unfinished)
    assert steps == [1, 2, 3, 4, 5]
    assert "starts anew from its parent" in caplog.text
    assert f"(threads {torch.get_num_threads()} instead of 64)" in caplog.text
    assert not unfinished.exists()


def test_an_update_that_nothing_interrupts_leaves_no_unfinished_file(archive, nights, tmp_path):
    unfinished = tmp_path / "unfinished.safetensors"
    unfinished.write_bytes(b"of an older night")
    update(None, 0, nights[:1], archive, PARAMS, "aa", tmp_path / "one", unfinished=unfinished)
    assert not unfinished.exists()


def answered(folder, archive):
    """What a version answers to the images that it remembers, and what it has stored with them, by image."""
    bundle = ModelBundle.read(folder)
    dataset = bundle.memory.recall(archive, bundle.learner.classes, bundle.learner.spec)
    answers = bundle.learner.outputs(dataset.all_images()).numpy()
    return (
        dict(zip(bundle.memory.image.tolist(), answers, strict=True)),
        dict(zip(bundle.memory.image.tolist(), bundle.memory.outputs, strict=True)),
    )


def test_an_image_keeps_the_answer_of_the_night_that_remembered_it(learn, nights, archive):
    dark = PARAMS.model_copy(update={"strategy": DarkReplay()})
    one = learn("one", None, nights[:1], dark)
    two = learn("two", one, nights[1:], dark)
    (first, stored_first), (second, stored) = answered(one, archive), answered(two, archive)
    assert all(np.allclose(stored_first[image], answer, atol=1e-5) for image, answer in first.items())
    old = stored.keys() & first.keys()
    assert 0 < len(old) < len(stored)
    for image, outputs in stored.items():
        if image in old:
            assert outputs[:2].tolist() == stored_first[image].tolist()
            assert np.isnan(outputs[2:]).all()
            assert not np.allclose(outputs[:2], second[image][:2], atol=1e-3)
        else:
            np.testing.assert_allclose(outputs, second[image], atol=1e-5)


def test_only_images_without_an_answer_are_asked_for_one(learn, nights, monkeypatch):
    dark = PARAMS.model_copy(update={"strategy": DarkReplay()})
    one = learn("one", None, nights[:1], dark)
    asked = []
    ask = Learner.outputs
    monkeypatch.setattr(
        Learner, "outputs", lambda self, images, *more: asked.append(len(images)) or ask(self, images, *more)
    )
    new = set(ModelBundle.read(learn("two", one, nights[1:], dark)).memory.image) - set(
        ModelBundle.read(one).memory.image
    )
    assert asked == [len(new)]


def test_a_memory_that_grows_keeps_the_answers_it_had(learn, nights, archive):
    dark = PARAMS.model_copy(update={"strategy": DarkReplay(), "memory": MemoryParams(size=6)})
    one = learn("one", None, nights[:1], dark)
    larger = dark.model_copy(update={"memory": MemoryParams(size=40)})
    (_, before), (_, after) = answered(one, archive), answered(learn("two", one, nights[1:], larger), archive)
    kept = before.keys() & after.keys()
    assert kept
    assert len(after) == 40
    assert all(after[image][:2].tolist() == before[image].tolist() for image in kept)
    assert not any(np.isnan(outputs[:2]).any() for outputs in after.values())


def test_a_strategy_takes_up_what_itself_left_the_night_before_and_nothing_else(learn, nights, archive):
    penalty = PARAMS.model_copy(update={"strategy": EWC()})
    one = learn("one", None, nights[:1], penalty)
    assert {name.partition("/")[0] for name in ModelBundle.read(one).state} == {"ewc"}
    logs = {}
    for strategy in (EWC(), SI(), Finetune()):
        params = PARAMS.model_copy(update={"strategy": strategy})
        bundle, log = continue_learning(one, 1, nights[1:], archive, params, "aa", Compute())
        logs[strategy.name] = set(log.losses)
        assert {name.partition("/")[0] for name in bundle.state} <= {strategy.name}
    assert logs == {"ewc": {"task", "penalty"}, "si": {"task"}, "finetune": {"task"}}


def test_a_correction_is_the_last_touch_to_the_head(learn, nights):
    parent = learn("one", None, nights[:1])
    plain = weights(learn("plain", parent, nights[1:]))
    aligned = weights(learn("two", parent, nights[1:], PARAMS.model_copy(update={"correction": WeightAligning()})))
    lengths = aligned["head.weight"].norm(dim=1)
    torch.testing.assert_close(lengths[:2].mean(), lengths[2:].mean())
    assert torch.equal(aligned["head.weight"][:2], plain["head.weight"][:2])
    assert not torch.equal(aligned["head.weight"][2:], plain["head.weight"][2:])
    assert all(torch.equal(value, plain[name]) for name, value in aligned.items() if name != "head.weight")


def test_a_memory_shared_in_proportion_has_the_classes_as_they_occur(learn, take):
    many = take({"cross": 90, "square": 10}, 1)
    shared = PARAMS.model_copy(update={"memory": MemoryParams(size=40, share="proportional")})
    even = PARAMS.model_copy(update={"memory": MemoryParams(size=40)})
    in_proportion, evenly = (
        Counter(ModelBundle.read(learn(name, None, (many,), params)).memory.target.tolist())
        for name, params in (("proportional", shared), ("balanced", even))
    )
    assert sum(in_proportion.values()) == sum(evenly.values()) == 40
    assert in_proportion[1] < evenly[1] == 7  # all that are trained on
    assert in_proportion[0] > evenly[0] == 33


@pytest.mark.parametrize("channels", [None, 4])
@pytest.mark.parametrize("head", ["ridge", "lda"])
def test_sums_of_fixed_features_learn_night_by_night_what_they_learn_at_once(learn, nights, archive, channels, head):
    network, none = Patches(filters=8, channels=channels), MemoryParams(size=0)
    params = UpdateParams(network=network, strategy=Analytic(head=head, ridge=0.01), memory=none)
    parent = learn("one", None, nights[:1], params)
    child = learn("two", parent, nights[1:], params)
    assert digests(child) == digests(learn("again", parent, nights[1:], params))
    known = ModelBundle.read(child)
    assert len(known.memory) == 0
    assert equal(ModelBundle.read(parent).learner.network.body.state_dict(), known.learner.network.body.state_dict())
    assert int(known.state["analytic/cross"][-1].sum()) == sum(e.train for e in nights)
    # Taken for the work of another strategy, it goes through the archive and finds the same sums.
    untold = replace(ModelBundle.read(parent), state={})
    untold.write(archive.cache / "untold")
    assert equal(weights(learn("three", archive.cache / "untold", nights[1:], params)), weights(child))
    dataset = archive.dataset(nights, "test", known.learner.classes, known.learner.spec)
    answers = known.learner.outputs(dataset.all_images()).argmax(dim=1)
    assert float((answers == dataset.target).double().mean()) > 0.8
