"""Bootstrap over the rows of outcomes: for scores of any kind, such as overlap or rank, not only right and wrong.

The images of each experience are drawn again with replacement, candidate and reference together, so pairing is kept.
Each redrawn mean is divided by its own standard error (bootstrap-t: Hall 1988, The Annals of Statistics 16, 927-953),
which follows the skewness of rare losses: plain percentiles are too short there and accept too often. Refusals are
corrected by the largest deviation over all experiences (max-T: Westfall and Young 1993, Resampling-Based Multiple
Testing, chapter 2).
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field
from scipy.special import ndtri

from models.gates.base import Gate
from models.gates.hypothesis import Hypothesis, LossHistogram
from models.gates.losses import Losses
from models.gates.resamples import Resamples
from models.gates.tally_draws import redrawn, seed_of
from models.gates.tally_losses import TallyLosses
from models.statistics import Floats, mean_and_error, padded

TAIL = 10
"""Fewest draws beyond a quantile that is read from them."""
CELLS = 100
"""Distinct values above this number are pooled, see `_pooled`."""


class PairedBootstrap(Gate):
    """Takes any scores in 0..1. The draws depend on the data alone: the same outcomes give the same verdict."""

    name: Literal["paired_bootstrap"] = "paired_bootstrap"
    resamples: int = Field(default=2000, ge=1000, le=100_000)
    """How often the images are drawn again."""

    def uppers(self, hypotheses: Sequence[Hypothesis], level: float) -> Floats:
        """Upper bounds [k], each with probability `level` of being too low."""
        resamples = [self._draw(hypothesis) for hypothesis in hypotheses]
        bounds = [d.centre - _quantile(d.deviations, level) * d.error for d in resamples]
        return np.maximum(np.minimum(bounds, 1.0), [hypothesis.estimate for hypothesis in hypotheses])

    def lowers(self, hypotheses: Sequence[Hypothesis], level: float) -> Floats:
        """Lower bounds [k] that hold together: the largest of all k deviations is what each must stand."""
        resamples = [self._draw(hypothesis) for hypothesis in hypotheses]
        distance = np.quantile(np.max([d.deviations for d in resamples], axis=0), 1 - level, method="higher")
        lows = [min(one.low for one in hypothesis.losses) for hypothesis in hypotheses]
        bounds = np.maximum([d.centre - distance * d.error for d in resamples], lows)
        return np.minimum(bounds, [hypothesis.estimate for hypothesis in hypotheses])

    def _draw(self, hypothesis: Hypothesis) -> Resamples:
        """The draws of a hypothesis: of its experience, or the mean over its experiences, drawn independently."""
        return Resamples.of_mean([self._redraw(hypothesis.question, one) for one in hypothesis.losses])

    def _redraw(self, question: str, losses: Losses) -> Resamples:
        """Draws of one experience."""
        if isinstance(losses, TallyLosses):
            return redrawn(losses, self.resamples, seed_of(question, losses))
        assert isinstance(losses, LossHistogram)  # there are two kinds
        return self._redraw_values(question, losses)

    def _redraw_values(self, question: str, losses: LossHistogram) -> Resamples:
        """Draws of losses image by image. Redrawing n images is drawing how many have each distinct value, so n costs
        nothing.

        No redrawn error is taken for less than what the padding alone explains: a draw without any loss has none.
        """
        values, images = padded(*_pooled(losses), losses.low)
        total = images.sum()
        centre, error = mean_and_error(values, images)
        generator = np.random.default_rng(_seed(question, losses))
        shares = generator.multinomial(round(total), images / total, size=self.resamples) / round(total)
        means: Floats = shares @ values
        spread = np.maximum(shares @ values**2 - means**2, 0)
        least = images[-2:] @ (values[-2:] - centre) ** 2 / total**2
        return Resamples(centre, error, means, np.sqrt(np.maximum(spread / total, least)))


def _quantile(deviations: Floats, level: float) -> float:
    """The deviation that a share `level` of the draws lies below. So few lie in a far tail that nothing can be read
    from them: then it is a nearer quantile, made as much larger as it would be of a normal deviation."""
    nearest = max(level, TAIL / len(deviations))
    found = float(np.quantile(deviations, nearest, method="lower"))
    return found if nearest == level else found * float(ndtri(level) / ndtri(nearest))


def _pooled(losses: LossHistogram) -> tuple[Floats, Floats]:
    """Values and their counts, at most 100: neighbours are replaced by their mean.

    The mean stays what it is; the spread of an image shrinks by 0.01 at most (half a cell of 0.02 between -1 and 1).
    """
    if len(losses.values) <= CELLS:
        return losses.values, losses.images
    cell = np.minimum((losses.values - losses.low) / (1 - losses.low) * CELLS, CELLS - 1).astype(np.int64)
    images: Floats = np.bincount(cell, losses.images).astype(np.float64)
    sums = np.bincount(cell, losses.images * losses.values)
    used = images > 0
    return sums[used] / images[used], images[used]


def _seed(question: str, losses: LossHistogram) -> int:
    """A seed from the data. The experience is part of it, or equal data would be drawn alike and not independently."""
    digest = hashlib.sha256(f"{question} {losses.experience}".encode())
    digest.update(losses.values.tobytes() + losses.images.tobytes())
    return int.from_bytes(digest.digest()[:8], "big")
