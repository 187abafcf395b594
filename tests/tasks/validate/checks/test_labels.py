"""Labels: slips, classes with too little, and labels that a classifier doubts."""

from collections import Counter
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from records.batch import Batch, Shard
from tasks.validate.checks.base import FilteredBatch, ValidationInput
from tasks.validate.checks.label_issues import cross_val_proba
from tasks.validate.checks.labels import LABELS, edit_distance, plain_name, slips
from tasks.validate.earlier import EarlierImages
from tasks.validate.embeddings import Embeddings, NullModel
from tasks.validate.settings import ValidateParams

CHECKS = {check.name: check for check in LABELS.checks}
BLIND = NullModel()


def left_of(labels, champion=BLIND, splits=None, **params):
    table = pd.DataFrame(
        {
            "image": [f"{i:032x}" for i in range(len(labels))],
            "path": [f"{i}.png" for i in range(len(labels))],
            "label": labels,
            "split": splits or ["test" if i % 4 == 0 else "train" for i in range(len(labels))],
            "learned": True,
            "refused": False,
        }
    )
    batch = Batch(
        id="2026-01-05-3f2a9c1b", digest="d", arrived=date(2026, 1, 5), source="monday", images=len(labels),
        classes=tuple(sorted(set(labels))), shards=(Shard(name="s", rows=len(labels), bytes=1, sha256="0"),),
    )  # fmt: skip
    return FilteredBatch(ValidationInput(batch, ValidateParams(**params), (), EarlierImages.of([]), champion), table)


SLIPS = {
    # new label, what is known, respelled from, nearly
    "T-shirt": (("t-shirt",), "t-shirt", None),
    "t shirt": (("t-shirt",), "t-shirt", None),
    "ＡＮＫＬＥ boot": (("ankle_boot",), "ankle_boot", None),
    "cafe\u0301": (("caf\u00e9",), "caf\u00e9", None),
    "Straße": (("STRASSE",), "STRASSE", None),
    "pulover": (("pullover",), None, "pullover"),
    "sneakre": (("sneaker",), None, "sneaker"),
    "ankle boots": (("ankle boot",), None, "ankle boot"),
    "cat": (("car", "bat"), None, None),
    "4": (("9", "41"), None, None),
    "part 12": (("part 11",), None, None),
    "bus": (("train",), None, None),
    "?": (("!",), None, None),
    "15 mm": (("1.5 mm",), None, None),
    "-1": (("1",), None, None),
    "12": (("1-2",), None, None),
    "a": (("A",), None, None),
    "sample 17 of plate": (("sample 71 of plate",), None, None),
}


@pytest.mark.parametrize(("label", "case"), SLIPS.items(), ids=[ascii(label) for label in SLIPS])
def test_slips_are_told_from_classes(label, case):
    known, respelled, similar = case
    found = slips(Counter({label: 5}), known)
    assert found[0] == ({label: f"labelled {label}, but there is a class {respelled}"} if respelled else {})
    assert found[1] == ({label: f"labelled {label}, which is nearly {similar}"} if similar else {})


def test_of_two_new_spellings_the_one_with_more_images_stands():
    assert set(slips(Counter({"Dog": 3, "dog": 40, "dog ": 1}), ())[0]) == {"Dog", "dog "}
    assert slips(Counter({"dog": 1, "cat": 1}), ("dog", "Dog")) == ({}, {}), (
        "what is known stays, whatever it is called"
    )


@given(st.text(max_size=8), st.text(max_size=8))
def test_edit_distance_is_symmetric_and_zero_for_equal_names_only(one, other):
    distance = edit_distance(one, other, 20)
    assert distance == edit_distance(other, one, 20)
    assert (distance == 0) == (one == other)
    assert abs(len(one) - len(other)) <= distance <= max(len(one), len(other))
    assert edit_distance(one, other, 2) == min(distance, 3)


@given(st.text(max_size=20))
def test_a_plain_name_is_its_own_plain_name(label):
    assert plain_name(plain_name(label)) == plain_name(label)


def test_classes_with_few_images():
    left = left_of(["cat"] * 20 + ["dog"] * 3 + ["emu"])
    train, test = (CHECKS[f"least-{split}-per-class"].measure(left) for split in ("train", "test"))
    assert (train.value, train.note) == (2, "fewer than 5 train images: dog (2), emu (1)")
    assert (test.value, test.note) == (2, "fewer than 5 test images: dog (1), emu (0)")
    assert train.details == {
        20: "2 of the 5 training images wanted for dog", 23: "1 of the 5 training images wanted for emu",
    }  # fmt: skip


def test_classes_that_should_be_there():
    assert CHECKS["class-missing"].measure(left_of(["cat"])) is None
    missing = CHECKS["class-missing"].measure(left_of(["cat"], required_classes=("cat", "owl", "emu")))
    assert (missing.value, missing.note) == (2, "missing: emu, owl")


