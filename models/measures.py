"""Measures of answers, image by image: accuracy per class, macro F1, calibration, and flips between two versions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.statistics import Floats

Classes = NDArray[np.int64]

BINS = 15
"""Bins of confidence, as in Guo et al. (2017)."""


def per_class(target: Classes, right: Floats, classes: Sequence[str]) -> dict[str, float]:
    """Class to the mean of `right` [n], 0..1, over its images; classes that `target` [n] does not hold are absent."""
    images = np.bincount(target, minlength=len(classes))
    total = np.bincount(target, right, minlength=len(classes))
    return {classes[c]: float(total[c] / images[c]) for c in np.flatnonzero(images).tolist()}


def macro_f1(target: Classes, answer: Classes) -> float:
    """Mean over the classes in `target` [n] of F1 = 2 hits / (images of the class + answers that name it), 0..1.

    A class that is answered but has no image is no term of the mean; it lowers the others' by the images it takes.
    Equals scikit-learn's `f1_score(target, answer, labels=numpy.unique(target), average="macro")`.
    """
    classes = 1 + int(max(target.max(), answer.max()))
    images, answers = np.bincount(target, minlength=classes), np.bincount(answer, minlength=classes)
    hits = np.bincount(target[target == answer], minlength=classes)
    present = images > 0
    return float((2 * hits[present] / (images[present] + answers[present])).mean())


def calibration_error(confidence: Floats, right: Floats) -> float:
    """Expected calibration error: sum over bins of (images in it / n) * |mean of `right` - mean of `confidence`|, 0..1.

    Fifteen bins of equal width, (0, 1/15], (1/15, 2/15], ... of the confidence [n] in the answer. Guo, Pleiss, Sun and
    Weinberger (2017), "On Calibration of Modern Neural Networks", ICML, equation 3.
    """
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return float(np.abs(np.bincount(place, right - confidence)).sum() / len(confidence))


def negative_flips(before: Floats, after: Floats) -> float:
    """Share of n images that were answered better `before` [n] than `after` [n]; of outcomes 0 and 1: right, now wrong.

    The negative flip rate of Yan et al. (2021), "Positive-Congruent Training: Towards Regression-Free Model Updates",
    CVPR.
    """
    return float((before > after).mean())


def positive_flips(before: Floats, after: Floats) -> float:
    """Share of n images that are answered better `after` [n] than `before` [n]; see `negative_flips`."""
    return negative_flips(after, before)
