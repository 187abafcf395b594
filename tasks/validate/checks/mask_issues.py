"""Masks that the champion doubts: confident learning over regions of images.

A region is all that a mask gives to one class. It is in doubt if the champion gives another class at least the
probability that regions of that class have on average, and its own class less than that (Northcutt, Jiang and Chuang,
"Confident Learning", 2021, with regions in place of images: pixels of one object are right or wrong together). So is a
background in which the champion surely sees an object of usual size that somebody looked for. Where it is wrong about
many regions its doubts are worth nothing, and none is reported. It has learned none of these images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from records.batch import BACKGROUND
from tasks.validate.checks.base import FilteredBatch
from tasks.validate.checks.label_issues import LEAST_PER_CLASS, LEAST_RIGHT
from tasks.validate.mask_agreement import MaskAgreement

LEAST_AREA = 0.5
"""Of the median region of its class: a smaller part of the background is not taken for a missing object."""


@dataclass(frozen=True)
class MaskIssues:
    """What the champion says of masks."""

    looked_at: int
    right: float
    """Of the regions, those for which it is surest of the class that they are labelled with, 0..1."""
    details: dict[int, str]
    """Row to a sentence about its mask, worst first."""


def mask_issues(filtered: FilteredBatch) -> MaskIssues | None:
    """Masks of a batch that look wrong; None if there is no champion to judge, or too little to judge by."""
    arriving = filtered.arriving
    champion, batch = arriving.champion, arriving.batch
    if not batch.annotation or BACKGROUND not in champion.classes:
        return None
    # By content, so that the same images are looked at wherever it is done.
    chosen = filtered.learned.sort_values("image").head(arriving.params.label_images).sort_index()
    looked = looked_for(chosen["labelled_for"].tolist(), batch.mask_classes, champion.classes)
    seen = champion.agreement(batch.id, chosen.index.tolist(), looked) if len(chosen) else None
    return None if seen is None else issues(seen, champion.classes, chosen.index.to_numpy())


def looked_for(texts: Sequence[str], mask_classes: tuple[str, ...], classes: tuple[str, ...]) -> NDArray[np.bool_]:
    """bool [n, classes]: what each text of the column `labelled_for` names."""
    rows = {text: np.isin(classes, text.split("/") if text else mask_classes) for text in set(texts)}
    return np.stack([rows[text] for text in texts])


def issues(seen: MaskAgreement, classes: tuple[str, ...], rows: NDArray[np.int64]) -> MaskIssues | None:
    """Masks in doubt, worst first; None if no class has regions enough."""
    labelled, area, likely = seen.labelled.numpy(), seen.area.numpy(), seen.likely.numpy()
    shown = area > 0
    judged = shown.sum(axis=0) >= LEAST_PER_CLASS
    of_objects = judged & (np.arange(len(classes)) > 0)
    regions = shown & of_objects
    if not regions.any():
        return None
    right = float((likely == np.arange(len(classes)))[regions].mean())
    if right < LEAST_RIGHT:
        return MaskIssues(len(rows), right, {})
    usual = np.array([labelled[shown[:, c], c].mean() if judged[c] else np.inf for c in range(len(classes))])
    size = np.array([np.median(area[shown[:, c], c]) if judged[c] else np.inf for c in range(len(classes))])
    of_likely = seen.of_likely.numpy()
    wrong = regions & (labelled < usual) & (of_likely >= usual[likely]) & (likely != np.arange(len(classes)))
    missed = seen.missed.numpy()
    missing = of_objects & (missed >= usual) & (seen.missed_area.numpy() >= LEAST_AREA * size)
    found = [
        (float(labelled[i, c]), int(rows[i]), _doubt(classes[c], classes[likely[i, c]], of_likely[i, c]))
        for i, c in np.argwhere(wrong).tolist()
    ]
    found += [
        (1 - float(missed[i, c]), int(rows[i]), _doubt(BACKGROUND, classes[c], missed[i, c]))
        for i, c in np.argwhere(missing).tolist()
    ]
    details: dict[int, str] = {}
    for _, row, text in sorted(found):
        details.setdefault(row, text)
    return MaskIssues(len(rows), right, details)


def _doubt(label: str, likely: str, sure: float) -> str:
    return f"a part labelled {label} looks like {likely} ({sure:.0%} sure)"
