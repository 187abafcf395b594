"""What the candidate still sees where nobody looked: old things in new images, of which the champion was sure.

New images do not label old classes, so no test of theirs can say whether these are forgotten there; and the images of
earlier nights may look otherwise. An update that takes new images' background at its word unlearns old classes in new
images alone. The champion is no truth, so this is no question of its own in a verdict: it feeds the guard of each
class, which refuses what is lost altogether.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch

from dataset.archive import Archive, ImageDataset
from models.compute import default_device
from models.gates.outcomes import Pairs
from models.learner import Learner
from models.problems.base import Problem
from records.experience import Experience


def kept_table(
    candidate: Learner,
    parent: Learner,
    new: Sequence[Experience],
    archive: Archive,
    problem: Problem,
    choose_images: Callable[[ImageDataset], ImageDataset],
) -> pa.Table:
    """A row for each test image of the `new` experiences and old class that the parent is sure to see in it:
    experience, image, label, and how much of it the candidate sees, 0..1."""
    dataset = choose_images(archive.dataset(new, "test", candidate.classes, candidate.spec))
    parts = []
    for positions in torch.split(torch.arange(len(dataset)), dataset.at_once):
        given, images = dataset.at(positions.numpy()), [dataset.images(positions)]
        outputs, teacher = (learner.outputs_of_parts(images, default_device()) for learner in (candidate, parent))
        targets = given.targets(torch.arange(len(given)))
        kept = problem.kept(outputs, targets, given.labelled_for, teacher).cpu().numpy()
        rows, columns = np.nonzero(~np.isnan(kept))
        parts.append(
            pa.table(
                {
                    "experience": pa.array([new[number].batch for number in given.batch[rows]], pa.string()),
                    "image": pa.array(given.image[rows].tolist(), pa.string()),
                    "label": pa.array([parent.classes[column] for column in columns], pa.string()),
                    "kept": pa.array(kept[rows, columns], pa.float64()),
                }
            )
        )
    return pa.concat_tables(parts)


def read_kept(path: Path) -> dict[str, Pairs]:
    """For each experience what `kept_table` found; the champion, which is the measure, has all of it right."""
    if not path.is_file():
        return {}
    table = parquet.read_table(path).to_pandas()
    return {
        str(experience): Pairs(
            labels=rows["label"].to_numpy(dtype=str), overall=rows["kept"].to_numpy(), reference=np.ones(len(rows))
        )
        for experience, rows in table.groupby("experience")
    }
