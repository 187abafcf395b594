"""One-sided confidence bounds for shares of test images, and the evidence that one version is better than another.

Every bound takes a `level`: the probability, at most, with which the true value lies beyond it. Counts may be
fractions, so that one can ask what a bound would be with more images at the same rates. Lower bounds are upper bounds
of the mirrored question.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtri

Floats = NDArray[np.float64]

HALVINGS = 32
"""Bisection steps: a bound is exact to 2 ** -32 of the interval it is searched in."""
FIRST_SHARE, LATER_SHARE = 0.8, 0.1
"""What the first attempt and each later one may spend of an error, see `share_of_error`."""
PADDING = 2.0
"""Imaginary images at each end of the scale, see `padded`."""


def tango_upper(
    lost: ArrayLike, gained: ArrayLike, images: ArrayLike, level: float | Floats, continuity: ArrayLike = 0.5
) -> Floats:
    """Upper bound of the share lost minus the share gained, from `images` pairs of answers; arrays broadcast.

    `lost` images were right before and are wrong now, `gained` the other way round. This is the score interval of
    Tango (1998), Statistics in Medicine 17, 891-908: the difference at which the score test, its nuisance parameter
    at its maximum-likelihood value, just rejects. `continuity` is how many images the test gives away because counts
    are whole numbers: 0 is the published interval, which errs in up to 6 of 100 cases at level 0.05 if nothing is
    gained; half an image keeps the error below the level (both computed in the tests). Result within -1..1.
    """
    b, c, n, spare = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (lost, gained, images, continuity)))
    z = -ndtri(level)
    low, high = (b - c) / n, np.ones_like(n)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = n * middle - (b - c) - spare < z * _tango_error(b, c, n, middle)
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high


def tango_lower(
    lost: ArrayLike, gained: ArrayLike, images: ArrayLike, level: float | Floats, continuity: ArrayLike = 0.5
) -> Floats:
    """Lower bound of the share lost minus the share gained, see `tango_upper`."""
    return -tango_upper(gained, lost, images, level, continuity)


def _tango_error(b: Floats, c: Floats, n: Floats, difference: Floats) -> Floats:
    """Standard error of b - c at a true `difference`, the share gained fitted by maximum likelihood (Tango 1998)."""
    linear = (2 * n - b + c) * difference - b - c
    constant = -c * difference * (1 - difference)
    gained = (np.sqrt(np.maximum(linear**2 - 8 * n * constant, 0)) - linear) / (4 * n)
    error: Floats = np.sqrt(np.maximum(n * (2 * gained + difference * (1 - difference)), 0))
    return error


def share_upper(hits: ArrayLike, images: ArrayLike, level: float) -> Floats:
    """Upper bound of a share of which `hits` of `images` were seen; arrays broadcast; 0..1.

    Clopper and Pearson (1934), Biometrika 26, 404-413: exact, so the error never exceeds the level.
    """
    x, n = np.broadcast_arrays(np.asarray(hits, dtype=np.float64), np.asarray(images, dtype=np.float64))
    full = x >= n
    bound: Floats = np.where(full, 1.0, betaincinv(x + 1, np.where(full, 1.0, n - x), 1 - level))
    return bound


def share_lower(hits: ArrayLike, images: ArrayLike, level: float) -> Floats:
    """Lower bound of a share, see `share_upper`."""
    return 1 - share_upper(np.asarray(images) - np.asarray(hits), images, level)


def share_of_error(attempt: int) -> float:
    """What an attempt may spend of an error: 4/5 at the first, at which most are accepted, and 1/10 at each later one.

    A sum over all attempts that stays below the error, such as 1 / (k (k + 1)), would ask for ever more, until a
    harmless candidate is never accepted. This asks for the same however often it is tried; what it lets through is
    simulated in docs/decisions/0002-the-verdict.md.
    """
    return FIRST_SHARE if attempt == 1 else LATER_SHARE


def mover(estimates: Floats, bounds: Floats) -> float:
    """Bound [] of the mean of independent estimates [k] from their own bounds [k], all upper or all lower.

    Method of variance estimates recovery (Zou and Donner 2008, Statistics in Medicine 27, 1693-1702; Donner and Zou
    2012, Statistical Methods in Medical Research 21, 347-359): the distance of each bound from its estimate stands for
    its standard error, on the side that matters, so the bound stays skewed where the data are. For k = 1 it changes
    nothing.
    """
    distance = float(np.sqrt(np.sum((bounds - estimates) ** 2))) / len(estimates)
    upwards = float(np.sum(bounds - estimates)) >= 0
    return float(np.mean(estimates)) + (distance if upwards else -distance)


def padded(values: Floats, images: Floats, low: float) -> tuple[Floats, Floats]:
    """Values and their counts with two imaginary images added at `low` and two at 1, the ends of the scale.

    Without them a sample in which nothing was lost has no spread, and any interval from its spread has no width,
    however few images there are. Agresti and Coull (1998), The American Statistician 52, 119-126, add two successes and
    two failures to a share; Agresti and Min (2005), Statistics in Medicine 24, 729-740, do alike to paired answers. If
    none of n images changed, an upper bound at level 0.05 becomes about 3.3 / n, a little above the exact 3.0 / n.
    """
    return np.append(values, [low, 1.0]), np.append(images, [PADDING, PADDING])


def mean_and_error(values: Floats, images: Floats) -> tuple[float, float]:
    """Mean of values that occur `images` times each, and its standard error."""
    total = float(images.sum())
    mean = float(images @ values) / total
    return mean, float(np.sqrt(images @ (values - mean) ** 2)) / total


def certainly_better(candidate: Floats, reference: Floats, confidence: float, look: int = 1) -> bool:
    """Whether `candidate` [n] is better than `reference` [n], with confidence, on the same n images (scores 0..1).

    This is how the version that an experience is compared with is chosen: it stays until a later one is better by
    evidence. To take the highest of many noisy scores instead would pick the luckiest, and a harmless update would fall
    ever further short of it. `look` counts how many versions challenged this reference, this one included: the error
    allowed is spread over all of them, (1 - confidence) / (look * (look + 1)) for each, which sums to 1 - confidence
    however many nights follow. Answers of 0 and 1 are compared by `tango_lower`, others by the mean of the differences
    and its standard error, `padded`. Raises ValueError if the arrays do not match.
    """
    if candidate.shape != reference.shape or candidate.ndim != 1 or not len(candidate):
        raise ValueError(f"Both versions must have answered the same images: {candidate.shape}, {reference.shape}.")
    level = (1 - confidence) / (look * (look + 1))
    gain = candidate - reference
    if np.isin(gain, (-1, 0, 1)).all():
        better, worse = np.count_nonzero(gain > 0), np.count_nonzero(gain < 0)
        return bool(tango_lower(better, worse, len(gain), level) > 0)
    mean, error = mean_and_error(*padded(gain, np.ones(len(gain)), low=-1.0))
    return bool(mean + ndtri(level) * error > 0)
