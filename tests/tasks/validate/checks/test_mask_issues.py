"""Masks that a champion doubts, by probabilities that are written down here."""

import numpy as np
import pytest
import torch

from tasks.validate.checks.mask_issues import issues, looked_for
from tasks.validate.mask_agreement import MaskAgreement

CLASSES = ("background", "cat", "dog")
SURE = {0: (0.8, 0.1, 0.1), 1: (0.1, 0.8, 0.1), 2: (0.1, 0.1, 0.8)}


def agreement(answers, masks, looked=(True, True, True)):
    """`answers` and `masks`: a row of pixels for each image; the champion gives 0.8 to what it answers."""
    probability = torch.tensor([[SURE[answer] for answer in row] for row in answers]).movedim(2, 1)[:, :, None]
    labelled = torch.tensor(masks, dtype=torch.uint8)[:, None]
    return MaskAgreement.of(probability, labelled, torch.tensor([looked] * len(masks)))


def test_agreement_is_the_mean_over_the_pixels_of_a_class():
    seen = agreement([[1, 1, 2, 0, 2, 1]], [[1, 1, 1, 0, 0, 255]], looked=(True, True, True))
    assert seen.area.tolist() == [[2, 3, 0]]
    # Background: a pixel answered background and one answered dog; cat: two answered cat and one dog.
    assert seen.labelled[0, :2].tolist() == pytest.approx([(0.8 + 0.1) / 2, (0.8 + 0.8 + 0.1) / 3])
    assert seen.labelled[0, 2].isnan()
    assert seen.likely[0, 1] == 1
    assert seen.missed_area.tolist() == [[1, 0, 1]]
    assert seen.missed[0, 2].item() == pytest.approx(0.8)
    assert seen.missed[0, :2].isnan().all(), "the background is never missed"
    assert agreement([[2]], [[0]], looked=(True, True, False)).missed.isnan().all(), "nobody looked for dogs"


def test_a_region_of_another_class_and_a_missing_object_are_named_worst_first():
    good = [[0, 0, 1, 1, 2, 2]]
    answers = good * 10 + [[0, 0, 2, 2, 0, 0], [1, 1, 0, 0, 2, 2], [1, 0, 0, 0, 0, 0]]
    masks = good * 10 + [[0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 2, 2], [0, 0, 0, 0, 0, 0]]
    seen = agreement(answers, masks)
    seen.missed[11, 1] = 0.95  # Surer than it is of the usual cat: (10 * .8 + .1) / 11.
    found = issues(seen, CLASSES, np.arange(100, 113))
    assert found.looked_at == 13
    assert found.right == pytest.approx(21 / 22)
    assert found.details == {
        111: "a part labelled background looks like cat (95% sure)",
        110: "a part labelled cat looks like dog (80% sure)",
        112: "a part labelled background looks like cat (80% sure)",
    }


def test_a_champion_that_is_wrong_about_most_is_not_believed():
    seen = agreement([[2, 2]] * 7 + [[1, 1]] * 13, [[1, 1]] * 20)
    assert issues(seen, CLASSES, np.arange(20)).right == 0.65
    assert issues(seen, CLASSES, np.arange(20)).details == {}
    assert issues(agreement([[1, 1]] * 9, [[1, 1]] * 9), CLASSES, np.arange(9)) is None, "too few"


def test_what_was_looked_for_is_what_the_column_says_or_all_of_the_batch():
    found = looked_for(["", "dog", "background"], ("background", "cat"), CLASSES)
    assert found.tolist() == [[True, True, False], [False, False, True], [True, False, False]]
