"""Checks of masks: do they say something, and do they say what they said before?

Asked only of batches whose images come with masks; a mask that cannot be read at all is a matter of `files.py`.
"""

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adapters.expectations import Expectation, NoneOf
from records.batch import BACKGROUND
from records.experience import Distributions
from records.formatting import listed
from tasks.validate.checks.base import (
    BatchCheck,
    CheckGroup,
    Columns,
    FilteredBatch,
    ImageCheck,
    Measurement,
    ValidationInput,
)
from tasks.validate.checks.drift import LEAST, LOOK, SIGMAS
from tasks.validate.checks.label_issues import LEAST_RIGHT
from tasks.validate.checks.mask_issues import mask_issues
from tasks.validate.mask_shares import MaskShares

SHOWN = 5
"""Names in a sentence."""
EDGES = (0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1)
"""Between the parts of a chart of shares."""


def columns(arriving: ValidationInput, table: pd.DataFrame) -> Columns:
    """`of_mask`: `void` if nobody knows any of its pixels, `empty` if all those known are background, else nothing;
    `absent`: the classes that were looked for, in words."""
    if not arriving.batch.annotation:
        return {}
    void, empty = table["ignored"] >= 1, table["background"] >= 1
    kind = np.select([~table["readable"], void, empty], ["", "void", "empty"], "")
    every = "/".join(name for name in arriving.batch.mask_classes if name != BACKGROUND)
    words = {text: f"no {listed((text or every).split('/'), SHOWN)}" for text in table["labelled_for"].unique()}
    words[BACKGROUND] = "nothing was looked for"
    return {"of_mask": pd.Series(kind, index=table.index), "absent": table["labelled_for"].map(words)}


def _none(kind: str, arriving: ValidationInput) -> Expectation | None:
    return NoneOf(column="of_mask", values=(kind,)) if arriving.batch.annotation else None


def _nothing(filtered: FilteredBatch) -> Measurement | None:
    """1 if no mask shows any class but the background."""
    if not filtered.arriving.batch.annotation:
        return None
    table = filtered.table[filtered.table["readable"]]
    shows = int((table["of_mask"] == "").sum())
    note = f"{shows} of {len(table)} masks show a class"
    if not shows and (unknown := float(table["ignored"].mean())) > 0:
        note += f"; {unknown:.1%} of an average image is ignored"
    return Measurement(float(len(table) > 0 and not shows), note, 0 if shows else len(table))


def _ignored(filtered: FilteredBatch) -> Measurement | None:
    """By how much more of an image nobody knows what it is than before, on average: a one-sided bound of 99%."""
    if not filtered.arriving.batch.annotation:
        return None
    before, now = filtered.arriving.masks_before().ignored, filtered.once(_present).ignored
    if len(before) < LEAST or len(now) < LEAST:
        return None
    error = float(np.sqrt(now.var(ddof=1) / len(now) + before.var(ddof=1) / len(before)))
    surely = max(0.0, float(now.mean() - before.mean()) - SIGMAS * error)
    note = (
        f"of an average image {now.mean():.1%} is ignored, {before.mean():.1%} before; with 99% confidence at least "
        f"{100 * surely:.1f} points more"
    )
    return Measurement(surely, note, len(now))


def _pixels(filtered: FilteredBatch) -> Measurement | None:
    """The largest Kolmogorov-Smirnov distance, over known classes, of how much of an image a class takes."""
    if not filtered.arriving.batch.annotation:
        return None
    before, now = filtered.arriving.masks_before().of_class, filtered.once(_present).of_class
    both = [name for name in sorted(now) if name in before and min(len(now[name]), len(before[name])) >= LEAST]
    if not both:
        return None
    distance = {name: _distance(before[name], now[name]) for name in both}
    surely = {name: max(0.0, distance[name] - _chance(before[name], now[name], len(both))) for name in both}
    worst = max(both, key=lambda name: (surely[name], distance[name]))
    median_before, median_now = float(np.median(before[worst])), float(np.median(now[worst]))
    direction = "larger" if median_now > median_before else "smaller" if median_now < median_before else "spread anew"
    note = (
        f"{worst} is {direction}: median {median_before:.1%} of the pixels of its images before, {median_now:.1%} now; "
        f"distance {distance[worst]:.2f}, with 99% confidence at least {surely[worst]:.2f}"
    )
    return Measurement(surely[worst], note, len(now[worst]), comparison=_shown(worst, before[worst], now[worst]))


