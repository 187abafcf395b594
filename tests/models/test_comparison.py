"""Whether one version is better than another by tallies of the same images."""

import numpy as np
import pytest

from benchmarks.verdict_tallies import Scene, mean_iou, night, spread
from models.comparison import certainly_higher

LOST = night(np.random.default_rng(0), Scene(images=300), spread, 0.15).sample
WORSE, BETTER = LOST.after, LOST.before


def test_a_better_version_is_seen_and_a_worse_one_is_not():
    assert certainly_higher(mean_iou, BETTER, WORSE, 0.95)
    assert not certainly_higher(mean_iou, WORSE, BETTER, 0.95)
    assert not certainly_higher(mean_iou, BETTER, BETTER, 0.95)


def test_many_looks_need_more_evidence():
    found = [certainly_higher(mean_iou, BETTER[:n], WORSE[:n], 0.95, look) for n in (10, 300) for look in (1, 100)]
    assert found == [False, False, True, True]
    looks = [certainly_higher(mean_iou, BETTER[:45], WORSE[:45], 0.95, look) for look in (1, 10, 1000)]
    assert looks == sorted(looks, reverse=True)


def test_a_few_images_that_were_all_gained_prove_nothing():
    assert not certainly_higher(mean_iou, BETTER[:3], WORSE[:3] * np.tile([0, 1, 1], 4), 0.95)


def test_a_version_that_knows_fewer_classes_has_a_shorter_tally():
    short = np.tile([5.0, 10, 10], (100, 1))
    long = np.tile([9.0, 10, 10, 0, 1, 0], (100, 1))
    assert certainly_higher(mean_iou, long, short, 0.95)
    assert not certainly_higher(mean_iou, short, long, 0.95)


def test_different_images_cannot_be_compared():
    with pytest.raises(ValueError, match="the same images: 3, 4"):
        certainly_higher(mean_iou, BETTER[:3], WORSE[:4], 0.95)
    with pytest.raises(ValueError, match="the same images: 0, 0"):
        certainly_higher(mean_iou, BETTER[:0], WORSE[:0], 0.95)
