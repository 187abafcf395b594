"""Labels that a classifier doubts: confident learning over the champion's features.

Every image is judged by a classifier that was trained on other images of the batch (five folds), so no label vouches
for itself, though near copies of an image may; cleanlab then finds those that contradict it (Northcutt, Jiang and
Chuang, "Confident Learning", 2021). The classifier is linear discriminant analysis: closed form, so it costs next to
nothing. Where its accuracy is poor, its doubts about single labels are worth nothing, and none are reported: either the
pictures are too hard for it, or the labels are mixed up as a whole, and that is reported.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.validate.checks.base import FilteredBatch

FOLDS = 5
LEAST_PER_CLASS = 2 * FOLDS
"""Classes with fewer images are not judged: each fold should hold two of them."""
LEAST_RIGHT = 0.7
"""Cross-validated accuracy that the classifier must reach before single labels are reported."""
WIDEST, IMAGES_PER_FEATURE = 128, 10
"""Features are brought down to their principal components: at most so many, and with so many images for each, or the
classifier would be sure of what it only learned by heart."""


@dataclass(frozen=True)
class LabelIssues:
    """What the classifier says of the labels."""

    looked_at: int
    right: float
    """Its cross-validated accuracy on the labels, 0..1."""
    details: dict[int, str]
    """Row to a sentence about its label, worst first; empty if the classifier is too inaccurate to be believed."""

    @property
    def able(self) -> bool:
        """Whether it may be believed."""
        return self.right >= LEAST_RIGHT

    @property
    def share(self) -> float:
        """Of the labels looked at, those in doubt: one by one, or as a whole if it cannot tell them apart."""
        return len(self.details) / self.looked_at if self.able else 1 - self.right


def label_issues(filtered: FilteredBatch) -> LabelIssues | None:
    """Labels of a batch that look wrong; None if there is too little to judge by, or if images
    show several classes."""
    if filtered.arriving.batch.annotation:
        return None
    # By content, so that the same images are looked at wherever it is done.
    judged = _common(filtered.learned).sort_values("image").head(filtered.arriving.params.label_images)
    judged = _common(judged).sort_index()
    if judged["label"].nunique() < 2:
        return None
    seen = filtered.arriving.champion.see(filtered.arriving.batch.id, judged.index.tolist())
    if seen.features.shape[1] == 0 or not np.isfinite(seen.features).all():
        return None
    names, code = np.unique(judged["label"].to_numpy(dtype=str), return_inverse=True)
    chances = cross_val_proba(seen.features, code)
    right = float((chances.argmax(axis=1) == code).mean())
    if right < LEAST_RIGHT:
        return LabelIssues(len(judged), right, {})
    rows = judged.index.to_numpy()
    likely, sure = names[chances.argmax(axis=1)], chances.max(axis=1)
    details = {
        int(rows[i]): f"labelled {names[code[i]]}, looks like {likely[i]} ({sure[i]:.0%} sure)"
        for i in _issues(code, chances)
    }
    return LabelIssues(len(rows), right, details)


def cross_val_proba(features: NDArray[np.float32], code: NDArray[np.int64]) -> NDArray[np.float64]:
    """[n, classes] probabilities, each row by a classifier that was trained without it. `code` [n]: 0..classes-1."""
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits

    judge = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.05)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    # In one thread: matrices are so small that several would wait for each other most of the time.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        width = max(2, min(WIDEST, len(features) // IMAGES_PER_FEATURE))
        if features.shape[1] > width:
            features = PCA(width, svd_solver="covariance_eigh").fit_transform(features)
        chances: NDArray[np.float64] = cross_val_predict(judge, features, code, cv=folds, method="predict_proba")
    return chances


def _common(images: pd.DataFrame) -> pd.DataFrame:
    counts = images["label"].value_counts()
    return images[images["label"].isin(counts.index[counts >= LEAST_PER_CLASS])]


def _issues(code: NDArray[np.int64], chances: NDArray[np.float64]) -> list[int]:
    """Positions of labels that are likely wrong, worst first."""
    from cleanlab.filter import find_label_issues

    found = find_label_issues(code, chances, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [int(position) for position in found]
