"""How much of its image each class takes, and how much nobody knows, over the masks of one or several batches."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from records.batch import BACKGROUND

COLUMNS = ("ignored", "class_pixels")
"""Of a shard, that are read for it."""


@dataclass(frozen=True, eq=False)
class MaskShares:
    """Of n images with masks."""

    ignored: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """[n] share of the pixels of which nobody knows what they are, 0..1."""
    of_class: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Class, not the background, to its share of the known pixels of each image that shows it, above 0 to 1."""

    @classmethod
    def of(cls, facts: pd.DataFrame, mask_classes: tuple[str, ...]) -> "MaskShares":
        """From the columns `COLUMNS` of a batch; images without a mask count nowhere."""
        masked = facts[facts["class_pixels"].map(len) == len(mask_classes)]
        if masked.empty:
            return cls()
        pixels = np.stack(masked["class_pixels"].to_list()).astype(np.float64)
        shares = pixels / np.maximum(pixels.sum(axis=1, keepdims=True), 1)
        return cls(
            ignored=masked["ignored"].to_numpy(np.float64),
            of_class={
                name: shares[shares[:, value] > 0, value]
                for value, name in enumerate(mask_classes)
                if name != BACKGROUND and shares[:, value].any()
            },
        )

    @classmethod
    def together(cls, parts: Iterable["MaskShares"]) -> "MaskShares":
        """Those of several batches."""
        parts = tuple(parts)
        names = sorted({name for part in parts for name in part.of_class})
        found = {name: [part.of_class[name] for part in parts if name in part.of_class] for name in names}
        return cls(
            ignored=np.concatenate([np.zeros(0), *(part.ignored for part in parts)]),
            of_class={name: np.concatenate(shares) for name, shares in found.items()},
        )