def _issues(filtered: FilteredBatch) -> Measurement | None:
    found = mask_issues(filtered)
    if found is None or found.right < LEAST_RIGHT:
        return None
    note = (
        f"{len(found.details)} of {found.looked_at:,} masks looked at; the champion is right about {found.right:.0%} "
        "of the objects in them"
    )
    return Measurement(float(len(found.details)), note, len(found.details), found.details)


def _present(filtered: FilteredBatch) -> MaskShares:
    return MaskShares.of(filtered.learned, filtered.arriving.batch.mask_classes)


def _distance(before: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    places = np.concatenate([before, now])
    below = [np.searchsorted(np.sort(side), places, side="right") / len(side) for side in (before, now)]
    return float(np.abs(below[0] - below[1]).max())


def _chance(before: NDArray[np.float64], now: NDArray[np.float64], asked: int) -> float:
    """The distance that chance alone exceeds in 1% of cases, for any of the classes `asked` (Smirnov 1948,
    Bonferroni)."""
    return float(np.sqrt(-0.5 * np.log(0.005 / asked) * (1 / len(before) + 1 / len(now))))


def _shown(name: str, before: NDArray[np.float64], now: NDArray[np.float64]) -> Distributions:
    counts = [np.histogram(side, EDGES)[0] / len(side) for side in (before, now)]
    return Distributions(
        of=f"how much of an image {name} takes",
        bins=tuple(f"{low:.3g}% to {high:.3g}%" for low, high in pairwise(100 * edge for edge in EDGES)),
        before=tuple(round(float(share), 6) for share in counts[0]),
        now=tuple(round(float(share), 6) for share in counts[1]),
    )


MASKS = CheckGroup(
    (
        ImageCheck(
            "mask-void",
            "masks",
            "refuse image",
            "Of at least one pixel it must be known what it shows: of a mask that is all ignored nothing is learned.",
            "Annotate the image, or leave it out; if 255 is a class of yours, give it another index.",
            words="of which nobody knows what they show",
            expectation=lambda arriving: _none("void", arriving),
            detail="all of it is ignored",
        ),
        ImageCheck(
            "mask-empty",
            "masks",
            "warn",
            "A mask that is all background says that none of the classes looked for is there: that is worth something "
            "if somebody has looked, and wrong if the annotation was never begun.",
            "Look whether the images show nothing; send masks of those that do, or leave them out.",
            words="all background",
            expectation=lambda arriving: _none("empty", arriving),
            detail="{absent}",
        ),
        BatchCheck(
            "mask-nothing",
            "masks",
            "refuse batch",
            "Some mask must show a class beside the background: if none does, the objects have been given a value that "
            "means something else, or nobody has drawn them yet.",
            "Give the objects the index that classes.txt names; 255 means unknown, so masks of 0 and 255 show nothing. "
            "If there is nothing to be seen in these images, release the batch with `--accept mask-nothing`.",
            measure=_nothing,
            most=lambda params: 0,
        ),
        BatchCheck(
            "mask-issues",
            "masks",
            "warn",
            "The champion is sure that a part of an image is of another class that it knows than its mask says, or "
            "that an object is missing in it (confident learning, Northcutt et al. 2021, over regions).",
            "Look at the masks; correct those that are wrong and deliver their images again.",
            ("label_images",),
            measure=_issues,
            most=lambda params: 0,
        ),
        BatchCheck(
            "mask-ignored-share",
            "masks",
            "warn",
            "Of an average image, the share of ignored pixels is at most {mask_ignored_share} above that of the "
            "batches learned last.",
            "Look whether a value of the masks has lost its name; what is ignored is neither learned nor tested.",
            ("mask_ignored_share", "drift_batches"),
            measure=_ignored,
            most=lambda params: params.mask_ignored_share,
        ),
        BatchCheck(
            "drift-pixels",
            "drift",
            "warn",
            "How much of an image each known class takes, where it is shown, is as it was before: a Kolmogorov-Smirnov "
            "distance of at most {drift_distance}.",
            LOOK,
            ("drift_distance", "drift_batches"),
            measure=_pixels,
            most=lambda params: params.drift_distance,
        ),
    ),
    columns,
)
