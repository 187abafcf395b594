"""How the facts of images are spread: counts in fixed bins, so that they can be added up over batches and compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""[facts, BINS] number of images in each bin of each fact, in the order of `FACTS`."""

BINS = 60


@dataclass(frozen=True)
class Fact:
    """A number that is known of every image, on a scale that is cut into `BINS` equal bins."""

    name: str
    unit: str
    more: str
    """What images are of which it is higher."""
    less: str
    low: float
    high: float
    value: Callable[[pd.DataFrame], NDArray[np.float64]]
    """On the scale of the bins."""
    shown: Callable[[float], str]
    """A value on that scale as a person reads it."""

    def bins(self, facts: pd.DataFrame) -> NDArray[np.int64]:
        """The bin of each image; what lies beyond the ends counts in the outermost bin."""
        place = (self.value(facts) - self.low) / (self.high - self.low) * BINS
        return np.clip(np.floor(place), 0, BINS - 1).astype(np.int64)

    def edge(self, number: int) -> float:
        """Where bin `number` begins."""
        return self.low + (self.high - self.low) * number / BINS


def _column(name: str) -> Callable[[pd.DataFrame], NDArray[np.float64]]:
    return lambda facts: facts[name].to_numpy(np.float64)


def _log_of(formula: Callable[[pd.DataFrame], "pd.Series[float]"]) -> Callable[[pd.DataFrame], NDArray[np.float64]]:
    return lambda facts: np.log2(np.maximum(formula(facts).to_numpy(np.float64), 2.0**-20))


def _plain(value: float) -> str:
    return f"{value:.2f}"


def _power(value: float) -> str:
    return f"{2**value:.3g}"


FACTS = (
    Fact("brightness", "mean grey level, 0 to 1", "brighter", "darker", 0, 1, _column("brightness"), _plain),
    Fact(
        "contrast", "standard deviation of grey levels, 0 to 0.5", "richer in contrast", "flatter", 0, 0.5,
        _column("contrast"), _plain,
    ),
    Fact(
        "sharpness", "variance of the Laplacian", "sharper", "more blurred", 0, 18,
        _log_of(lambda f: f["sharpness"] + 1), _power,
    ),
    Fact("detail", "entropy of grey levels, bits", "richer in detail", "plainer", 0, 8, _column("entropy"), _plain),
    Fact(
        "size", "pixels", "larger", "smaller", 0, 30,
        _log_of(lambda f: f["width"].astype(float) * f["height"]), _power,
    ),
    Fact(
        "shape", "width divided by height", "wider", "taller", -6, 6,
        _log_of(lambda f: f["width"].clip(lower=1) / f["height"].clip(lower=1)), _power,
    ),
    Fact(
        "compression", "bits of the file per pixel", "less compressed", "more compressed", -10, 10,
        _log_of(lambda f: 8.0 * f["bytes"] / (f["width"].astype(float) * f["height"]).clip(lower=1)), _power,
    ),
)  # fmt: skip

COLUMNS = ("brightness", "contrast", "sharpness", "entropy", "width", "height", "bytes")
"""Of a shard, from which the facts follow."""


def spread_of(facts: pd.DataFrame) -> Mapping[str, Counts]:
    """Label to the counts of its images."""
    labels, names = pd.factorize(facts["label"], sort=True)
    counts = np.zeros((len(names), len(FACTS), BINS), dtype=np.int64)
    for number, fact in enumerate(FACTS):
        place = labels * BINS + fact.bins(facts)
        counts[:, number] = np.bincount(place, minlength=len(names) * BINS).reshape(len(names), BINS)
    return {str(name): counts[code] for code, name in enumerate(names)}
