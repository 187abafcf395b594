"""The index of earlier images against what a scan of all pairs would find."""

import sqlite3

import numpy as np
import pandas as pd
import pytest

from records.experience import Experience
from tasks.validate.earlier import LOOKED_UP, EarlierImages, earlier_images, is_damaged, remove_index
from tasks.validate.near_duplicates import are_informative, bits_between, looks_within, numbers_of


def facts_of(numbers, seed=0, side=40):
    """Images with these numbers; every third is for testing. Their looks come from few families, so many are near."""
    draw = np.random.default_rng(seed)
    families = np.random.default_rng(0).integers(0, 2**63, 12, dtype=np.uint64)
    flips = draw.integers(0, 64, (len(numbers), 2)).astype(np.uint64)
    looks = families[np.array(numbers) % 12] ^ (np.uint64(1) << flips[:, 0]) ^ (np.uint64(1) << flips[:, 1])
    return pd.DataFrame(
        {
            "image": [f"{number:032x}" for number in numbers],
            "label": ["cat" if number % 2 else "dog" for number in numbers],
            "split": ["test" if number % 3 == 0 else "train" for number in numbers],
            "phash": [f"{look:016x}" for look in looks],
            "width": side,
            "height": side,
            "bytes": 900,
            "brightness": draw.random(len(numbers)),
            "contrast": 0.2,
            "sharpness": 300.0,
            "entropy": 6.0,
        }
    )


def experience_of(name, left_out=()):
    return Experience(batch=name, digest=name, classes=("cat", "dog"), train=1, validation=0, test=1, left_out=left_out)


PAST = [
    (experience_of("first", (2, 5)), facts_of(range(0, 60), 1)),
    (experience_of("second"), facts_of(range(50, 100), 2)),
    (experience_of("third", (0,)), facts_of(range(90, 140), 3, side=20)),
]
PAST_BY_NAME = [(e.batch, f) for e, f in PAST]


def scanned(past):
    """All admitted images, in order."""
    tables = [f.drop(index=list(e.left_out)).assign(batch=e.batch, place=i) for i, (e, f) in enumerate(past)]
    return pd.concat([t.assign(row=t.index) for t in tables])


def test_an_image_is_found_where_it_was_admitted_and_where_it_was_tested_first():
    asked = facts_of(range(40, 160))
    found = EarlierImages.of(PAST).met(asked["image"])
    everything = scanned(PAST)
    for row, image in asked["image"].items():
        places = everything[everything["image"] == image]
        assert (row in found.index) == bool(len(places))
        if len(places):
            best = places.assign(test=places["split"] == "test").sort_values(["test", "place"], ascending=[False, True])
            assert found.loc[row].to_dict() == best.iloc[0][["batch", "row", "label", "test"]].to_dict()


@pytest.mark.parametrize("distance", [0, 1, 2, 3])
def test_looks_are_found_as_by_comparing_every_pair(distance):
    asked = facts_of(range(200, 320), 9)
    found = EarlierImages.of(PAST).like(asked["phash"], distance, side=32)
    everything = scanned(PAST)
    everything = everything[everything["width"] >= 32].assign(test=lambda t: t["split"] == "test")
    its = numbers_of(everything["phash"])
    for row, look in zip(asked.index, numbers_of(asked["phash"]), strict=True):
        bits = bits_between(np.full(len(its), look), its)
        near = everything.assign(bits=bits)[bits <= distance]
        assert (row in found.index) == bool(len(near))
        if len(near):
            best = near.sort_values(["test", "bits", "place", "row"], ascending=[False, True, True, True]).iloc[0]
            assert found.loc[row].to_dict() == best[["batch", "row", "label", "test"]].to_dict()


@pytest.mark.parametrize("distance", [0, 2, 3])
def test_pairs_of_looks_within_a_batch(distance):
    looks = facts_of(range(150), 4)["phash"]
    numbers = numbers_of(looks)
    expected = {
        (one, other)
        for one, first in zip(looks, numbers, strict=True)
        for other, second in zip(looks, numbers, strict=True)
        if int(first ^ second).bit_count() <= distance
    }
    found = looks_within(looks, distance)
    assert set(zip(found["look"], found["other_look"], strict=True)) == expected
    assert not found.duplicated().any()


def test_nothing_earlier():
    nothing = EarlierImages.of([])
    asked = facts_of(range(5))
    assert nothing.met(asked["image"]).empty
    assert nothing.like(asked["phash"], 3, 32).empty
    assert nothing.spread(30) == {}
    assert nothing.tests(["cat"], 5, 30).empty


def test_spreads_add_up_over_the_latest_experiences():
    earlier = EarlierImages.of(PAST)
    assert {label: int(counts[0].sum()) for label, counts in earlier.spread(1).items()} == {"cat": 25, "dog": 24}
    everything = scanned(PAST)["label"].value_counts().to_dict()
    assert {label: int(counts[0].sum()) for label, counts in earlier.spread(30).items()} == everything


def test_a_sample_of_test_images_depends_on_their_content_alone():
    chosen = EarlierImages.of(PAST).tests(["dog"], 7, 30)
    everything = scanned(PAST)
    tests = everything[(everything["split"] == "test") & (everything["label"] == "dog")].sort_values("image")
    assert list(zip(chosen["batch"], chosen["row"], strict=True)) == list(
        zip(tests["batch"][:7], tests["row"][:7], strict=True)
    )


