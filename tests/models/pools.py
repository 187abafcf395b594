"""Pools of plain grey images, whose class can be seen."""

import numpy as np
import torch

from models.archive import Pool


def coloured(count: int, target: int) -> Pool:
    """`count` images of one class, all of the grey that stands for it."""
    return Pool(
        batch=np.zeros(count, dtype=np.int64),
        row=np.arange(count),
        image=np.array([f"{target}-{n}" for n in range(count)]),
        target=torch.full((count,), target),
        batches=("b",),
        pixels=(np.full((count, 1, 4, 4), 50 * target, dtype=np.uint8),),
    )
