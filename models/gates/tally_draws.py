"""Bootstrap of a score of tallies: images drawn again with replacement, the tallies before and after together.

The score of each redrawn sum is taken, and its standard error from the influence of the images drawn (infinitesimal
jackknife), so that deviations are studentised as those of a mean are.

What was not seen to be lost has no spread. So imaginary images are added, as in `models.statistics.padded`, that gained
and lost as much as `at_stake` says. It is more than the whole score where a few images hold much of it: of a class that
two images show, nothing is known from the other ones.
"""

import hashlib

import numpy as np
from numpy.typing import ArrayLike

from models.gates.resamples import Resamples
from models.gates.tally_losses import Sample, Score, TallyLosses, slopes
from models.statistics import PADDING, Floats

UNITS = 500
"""More images are drawn in so many bundles, each the sum of a few: the spread of a sum is that of its images."""
CELLS = 2_000_000
"""Images that are drawn at once, over all resamples: bounds the memory."""
REST = 1e-6
"""Share of all images that every redrawn sum holds: a class of which no image was drawn scores as it does in all."""
PADS = np.array([PADDING, PADDING])
"""Imaginary images that gained, and that lost."""
UNSEEN = 0.05
"""A loss is at stake if it would not be seen at all with this probability."""


def redrawn(losses: TallyLosses, resamples: int, seed: int) -> Resamples:
    """The padded loss, and what it becomes when the images are drawn again.

    With more images at the same rates the draws are those of the images that there are, with smaller deviations.
    """
    centre, error = padded_error(losses)
    drawn, variances = drawn_again(losses.sample, resamples, seed)
    means = losses.mean + (drawn - losses.mean) / np.sqrt(losses.times)
    ends, total = _ends(losses), losses.total + PADS.sum()
    generator = np.random.default_rng([seed, round(total)])
    shares = np.array([losses.total, *PADS]) / total
    counts = generator.multinomial(round(total), shares, size=resamples).astype(np.float64)
    means, errors = padded_by(means, variances, counts[:, 0], ends, counts[:, 1:])
    least = np.sqrt(PADS @ (ends - centre) ** 2) / total
    return Resamples(centre, error, means, np.maximum(errors, least))


def padded_error(losses: TallyLosses) -> tuple[float, float]:
    """The padded loss and its standard error."""
    centre, error = padded_by(losses.mean, losses.sample.variance, losses.total, _ends(losses), PADS)
    return float(centre), float(error)


def _ends(losses: TallyLosses) -> Floats:
    """[2] the least and the most that an imaginary image loses."""
    stake = at_stake(losses)
    return np.array([-stake if losses.low < 0 else 0.0, stake])


def at_stake(losses: TallyLosses) -> float:
    """What an imaginary image can lose, in shares of an image: 1, or more where the score hangs on few images.

    If a loss hits each of m images with equal probability, none of them is hit in 1 of 20 samples although a share of
    1 - 0.05 ** (1 / m) is (the rule of three). Of the rarest parts of the score, taken together, that share can have
    been lost unseen; the most of it counts, for one part or for any number of them. It is set against what the same
    rule says of all images, each of them holding an equal part of a score of 1.
    """
    held, images = losses.sample.held
    unseen = np.max(held * _unseen(images * losses.times), initial=0.0)
    return max(float(unseen / _unseen(np.array(losses.total))), 1.0)


def _unseen(images: Floats) -> Floats:
    return np.asarray(1 - UNSEEN ** (1 / images))


def seed_of(question: str, losses: TallyLosses) -> int:
    """A seed from the data. The experience is part of it, or equal data would be drawn alike and not independently."""
    digest = hashlib.sha256(f"{question} {losses.experience}".encode())
    digest.update(b"" if losses.sample.before is None else losses.sample.before.tobytes())
    digest.update(losses.sample.after.tobytes())
    return int.from_bytes(digest.digest()[:8], "big")


def padded_by(
    mean: ArrayLike, variance: ArrayLike, images: ArrayLike, ends: Floats, pads: Floats
) -> tuple[Floats, Floats]:
    """Mean and standard error when `pads` [..., 2] imaginary images at both `ends` [2] are added to so many images."""
    mean, variance, images = (np.asarray(one, dtype=np.float64) for one in (mean, variance, images))
    total = images + pads.sum(-1)
    centre = (images * mean + pads @ ends) / total
    spread = images * (variance + (mean - centre) ** 2) + (pads * (ends - centre[..., None]) ** 2).sum(-1)
    return centre, np.sqrt(spread) / total


def drawn_again(sample: Sample, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """The loss [resamples] of images drawn again, without padding, and the variance [resamples] of one of them."""
    key = (resamples, seed)
    if key not in sample.drawn:
        sample.drawn[key] = _draw(sample, resamples, np.random.default_rng(seed))
    return sample.drawn[key]


def _draw(sample: Sample, resamples: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    before = None if sample.before is None else _bundled(sample.before)
    after = _bundled(sample.after)
    units = len(after)
    step = max(CELLS // units, 1)
    rows = [min(step, resamples - done) for done in range(0, resamples, step)]
    drawn = [_scored(sample.score, before, after, _weights(generator, some, units)) for some in rows]
    losses, squares = (np.concatenate(column) for column in zip(*drawn, strict=True))
    return losses, squares * len(sample.after)


def _weights(generator: np.random.Generator, rows: int, units: int) -> Floats:
    """[rows, units] how often each unit is drawn when as many are drawn as there are."""
    cells = generator.integers(units, size=(rows, units)) + np.arange(rows)[:, None] * units
    counts = np.bincount(cells.ravel(), minlength=rows * units).astype(np.float64)
    return np.reshape(counts, (rows, units))


def _scored(score: Score, before: Floats | None, after: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The loss [rows] of units weighted so, and the square of its standard error [rows]."""
    lost, influence = _at(score, after, weights)
    lost, influence = (1 - lost, -influence) if before is None else (-lost, -influence)
    if before is not None:
        full, more = _at(score, before, weights)
        lost, influence = lost + full, influence + more
    return lost, np.asarray((weights * influence**2).sum(1))


def _at(score: Score, tally: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The score [rows] of weighted sums of a tally [units, k], and the influence [rows, units] of each unit on it."""
    scores, by = slopes(score, weights @ tally + REST * tally.sum(0))
    return scores, by @ tally.T


def _bundled(tally: Floats) -> Floats:
    """The tally [n, k] as at most `UNITS` sums of images, those that came together in different ones."""
    if len(tally) <= UNITS:
        return tally
    rows = -(-len(tally) // UNITS)
    full = np.zeros((rows * UNITS, tally.shape[1]))
    full[: len(tally)] = tally
    return np.asarray(full.reshape(rows, UNITS, -1).sum(0))
