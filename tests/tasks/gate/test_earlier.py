"""The index of earlier images against what a scan of all pairs would find."""

import sqlite3

import numpy as np
import pandas as pd
import pytest

from records.experience import Experience
from tasks.gate.earlier import LOOKED_UP, EarlierImages, earlier_images
from tasks.gate.looks import bits_between, looks_within, numbers_of


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
    assert nothing.tests(["cat"], 5).empty


def test_spreads_add_up_over_the_latest_experiences():
    earlier = EarlierImages.of(PAST)
    assert {label: int(counts[0].sum()) for label, counts in earlier.spread(1).items()} == {"cat": 25, "dog": 24}
    everything = scanned(PAST)["label"].value_counts().to_dict()
    assert {label: int(counts[0].sum()) for label, counts in earlier.spread(30).items()} == everything


def test_a_sample_of_test_images_depends_on_their_content_alone():
    chosen = EarlierImages.of(PAST).tests(["dog"], 7)
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


def test_an_index_that_cannot_be_read_is_built_anew(tmp_path):
    path = tmp_path / "earlier.sqlite"
    path.write_bytes(b"no database at all" * 100)
    experience, facts = PAST[0]
    with earlier_images(path, [experience], lambda e: facts) as earlier:
        assert len(earlier.met(facts["image"])) == 58


def test_an_experience_is_indexed_whole_or_not_at_all(tmp_path):
    path = tmp_path / "earlier.sqlite"
    experience, facts = PAST[0]
    with pytest.raises(KeyError), earlier_images(path, [experience], lambda e: facts.assign(label="unknown")):
        pass
    with sqlite3.connect(path) as index:
        assert index.execute("select count(*) from experience").fetchone() == (0,)
    with earlier_images(path, [experience], lambda e: facts) as earlier:
        assert len(earlier.met(facts["image"])) == 58
