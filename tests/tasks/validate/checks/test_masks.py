"""Checks of masks, on shares of which the answer is known."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from records.batch import Batch, Shard
from tasks.validate.checks.base import FilteredBatch, ValidationInput
from tasks.validate.checks.masks import MASKS
from tasks.validate.earlier import EarlierImages
from tasks.validate.embeddings import NullModel
from tasks.validate.mask_shares import MaskShares
from tasks.validate.settings import ValidateParams

CHECKS = {check.name: check for check in MASKS.checks}
NAMES = ("background", "cat", "dog")


def masked(*pixels, ignored=0.0, labelled_for=""):
    """Facts of images whose masks have so many pixels of background, cat and dog."""
    rows = [list(row) for row in pixels]
    shown = ["/".join(n for n, k in zip(NAMES[1:], row[1:], strict=True) if k) or "background" for row in rows]
    return pd.DataFrame(
        {
            "label": shown,
            "labelled_for": labelled_for,
            "ignored": ignored,
            "background": [row[0] / sum(row) if sum(row) else 0.0 for row in rows],
            "class_pixels": rows,
            "readable": True,
            "learned": True,
        }
    )


def left_of(table, before=None, annotation="mask", **params):
    batch = Batch(
        id="2026-01-05-3f2a9c1b", digest="d", arrived=date(2026, 1, 5), source="monday", images=len(table),
        classes=NAMES[1:], shards=(Shard(name="s", rows=len(table), bytes=1, sha256="0"),), annotation=annotation,
        mask_classes=NAMES,
    )  # fmt: skip
    past = MaskShares() if before is None else MaskShares.of(before, NAMES)
    arriving = ValidationInput(
        batch, ValidateParams(**params), NAMES[1:], EarlierImages.of([]), NullModel(), masks_before=lambda: past
    )
    return FilteredBatch(arriving, table)


def ask(name, left):
    return CHECKS[name].measure(left)


def test_masks_that_say_nothing_are_told_apart():
    table = masked((4, 0, 0), (0, 0, 0), (3, 1, 0), (0, 4, 0), (4, 0, 0))
    table["ignored"] = [0.5, 1.0, 0.0, 0.0, 0.0]
    table["labelled_for"] = ["", "", "", "", "dog"]
    found = MASKS.columns(left_of(table).arriving, table)
    assert list(found["of_mask"]) == ["empty", "void", "", "", "empty"]
    assert list(found["absent"]) == ["no cat, dog"] * 4 + ["no dog"]
    unreadable = table.assign(readable=False)
    assert set(MASKS.columns(left_of(table).arriving, unreadable)["of_mask"]) == {""}


@pytest.mark.parametrize(
    ("kinds", "found", "note"),
    [
        (["empty", "void", "empty"], 1, "0 of 3 masks show a class; 30.0% of an average image is ignored"),
        (["empty", "", "void"], 0, "1 of 3 masks show a class"),
    ],
)
def test_masks_of_which_none_shows_a_class_are_told_with_what_is_ignored(kinds, found, note):
    """Most of all masks of 0 and 255, which a tool has written for black and white."""
    left = left_of(masked(*[(4, 0, 0)] * 3).assign(readable=True, of_mask=kinds, ignored=0.3))
    answer = ask("mask-nothing", left)
    assert (answer.value, answer.note) == (found, note)


def test_batches_without_masks_are_not_asked():
    left = left_of(masked((3, 1, 0)), annotation="")
    assert MASKS.columns(left.arriving, left.table) == {}
    assert CHECKS["mask-void"].expectation(left.arriving) is None
    assert ask("mask-nothing", left) is None
    assert ask("mask-ignored-share", left) is None
    assert ask("drift-pixels", left) is None


def test_shares_are_of_the_known_pixels_of_images_that_show_a_class():
    found = MaskShares.of(masked((3, 1, 0), (1, 1, 2), (4, 0, 0)), NAMES)
    assert {name: list(shares) for name, shares in found.of_class.items()} == {"cat": [0.25, 0.25], "dog": [0.5]}
    unusable = masked((3, 1, 0)).assign(class_pixels=[[]])
    assert len(MaskShares.of(unusable, NAMES).ignored) == 0
    both = MaskShares.together([found, MaskShares.of(masked((1, 3, 0), ignored=0.5), NAMES), MaskShares()])
    assert list(both.of_class["cat"]) == [0.25, 0.25, 0.75]
    assert list(both.ignored) == [0, 0, 0, 0.5]


def test_a_batch_that_ignores_more_than_before_is_told():
    before = masked(*[(3, 1, 0)] * 40, ignored=[0.0, 0.1] * 20)
    now = masked(*[(3, 1, 0)] * 40, ignored=[0.3, 0.5] * 20)
    measured = ask("mask-ignored-share", left_of(now, before))
    # Means .4 and .05; variances .01 * 40/39 and .0025 * 40/39; error sqrt(.0125 / 39) = .017903.
    assert measured.value == pytest.approx(0.35 - 2.326 * 0.017903, abs=1e-5)
    assert measured.note.startswith(
        "of an average image 40.0% is ignored, 5.0% before; with 99% confidence at least 30.8"
    )
    assert ask("mask-ignored-share", left_of(before, now)).value == 0
    assert ask("mask-ignored-share", left_of(now, before[:19])) is None
    assert ask("mask-ignored-share", left_of(now)) is None


def test_a_class_that_takes_more_of_its_images_than_before_is_named():
    before = masked(*[(9, 1, 0), (8, 1, 1)] * 40)
    now = masked(*[(7, 2, 1), (8, 2, 0)] * 20)
    measured = ask("drift-pixels", left_of(now, before))
    # Every cat is larger now, distance 1, 80 images against 40; two classes are asked: sqrt(-ln(.0025) / 2) = 1.7309.
    assert measured.value == pytest.approx(1 - 1.7309 * np.sqrt(1 / 80 + 1 / 40), abs=1e-4)
    assert measured.note == (
        "cat is larger: median 10.0% of the pixels of its images before, 20.0% now; distance 1.00, with 99% "
        "confidence at least 0.66"
    )
    assert measured.comparison.of == "how much of an image cat takes"
    assert dict(zip(measured.comparison.bins, measured.comparison.now, strict=True))["20% to 30%"] == 1
    assert ask("drift-pixels", left_of(before[:40], before)).value == 0
    assert ask("drift-pixels", left_of(now[:19], before)) is None
