"""Checks of drift: is the new batch like what was learned before? They warn, since new data are the point.

Only classes that were learned before are checked, each compared with its own past in the proportions that it has now: a
new class, or more of a bright one, is no drift of what the pictures look like. Every difference is given with its
confidence: what could be chance in so few images is not reported.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from records.experience import Distributions
from tasks.validate.checks.base import BatchCheck, CheckGroup, FilteredBatch, Measurement
from tasks.validate.checks.drift_sample import DriftSample, drift_sample
from tasks.validate.checks.label_issues import cross_val_proba
from tasks.validate.histograms import BINS, FACTS, Counts, Fact, spread_of
from tasks.validate.settings import ValidateParams

SURE = 1.628
"""Of the two-sample Kolmogorov-Smirnov statistic, in units of sqrt(1/n + 1/m): exceeded by chance in 1% of cases
(Smirnov 1948)."""
SIGMAS = 2.326
"""One-sided 99% of a normal distribution."""
FOLDED = 1.25
"""By how much the error of an area under the curve is larger in cross-validation, where the classifiers of the folds
differ: standard deviation 0.078 against 0.065 in simulations with 40 images on either side."""
SHOWN = 20
"""Parts of a chart; bins are put together to so many."""
LEAST = 20
"""With fewer images on either side nothing is compared."""


def _fact(fact: Fact, filtered: FilteredBatch) -> Measurement | None:
    """The Kolmogorov-Smirnov distance, over bins, of the facts of known classes from their past."""
    number = FACTS.index(fact)
    # A class of which there were hardly any says nothing about the others.
    past = {label: counts for label, counts in filtered.once(_past).items() if counts[number].sum() >= LEAST}
    new = {label: counts[number] for label, counts in filtered.once(_present).items() if label in past}
    shown = sum(int(counts.sum()) for counts in new.values())
    rows = filtered.learned_by_class
    images = rows.index[rows["label"].isin(list(new))].nunique()
    if images < LEAST:
        return None
    now = np.sum(list(new.values()), axis=0) / shown
    weight = {label: counts.sum() / shown for label, counts in new.items()}
    before = np.sum([weight[label] * past[label][number] / past[label][number].sum() for label in new], axis=0)
    # How many images of the past the mixture is worth (Kish's effective sample size); one with several classes is in
    # it several times, there as here.
    worth = images / shown / sum(weight[label] ** 2 / past[label][number].sum() for label in new)
    if worth < LEAST:
        return None
    distance = float(np.abs(np.cumsum(now) - np.cumsum(before)).max())
    surely = max(0.0, distance - SURE * float(np.sqrt(1 / images + 1 / worth)))
    median_before, median_now = _median(fact, before), _median(fact, now)
    direction = fact.more if median_now > median_before else fact.less
    if median_now == median_before:
        direction = "spread otherwise"
    note = (
        f"{direction}: median {fact.shown(median_before)} before, {fact.shown(median_now)} now ({fact.unit}); "
        f"distance {distance:.2f}, with 99% confidence at least {surely:.2f}"
    )
    return Measurement(surely, note, images, comparison=_shown(fact, before, now))


def _past(filtered: FilteredBatch) -> Mapping[str, Counts]:
    return filtered.arriving.earlier.spread(filtered.arriving.params.drift_batches)


def _present(filtered: FilteredBatch) -> Mapping[str, Counts]:
    return spread_of(filtered.learned_by_class)


def _median(fact: Fact, shares: NDArray[np.float64]) -> float:
    """Where half of the images lie below, to within a bin."""
    rising = np.cumsum(shares)
    place = int(np.searchsorted(rising, 0.5 * rising[-1]))
    below = rising[place - 1] if place else 0.0
    inside = (0.5 * rising[-1] - below) / max(float(shares[place]), 1e-12)
    return fact.edge(place) + (fact.edge(place + 1) - fact.edge(place)) * float(np.clip(inside, 0, 1))


def _shown(fact: Fact, before: NDArray[np.float64], now: NDArray[np.float64]) -> Distributions:
    """The range in which there is anything, in at most `SHOWN` parts."""
    filled = np.flatnonzero(before + now)
    first, last = int(filled[0]), int(filled[-1]) + 1
    width = -(-(last - first) // SHOWN)
    starts = list(range(first, last, width))
    return Distributions(
        of=f"{fact.name}: {fact.unit}",
        bins=tuple(f"{fact.shown(fact.edge(s))} to {fact.shown(fact.edge(min(s + width, BINS)))}" for s in starts),
        before=tuple(round(float(before[s : s + width].sum()), 6) for s in starts),
        now=tuple(round(float(now[s : s + width].sum()), 6) for s in starts),
    )


def _classes(filtered: FilteredBatch) -> Measurement | None:
    """Total variation distance between the shares of the known classes, before and now."""
    past = {label: int(counts[0].sum()) for label, counts in filtered.once(_past).items()}
    counts = filtered.learned_by_class["label"].value_counts()
    known = sorted(past)
    now = np.array([int(counts.get(label, 0)) for label in known], dtype=np.float64)
    before = np.array([past[label] for label in known], dtype=np.float64)
    if now.sum() < LEAST or before.sum() < LEAST:
        return None
    now_share, before_share = now / now.sum(), before / before.sum()
    change = now_share - before_share
    distance = float(np.abs(change).sum() / 2)
    # The mean distance that chance alone makes; sqrt(2/pi) is the mean of a normal variable's size.
    error = np.sqrt(before_share * (1 - before_share) * (1 / now.sum() + 1 / before.sum()))
    chance = float(error.sum() / 2 * np.sqrt(2 / np.pi))
    surely = max(0.0, distance - chance - SIGMAS * float(np.sqrt((error**2).sum())) / 2)
    order = np.argsort(-np.abs(change), kind="stable")[:3]
    moved = ", ".join(
        f"{'more' if change[i] > 0 else 'less'} {known[i]} ({before_share[i]:.0%} before, {now_share[i]:.0%} now)"
        for i in order
        if abs(change[i]) > 0.005
    )
    shown = np.argsort(-(now_share + before_share), kind="stable")[:SHOWN]
    return Measurement(
        surely,
        f"{moved or 'the same shares'}; distance {distance:.2f}, surely {surely:.2f}",
        int(now.sum()),
        comparison=Distributions(
            of="share of the known classes",
            bins=tuple(known[i] for i in shown),
            before=tuple(round(float(before_share[i]), 6) for i in shown),
            now=tuple(round(float(now_share[i]), 6) for i in shown),
        ),
    )


def _features(filtered: FilteredBatch) -> Measurement | None:
    """How well a classifier tells new from earlier images of the same classes by the champion's features."""
    from sklearn.metrics import roc_auc_score

    met = filtered.once(drift_sample)
    if met is None or len(met.new) < 2 * LEAST:
        return None
    chance = cross_val_proba(met.features, met.new.astype(np.int64))[:, 1]
    half = len(met.new) // 2
    auc = float(roc_auc_score(met.new, chance))
    surely = max(0.5, auc - SIGMAS * FOLDED * _error_of_auc(auc, half))
    apart = {c: _mean(chance, met, c, True) - _mean(chance, met, c, False) for c in np.unique(met.label)}
    note = (
        f"new and earlier images of the same classes are told apart with AUC {auc:.2f}, surely {surely:.2f} if they "
        f"are independent of each other (0.5 is chance); most in class {max(apart, key=lambda c: apart[c])}"
    )
    return Measurement(surely, note, half)


