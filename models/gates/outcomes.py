"""How right a candidate is, image by image: what a gate is given."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.statistics import Floats


@dataclass(frozen=True)
class Outcomes:
    """How right the candidate is on the n test images of one experience, image by image, each 0..1."""

    experience: str
    new: bool
    """Learned by this candidate for the first time."""
    overall: Floats
    """[n] when all classes compete."""
    among_known: Floats
    """[n] when only the classes known when the experience was first learned compete; never below `overall`."""
    reference: Floats | None
    """[n] `among_known` of the best version so far on the same images; None if and only if new."""
    labels: NDArray[np.str_] | None = None
    """[n] class of each image, for the guard of each class; None where there are none."""

    def __post_init__(self) -> None:
        """Raises ValueError if the arrays are not scores of the same images."""
        arrays = [self.overall, self.among_known] + ([] if self.reference is None else [self.reference])
        if self.new != (self.reference is None):
            raise ValueError(f"{self.experience}: a past experience needs a reference, a new one must have none.")
        shapes = [a.shape for a in arrays] + ([] if self.labels is None else [self.labels.shape])
        if any(shape != (len(self.overall),) for shape in shapes) or not len(self.overall):
            raise ValueError(f"{self.experience}: outcomes must be of the same test images, at least one.")
        if not all(((a >= 0) & (a <= 1)).all() for a in arrays):
            raise ValueError(f"{self.experience}: outcomes must be scores from 0 to 1.")
        if (self.among_known < self.overall - 1e-9).any():
            raise ValueError(f"{self.experience}: with fewer classes competing an answer cannot become worse.")
