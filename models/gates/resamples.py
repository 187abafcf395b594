"""A loss and what it becomes when the images are drawn again: what a bootstrap reads its bounds from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.statistics import Floats


@dataclass(frozen=True)
class Resamples:
    """A mean loss and what it becomes when the images are drawn again."""

    centre: float
    error: float
    """Standard error of the centre."""
    means: Floats
    """[resamples]"""
    errors: Floats
    """[resamples] the standard error that each redrawn sample would report."""

    @property
    def deviations(self) -> Floats:
        """[resamples] how far each redrawn mean is from the centre, in its own standard errors."""
        return (self.means - self.centre) / self.errors

    @classmethod
    def of_mean(cls, parts: Sequence["Resamples"]) -> "Resamples":
        """Those of the mean of independent losses."""
        return cls(
            centre=float(np.mean([part.centre for part in parts])),
            error=float(_error_of_mean([np.array(part.error) for part in parts])),
            means=np.mean([part.means for part in parts], axis=0),
            errors=_error_of_mean([part.errors for part in parts]),
        )


def _error_of_mean(errors: list[Floats]) -> Floats:
    """Standard error of the mean of independent means from their standard errors."""
    root: Floats = np.sqrt(np.sum(np.square(errors), axis=0))
    return root / len(errors)
