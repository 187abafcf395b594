"""New and earlier images of the same classes, as many of each, as the champion sees them.

Earlier images are test images: those that it was trained on look different to it from any it was not. As many of each
class on both sides, so that a change of the classes' shares is no change of what they look like.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.validate.checks.base import FilteredBatch

PER_CLASS, MOST_CLASSES = 100, 50
"""Images of a class on either side, and classes, at most; so this costs the same in every night."""
LEAST_PER_CLASS = 5


@dataclass(frozen=True)
class DriftSample:
    """n images, half of them new."""

    label: NDArray[np.str_]
    new: NDArray[np.bool_]
    features: NDArray[np.float32]
    """[n, width]"""
    right: NDArray[np.bool_]
    """Whether the champion's answer is the label."""


def drift_sample(filtered: FilteredBatch) -> DriftSample | None:
    """None if there is no champion that sees, no class that both sides have enough images of, or if images
    show several classes."""
    if filtered.arriving.batch.annotation:
        return None
    champion, batch = filtered.arriving.champion, filtered.arriving.batch.id
    learned = filtered.learned
    counts = learned["label"][learned["label"].isin(champion.classes)].value_counts()
    classes = sorted(counts.index[:MOST_CLASSES])
    if not classes:
        return None
    before = filtered.arriving.earlier.tests(classes, PER_CLASS, filtered.arriving.params.drift_batches)
    have = before["label"].value_counts()
    each = {c: min(int(counts[c]), int(have.get(c, 0)), PER_CLASS) for c in classes}
    each = {c: number for c, number in each.items() if number >= LEAST_PER_CLASS}
    if not each:
        return None
    new = learned.assign(batch=batch, row=learned.index).sort_values("image")
    chosen = [_first(new, each).assign(new=True), _first(before, each).assign(new=False)]
    sides = pd.concat([side[["batch", "row", "label", "new"]] for side in chosen]).sort_values(["batch", "row"])
    seen = [champion.see(str(name), part["row"].tolist()) for name, part in sides.groupby("batch")]
    label = sides["label"].to_numpy(dtype=str)
    answers = [sight.answers for sight in seen if sight.answers is not None]
    if len(answers) < len(seen):
        return None
    features = np.concatenate([sight.features for sight in seen])
    if not np.isfinite(features).all():
        return None
    return DriftSample(
        label=label,
        new=sides["new"].to_numpy(dtype=bool),
        features=features,
        right=np.concatenate(answers) == label,
    )


def _first(images: pd.DataFrame, each: dict[str, int]) -> pd.DataFrame:
    place = images.groupby("label").cumcount()
    return images[place < images["label"].map(each).fillna(0)]