def test_imbalance_counts_training_images():
    left = left_of(["cat"] * 40 + ["dog"] * 4, splits=["train"] * 40 + ["test"] * 2 + ["train"] * 2)
    found = CHECKS["imbalance"].measure(left)
    assert (found.value, found.note) == (20, "cat has 40 training images, dog 2: 20 to 1")
    assert CHECKS["imbalance"].measure(left_of(["cat"] * 40)) is None


class Eyes:
    """Sees what an image is of: a place in a plane for each of three classes, whatever its label says."""

    classes = ()

    def __init__(self, truth, apart=6.0):
        self.truth, self.apart = np.array(truth), apart

    def see(self, batch, rows):
        places = np.array([[0, 0], [self.apart, 0], [0, self.apart]])[self.truth[rows]]
        return Embeddings((places + np.random.default_rng(0).normal(0, 1, places.shape)).astype(np.float32))


def test_wrong_labels_are_found_and_right_ones_are_not():
    truth = [i % 3 for i in range(300)]
    labels = [("cat", "dog", "emu")[kind] for kind in truth]
    wrong = {7: "emu", 100: "cat", 200: "cat", 250: "emu"}
    for row, label in wrong.items():
        assert labels[row] != label
        labels[row] = label
    left = left_of(labels, Eyes(truth))
    found = CHECKS["label-issue"].measure(left)
    assert set(found.details) == set(wrong)
    assert found.details[7].startswith("labelled emu, looks like dog (")
    assert found.note == "4 of 300 labels looked at; cross-validated accuracy: 98%"
    share = CHECKS["label-issue-share"].measure(left)
    assert (share.value, share.note) == (pytest.approx(4 / 300), "1.3% of 300 labels")


def test_a_classifier_that_knows_nothing_doubts_nobody():
    labels = [("cat", "dog", "emu")[i % 3] for i in range(300)]
    assert CHECKS["label-issue"].measure(left_of(labels, Eyes([0] * 300))) is None, "foretells a third of the labels"
    assert CHECKS["label-issue"].measure(left_of(labels)) is None, "nobody looks"
    truth = [i % 3 for i in range(300)]
    assert CHECKS["label-issue"].measure(left_of(labels, Eyes(truth), label_images=0)) is None, "nobody is asked to"
    assert CHECKS["label-issue"].measure(left_of(["cat"] * 300, Eyes(truth))) is None, "one class"
    assert CHECKS["label-issue"].measure(left_of(labels[:20], Eyes(truth))) is None, "too few of each"


def test_labels_that_are_mixed_up_as_a_whole_are_told_of_as_a_whole():
    truth = [i % 3 for i in range(300)]
    labels = np.random.default_rng(0).permutation([("cat", "dog", "emu")[kind] for kind in truth]).tolist()
    left = left_of(labels, Eyes(truth))
    assert CHECKS["label-issue"].measure(left) is None
    share = CHECKS["label-issue-share"].measure(left)
    assert share.value > 0.5
    assert share.note.endswith("of 300 labels: they may be mixed up, or the pictures are beyond it")


def test_features_that_are_no_numbers_judge_nobody():
    truth = [i % 3 for i in range(300)]
    labels = [("cat", "dog", "emu")[kind] for kind in truth]
    assert CHECKS["label-issue-share"].measure(left_of(labels, Eyes(truth, apart=float("nan")))) is None


def test_a_class_without_training_images_is_out_of_balance():
    left = left_of(["cat"] * 30 + ["dog"] * 10, splits=["train"] * 30 + ["test"] * 10)
    found = CHECKS["imbalance"].measure(left)
    assert (found.value, found.note) == (60, "cat has 30 training images, dog 0: 60 to 1")


def test_thousands_of_labels_are_compared_in_no_time():
    counts = Counter({f"sample {number} of plate": 1 for number in range(20_000)})
    assert slips(counts, ("Sample 7 of plate",))[0] == {
        "sample 7 of plate": "labelled sample 7 of plate, but there is a class Sample 7 of plate"
    }


def test_only_so_many_labels_are_looked_at_as_wanted():
    truth = [i % 3 for i in range(300)]
    labels = [("cat", "dog", "emu")[kind] for kind in truth]
    found = CHECKS["label-issue-share"].measure(left_of(labels, Eyes(truth), label_images=90))
    assert found.note.endswith("of 90 labels")


def test_nobody_is_judged_by_a_classifier_that_was_trained_on_him():
    """Labels drawn by lot can be foretold by heart alone."""
    draw = np.random.default_rng(0)
    chances = cross_val_proba(draw.normal(0, 1, (200, 300)).astype(np.float32), draw.integers(0, 2, 200))
    assert chances.shape == (200, 2)
    right = (chances.argmax(axis=1) == np.random.default_rng(0).integers(0, 2, 200)).mean()
    assert right < 0.65
