"""Checks of drift on distributions of which the answer is known, and on none."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from records.batch import Batch, Shard
from records.experience import Experience
from tasks.validate.checks.base import FilteredBatch, ValidationInput
from tasks.validate.checks.drift import DRIFT
from tasks.validate.earlier import EarlierImages
from tasks.validate.embeddings import Embeddings, NullModel
from tasks.validate.histograms import BINS, FACTS, spread_of
from tasks.validate.settings import ValidateParams

CHECKS = {check.name: check for check in DRIFT.checks}


def images(number, seed, label="cat", first=0, **facts):
    draw = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "image": [f"{first + i:032x}" for i in range(number)],
            "path": [f"{label}/{i}.png" for i in range(number)],
            "label": label,
            "split": ["test" if i % 4 == 0 else "train" for i in range(number)],
            "phash": "0" * 16,
            "width": 40,
            "height": 40,
            "bytes": draw.integers(500, 900, number),
            "brightness": draw.normal(0.4, 0.1, number).clip(0, 1),
            "contrast": draw.normal(0.2, 0.03, number).clip(0, 0.5),
            "sharpness": draw.lognormal(6, 1, number),
            "entropy": draw.normal(6, 0.5, number).clip(0, 8),
            "learned": True,
            "refused": False,
        }
    )
    return table.assign(**facts)


NOBODY = NullModel()


def left_of(now, past=(), champion=NOBODY, **params):
    experiences = []
    for number, table in enumerate(past):
        classes = tuple(sorted(set(table["label"])))
        of = Experience(batch=f"past-{number}", digest="d", classes=classes, train=1, validation=0, test=1)
        experiences.append((of, table))
    batch = Batch(
        id="2026-01-05-3f2a9c1b", digest="d", arrived=date(2026, 1, 5), source="monday", images=len(now),
        classes=("cat",), shards=(Shard(name="s", rows=len(now), bytes=1, sha256="0"),),
    )  # fmt: skip
    arriving = ValidationInput(batch, ValidateParams(**params), ("cat", "dog"), EarlierImages.of(experiences), champion)
    return FilteredBatch(arriving, now.reset_index(drop=True))


def ask(name, left):
    check = CHECKS[name]
    measured = check.measure(left)
    return measured, measured.value <= check.most(left.arriving.params)


PAST = images(2000, 1, first=10_000)


@pytest.mark.slow
def test_equal_distributions_pass_in_at_least_99_of_100_cases():
    warned = 0
    for seed in range(60):
        left = left_of(images(150, 100 + seed), [PAST])
        warned += sum(not ask(f"drift-{fact.name}", left)[1] for fact in FACTS)
    assert warned == 0, "the limit leaves room beside chance"
    for seed in range(30):
        strict = left_of(images(150, 500 + seed), [PAST], drift_distance=0.0)
        warned += sum(not ask(f"drift-{fact.name}", strict)[1] for fact in FACTS if fact.name not in ("size", "shape"))
    assert warned <= 5, "even without a limit chance alone is told of in one case of a hundred"


DRIFTS = {
    "brightness": ({"brightness": np.linspace(0.5, 0.9, 200)}, "brighter: median 0.40 before, 0.70 now"),
    "contrast": ({"contrast": 0.05}, "flatter: median 0.20 before, 0.05 now"),
    "sharpness": ({"sharpness": 20.0}, "more blurred: median 420 before, 20.4 now"),
    "detail": ({"entropy": np.linspace(2, 4, 200)}, "plainer: median 6.0"),
    "size": ({"width": 80, "height": 80}, "larger: median "),
    "shape": ({"width": 60}, "wider: median "),
    "compression": ({"bytes": 100}, "more compressed: median "),
}


@pytest.mark.parametrize(("name", "changed"), DRIFTS.items(), ids=DRIFTS)
def test_each_fact_says_how_much_and_in_which_direction(name, changed):
    facts, note = changed
    measured, passed = ask(f"drift-{name}", left_of(images(200, 5, **facts), [PAST]))
    assert not passed
    assert measured.note.startswith(note), measured.note
    assert "with 99% confidence at least" in measured.note
    shown = measured.comparison
    assert len(shown.bins) == len(shown.before) == len(shown.now) <= 20
    assert sum(shown.before) == pytest.approx(1, abs=1e-4)
    assert sum(shown.now) == pytest.approx(1, abs=1e-4)


def test_every_fact_has_a_check():
    assert {f"drift-{fact.name}" for fact in FACTS} < set(CHECKS)
    assert set(DRIFTS) == {fact.name for fact in FACTS}


def test_distance_is_that_of_kolmogorov_and_smirnov():
    from scipy.stats import ks_2samp

    now = images(300, 6, brightness=np.random.default_rng(3).normal(0.5, 0.1, 300).clip(0, 1))
    measured, _ = ask("drift-brightness", left_of(now, [PAST]))
    exact = ks_2samp(now["brightness"], PAST["brightness"]).statistic
    reported = float(measured.note.split("distance ")[1].split(",")[0])
    assert reported == pytest.approx(exact, abs=0.03), "but for the width of a bin"
    assert reported - 1.628 * np.sqrt(1 / 300 + 1 / 2000) == pytest.approx(measured.value, abs=0.006)


def test_a_new_class_or_other_shares_are_no_drift_of_looks():
    dark, light = images(1000, 1, "cat", brightness=0.2), images(1000, 2, "dog", 5000, brightness=0.8)
    more_dogs = pd.concat([images(20, 3, "cat", brightness=0.2), images(180, 4, "dog", brightness=0.8)])
    new_class = pd.concat([images(50, 3, "cat", brightness=0.2), images(500, 4, "emu", brightness=0.99)])
    for now in (more_dogs, new_class):
        measured, passed = ask("drift-brightness", left_of(now, [dark, light]))
        assert passed
        assert measured.value == 0
    assert CHECKS["drift-brightness"].measure(left_of(images(500, 4, "emu"), [dark, light])) is None


def test_nothing_is_compared_without_a_past_or_with_too_few_images():
    for left in (left_of(images(200, 3)), left_of(images(10, 3), [PAST]), left_of(images(200, 3), [images(10, 4)])):
        assert all(CHECKS[f"drift-{fact.name}"].measure(left) is None for fact in FACTS)
        assert CHECKS["drift-classes"].measure(left) is None


def test_a_class_that_was_rare_silences_no_other():
    past = pd.concat([images(500, 1, "cat", brightness=0.2), images(1, 2, "dog", 9000, brightness=0.2)])
    now = pd.concat([images(300, 3, "cat", brightness=0.9), images(100, 4, "dog", brightness=0.9)])
    measured, passed = ask("drift-brightness", left_of(now, [past]))
    assert not passed
    assert measured.value > 0.8


def test_only_the_latest_batches_are_compared_with():
    old, latest = images(500, 1, brightness=0.9), images(500, 2, first=5000, brightness=0.2)
    now = images(100, 3, brightness=0.2)
    assert ask("drift-brightness", left_of(now, [old, latest], drift_batches=1))[1]
    assert not ask("drift-brightness", left_of(now, [old, latest]))[1]


def test_shares_of_classes():
    past = [images(600, 1, "cat"), images(400, 2, "dog", 5000)]
    now = pd.concat([images(60, 3, "cat"), images(40, 4, "dog")])
    measured, passed = ask("drift-classes", left_of(now, past))
    assert (measured.value, passed, measured.note) == (0, True, "the same shares; distance 0.00, surely 0.00")
    now = pd.concat([images(10, 3, "cat"), images(190, 4, "dog")])
    measured, passed = ask("drift-classes", left_of(now, past))
    assert not passed
    assert measured.note.startswith(
        "less cat (60% before, 5% now), more dog (40% before, 95% now); distance 0.55, surely"
    )
    assert 0.4 < measured.value < 0.55


def test_spreads_count_every_image_once_for_each_fact():
    counts = spread_of(pd.concat([images(30, 1, "cat"), images(20, 2, "dog")]))
    assert {label: of.shape for label, of in counts.items()} == dict.fromkeys(("cat", "dog"), (len(FACTS), BINS))
    assert (counts["cat"].sum(axis=1) == 30).all()
    assert (counts["dog"].sum(axis=1) == 20).all()


class Seeing:
    """Sees a class as a place, and how far it has moved in a batch."""

    classes = ("cat", "dog")

    def __init__(self, moved=0.0, wrong=0.0):
        self.moved, self.wrong = moved, wrong

    def see(self, batch, rows):
        draw = np.random.default_rng([len(batch), *rows])
        new = not batch.startswith("past")
        features = draw.normal(0, 1, (len(rows), 8)) + (self.moved if new else 0)
        label = "dog" if batch == "past-1" else "cat"
        answers = np.array([label] * len(rows))
        if new:
            answers[: int(self.wrong * len(rows))] = "dog"
        return Embeddings(features.astype(np.float32), answers)


@pytest.mark.parametrize(("moved", "passes"), [(0.0, True), (1.0, False)])
def test_features_that_moved_are_told_of(moved, passes):
    left = left_of(images(100, 3), [PAST, images(100, 4, "dog", 50_000)], Seeing(moved))
    measured, passed = ask("drift-features", left)
    assert passed == passes, measured.note
    assert "told apart with AUC" in measured.note
    assert measured.note.endswith("most in class cat")


@pytest.mark.parametrize(("wrong", "passes", "words"), [(0.0, True, "as well on"), (0.4, False, "worse on")])
def test_a_champion_that_fails_on_known_classes_is_told_of(wrong, passes, words):
    measured, passed = ask("drift-champion", left_of(images(100, 3), [PAST], Seeing(wrong=wrong)))
    assert passed == passes, measured.note
    assert f"the champion does {words} the new images" in measured.note


def test_nobody_looks_without_a_champion():
    left = left_of(images(100, 3), [PAST])
    assert CHECKS["drift-features"].measure(left) is None
    assert CHECKS["drift-champion"].measure(left) is None