def test_the_index_reads_a_batch_once_and_counts_only_the_lineage(tmp_path):
    facts, read = {e.batch: f for e, f in PAST}, []

    def reading(experience):
        read.append(experience.batch)
        return facts[experience.batch][list(LOOKED_UP)]

    lineage = [e for e, _ in PAST]
    with earlier_images(tmp_path / "state" / "earlier.sqlite", lineage, reading) as earlier:
        assert len(earlier.met(PAST[2][1]["image"])) == 50
    with earlier_images(tmp_path / "state" / "earlier.sqlite", lineage[:1], reading) as earlier:
        assert earlier.met(PAST[2][1]["image"]).empty, "rolled back"
    assert read == ["first", "second", "third"]
    other = experience_of("first", left_out=(7,))
    with earlier_images(tmp_path / "state" / "earlier.sqlite", [other], reading) as earlier:
        assert 7 not in earlier.met(PAST[0][1]["image"]).index
        assert 2 in earlier.met(PAST[0][1]["image"]).index
    assert read == ["first", "second", "third", "first"]


def _look_everything_up(path):
    with earlier_images(path, [e for e, _ in PAST], lambda e: dict(PAST_BY_NAME)[e.batch]) as earlier:
        earlier.met(PAST[0][1]["image"])
        earlier.like(PAST[0][1]["phash"], 2, 32)


def test_a_damaged_index_is_known_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "earlier.sqlite"
    with earlier_images(path, [e for e, _ in PAST], lambda e: dict(PAST_BY_NAME)[e.batch]) as earlier:
        assert len(earlier.met(PAST[0][1]["image"])) == 58
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = bytes(len(content) - 4096 * 2)
    path.write_bytes(content)
    (tmp_path / "earlier.sqlite-wal").write_bytes(b"of another one")
    with pytest.raises(sqlite3.DatabaseError) as caught:
        _look_everything_up(path)
    assert is_damaged(caught.value)
    remove_index(path)
    assert list(tmp_path.iterdir()) == []


def test_a_busy_index_is_waited_for_and_never_taken_for_a_damaged_one(tmp_path):
    path = tmp_path / "earlier.sqlite"
    with earlier_images(path, [], lambda e: PAST[0][1]):
        pass
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    held = sqlite3.connect(path, timeout=0, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError) as caught:
        held.execute("begin immediate")
    assert not is_damaged(caught.value)
    other.execute("rollback")
    with earlier_images(path, [PAST[0][0]], lambda e: PAST[0][1]) as earlier:
        assert len(earlier.met(PAST[0][1]["image"])) == 58
    other.close()
    held.close()


def test_batches_of_the_same_night_are_known_but_are_no_past(tmp_path):
    path = tmp_path / "earlier.sqlite"
    with earlier_images(path, [PAST[0][0]], lambda e: PAST[0][1]) as earlier:
        earlier.add(*PAST[1])
        assert len(earlier.met(PAST[1][1]["image"])) == 50
        assert sum(int(counts[0].sum()) for counts in earlier.spread(30).values()) == 58
        assert set(earlier.tests(["cat", "dog"], 500, 30)["batch"]) == {"first"}


def test_hashes_of_few_waves_say_nothing():
    assert are_informative(["0" * 16, "f" * 16, "0" * 12 + "0fff", "0" * 12 + "07ff", "12a5f00fc3a55a34"]).tolist() == [
        False, False, True, False, True,
    ]  # fmt: skip


@pytest.mark.unhurried
def test_a_crowd_of_one_scene_costs_no_more_than_its_bound():
    """Twenty thousand frames that share three of four bands: comparing all pairs would take gigabytes."""
    draw = np.random.default_rng(0)
    frames = np.uint64(0x5A5A5A5A5A5A0000) + draw.integers(0, 2**16, 20_000).astype(np.uint64)
    looks = pd.Series([f"{frame:016x}" for frame in frames])
    pairs = looks_within(looks, 2)
    assert len(pairs) > looks.nunique()
    assert (bits_between(numbers_of(pairs["look"]), numbers_of(pairs["other_look"])) <= 2).all()


def test_an_experience_is_indexed_whole_or_not_at_all(tmp_path):
    path = tmp_path / "earlier.sqlite"
    experience, facts = PAST[0]
    with pytest.raises(KeyError), earlier_images(path, [experience], lambda e: facts.assign(label="unknown")):
        pass
    with sqlite3.connect(path) as index:
        assert index.execute("select count(*) from experience").fetchone() == (0,)
    with earlier_images(path, [experience], lambda e: facts) as earlier:
        assert len(earlier.met(facts["image"])) == 58


def test_an_image_with_several_classes_is_found_by_its_label_and_counted_in_each_class():
    facts = facts_of([1, 2, 3]).assign(label=["cat/dog", "cat", "background"])
    experience = Experience(batch="b", digest="d", classes=("cat", "dog"), train=1, validation=0, test=1)
    earlier = EarlierImages.of([(experience, facts)])
    assert list(earlier.met(facts["image"])["label"]) == ["cat/dog", "cat", "background"]
    assert {label: int(counts[0].sum()) for label, counts in earlier.spread(9).items()} == {"cat": 2, "dog": 1}
