"""A guard for every class: of what it had right in the past, something must be left.

The other questions are asked of experiences. A class of which each of them holds a few images can be lost altogether
within every limit; so its images of all past experiences answer once more, together. Asked is what is right now, with
all classes competing, against what the best versions so far had right: forgotten or taken, it is gone.

Where images show classes that nobody looked for, a class answers a second time, by itself: of tonight's images in which
the champion is sure to see it, something must be left as well.

An image may count for several classes, and how right it is for each may be any share: only sums are used here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.statistics import Floats, share_lower, share_upper
from records.verdict import ClassFinding

ALL_GONE = 5
"""Images that must have been right for it to say something that not one of them is any more. A harmless update that
loses one in ten does so to one class in 100,000."""

Decided = Literal["accept", "refuse", "inconclusive", "too few"]


@dataclass(frozen=True)
class ClassTally:
    """A class: its test images, how many of them were right, and how many are now."""

    label: str
    images: int
    right: float
    kept: float
    unlabelled: bool = False
    """Of tonight's images in which nobody looked for it, and the champion is sure to see it."""


def tallies(parts: Iterable[tuple[NDArray[np.str_], Floats, Floats]], unlabelled: bool = False) -> list[ClassTally]:
    """The tally of each class that had anything right, by name. A part is the class of each of n images (or of each of
    n pairs of an image and a class), how right that was, and how right it is now, 0..1."""
    columns = list(zip(*parts, strict=True))
    if not columns:
        return []
    labels, right, kept = (np.concatenate(column) for column in columns)
    names, where = np.unique(labels.astype(str), return_inverse=True)
    sums = [np.bincount(where, weights) for weights in (np.ones(len(where)), right, kept)]
    counted = zip(names, *sums, strict=True)
    return [ClassTally(str(name), int(n), r, k, unlabelled) for name, n, r, k in counted if r > 0]


def class_findings(
    classes: Sequence[ClassTally], limit: float, least: int, accepting: float, refusing: float
) -> list[ClassFinding]:
    """What is known of each class's loss, those that lost most first.

    The loss is the share of what was right that is not right any more; what became right instead counts for the class,
    and how much was right is taken as known: a class is bounded by the exact interval for the share of its images that
    are right now. `accepting` is the error of each upper bound, `refusing` that of all lower bounds together, shared by
    the classes of `least` right answers or more: a smaller one is never refused.
    """
    if not classes:
        return []
    images, right, kept = (np.array([getattr(c, name) for c in classes]) for name in ("images", "right", "kept"))
    judged = max(int((right >= least).sum()), 1)
    uppers = 1 - share_lower(kept, images, accepting) * images / right
    lowers = 1 - share_upper(kept, images, refusing / judged) * images / right
    findings = [
        ClassFinding(
            label=c.label, images=c.images, right=c.right, kept=c.kept, lower=low, upper=high, limit=limit,
            decision=_decide(c, low, high, limit, least), unlabelled=c.unlabelled,
        )
        for c, low, high in zip(classes, lowers.tolist(), uppers.tolist(), strict=True)
    ]  # fmt: skip
    return sorted(findings, key=lambda f: -f.estimate)


def _decide(tally: ClassTally, lower: float, upper: float, limit: float, least: int) -> Decided:
    if tally.right < least:
        gone = tally.kept == 0 and tally.right >= ALL_GONE
        return "inconclusive" if gone else "accept" if upper < limit else "too few"
    if lower > limit:
        return "refuse"
    return "accept" if upper < limit else "inconclusive"
