"""Arrays with a column, or a few, for each class: classes that came later are columns of zeros in older ones."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=np.generic)


def widened(rows: NDArray[Value], columns: int) -> NDArray[Value]:
    """[n, columns], filled up with zeros."""
    return np.pad(rows, ((0, 0), (0, columns - rows.shape[1])))


def stacked(parts: Sequence[NDArray[Value]]) -> NDArray[Value]:
    """The rows of several arrays one after the other, all as wide as the widest."""
    columns = max(part.shape[1] for part in parts)
    return np.concatenate([widened(part, columns) for part in parts])
