"""Test images that a person should see: those that the night lost most of, or where nothing was lost, the worst."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray
from torch import Tensor

from dataset.archive import Archive, ImageDataset
from models.bundle import ModelBundle
from models.compute import default_device
from models.learner import Learner
from reports.masks import Answered
from tasks.evaluate.tables import OUTCOMES

MOST = 6
"""Images of a picture."""
SEEN = 0.005
"""Of an image's score, 0..1: a smaller loss is none."""


def worst(evaluation: Path, parent: Path | None, most: int = MOST) -> pd.DataFrame:
    """Columns experience, image, before, now: the test images of which most was lost since the parent, worst first.

    If the parent was asked none of them, or lost nothing of what it was asked, those that score least. `parent` is the
    folder of the version that the candidate was made from.
    """
    columns = ["experience", "image", "overall"]
    rows = parquet.read_table(evaluation / OUTCOMES, columns=columns).to_pandas().rename(columns={"overall": "now"})
    rows["before"] = np.nan
    if parent is not None:
        before = parquet.read_table(parent / "evaluation" / OUTCOMES, columns=columns).to_pandas()
        known = rows.drop(columns="before").merge(before, on=["experience", "image"], how="left")
        rows["before"] = known["overall"].to_numpy()
    chosen: pd.DataFrame = rows.iloc[np.lexsort((rows["now"], -lost(rows)))[:most]]
    return chosen


def lost(rows: pd.DataFrame) -> NDArray[np.float64]:
    """[n] what each image of `worst` lost, 0..1; 0 if it is so little that nobody would see it."""
    drop = (rows["before"] - rows["now"]).fillna(0.0).to_numpy(dtype=np.float64)
    return np.where(drop > SEEN, drop, 0.0)


def answered(
    candidate: Path, parent: Path | None, rows: pd.DataFrame, archive: Archive, titles: Mapping[str, str]
) -> tuple[Answered, ...]:
    """The images that `rows` names, as `worst` does, with their masks, and what candidate and parent answer.

    `candidate` is a snapshot's folder; `titles`: experience to what it was delivered as.
    """
    bundle = ModelBundle.read(candidate)
    before = ModelBundle.read(parent / "snapshot").learner if parent else None
    experiences = {e.batch: e for e in bundle.snapshot.experiences}
    found = []
    for row in rows.to_dict("records"):
        name, learner = row["experience"], bundle.learner
        dataset = archive.dataset([experiences[name]], "test", learner.classes, learner.spec)
        one = dataset.at(np.flatnonzero(dataset.image == row["image"])[:1])
        found.append(_answered(one, learner, before, titles.get(name, name), row["before"], row["now"]))
    return tuple(found)


def _answered(
    one: ImageDataset, learner: Learner, before: Learner | None, title: str, score_before: float, score: float
) -> Answered:
    """An image by itself."""
    everything = torch.arange(len(one))
    images, looked = one.images(everything), one.labelled_for
    return Answered(
        title=title,
        image=images[0].permute(1, 2, 0).numpy(),
        truth=one.targets(everything)[0].numpy(),
        before=None if before is None else _mask(before, images),
        now=_mask(learner, images),
        looked=np.ones(len(learner.classes), dtype=bool) if looked is None else looked[0].numpy(),
        score_before=None if np.isnan(score_before) else score_before,
        score=score,
    )


def _mask(learner: Learner, images: Tensor) -> NDArray[np.int64]:
    """[H, W] the class of each pixel of the first image."""
    return learner.outputs(images, default_device())[0].argmax(dim=0).numpy()