def _mean(chance: NDArray[np.float64], met: DriftSample, label: str, new: bool) -> float:
    return float(chance[(met.label == label) & (met.new == new)].mean())


def _error_of_auc(auc: float, each: int) -> float:
    """Standard error with `each` images on either side (Hanley and McNeil 1982)."""
    one, other = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (each - 1) * (one + other - 2 * auc**2)
    return float(np.sqrt(variance) / each)


def _champion(filtered: FilteredBatch) -> Measurement | None:
    """How many more of the new images of known classes the champion answers wrongly than of earlier test images."""
    met = filtered.once(drift_sample)
    if met is None or len(met.new) < 2 * LEAST:
        return None
    each = len(met.new) // 2
    before, now = int(met.right[~met.new].sum()), int(met.right[met.new].sum())
    # Agresti and Caffo's interval (2000): one success and one failure are added to each side.
    one, other = (before + 1) / (each + 2), (now + 1) / (each + 2)
    error = float(np.sqrt((one * (1 - one) + other * (1 - other)) / (each + 2)))
    surely = max(0.0, one - other - SIGMAS * error)
    words = "worse on" if now < before else "as well on" if now == before else "better on"
    note = (
        f"the champion does {words} the new images of classes that it knows: {now / each:.0%} right, "
        f"{before / each:.0%} of as many earlier test images; with 99% confidence the loss is at least {surely:.2f}"
    )
    return Measurement(surely, note, each)


def _check(
    name: str,
    meaning: str,
    remedy: str,
    limit: str,
    most: Callable[[ValidateParams], float],
    measure: Callable[[FilteredBatch], Measurement | None],
) -> BatchCheck:
    return BatchCheck(name, "drift", "warn", meaning, remedy, (limit,), measure=measure, most=most)


LOOK = "Look whether a camera, its settings or what it sees has changed; if that is meant, nothing needs to be done."

DRIFT = CheckGroup(
    (
        *(
            _check(
                f"drift-{fact.name}",
                f"How {fact.name} ({fact.unit}) is spread over the images of known classes is as it was before: a "
                "Kolmogorov-Smirnov distance of at most {drift_distance}.",
                LOOK,
                "drift_distance",
                lambda params: params.drift_distance,
                partial(_fact, fact),
            )
            for fact in FACTS
        ),
        _check(
            "drift-classes",
            "The known classes come in the shares that they had before: a total variation distance of at most "
            "{drift_classes}.",
            "Nothing needs to be done if that is meant; rare classes are kept by the memory.",
            "drift_classes",
            lambda params: params.drift_classes,
            _classes,
        ),
        _check(
            "drift-features",
            "A classifier cannot tell new from earlier images of the same classes by the champion's features: an area "
            "under the curve of at most {drift_auc} (a classifier two-sample test: Lopez-Paz and Oquab, 2017).",
            LOOK,
            "drift_auc",
            lambda params: params.drift_auc,
            _features,
        ),
        _check(
            "drift-champion",
            "The champion answers new images of the classes that it knows about as well as earlier test images.",
            "Look at the labels first, then whether the pictures have changed.",
            "drift_champion",
            lambda params: params.drift_champion,
            _champion,
        ),
    )
)
