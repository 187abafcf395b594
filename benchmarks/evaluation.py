"""How fast evaluation is against what it cannot do without: the forward passes over images that are in memory.

python -m benchmarks.evaluation
"""

import json
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from torch import Tensor

from dataset.archive import Archive
from dataset.shards import SHARD_SCHEMA
from models.learner import Learner
from models.networks.mlp import MLP
from models.problems.classification import Classification
from records.batch import Batch, Shard
from records.experience import Experience
from records.snapshot import InputSpec
from tasks.evaluate.examine import examine, scores

EXPERIENCES, ROWS, TESTED = 20, 5000, 1000
"""Batches, images in each, and how many of these are test images: every fifth."""
SPEC = InputSpec(channels=1, height=28, width=28, mean=(0.3,), std=(0.3,))
CLASSES = tuple(str(number) for number in range(10))


def measure(workdir: Path, repeats: int = 9) -> dict[str, float]:
    """Evaluate 20 experiences of 1,000 test images with an MLP 784-400-400-10 on the CPU, files below `workdir`.

    Evaluation goes from a network in memory and an archive whose images are decoded to the scores in memory. Images,
    median seconds of both, and the throughput of evaluation as a share of the bare forward loop's: the median over
    `repeats` pairs that were timed right after each other, so that both had the same machine.
    """
    archive = Archive(workdir / "batches", workdir / "cache")
    experiences = [write_batch(archive, number) for number in range(EXPERIENCES)]
    learner = Learner.fresh(MLP(), SPEC, CLASSES, seed=0)
    dataset = archive.dataset(experiences, "test", CLASSES, SPEC)
    images = dataset.images(torch.arange(len(dataset)))
    pairs = [(_seconds_of_evaluation(learner, experiences, archive), _seconds_of_forward(learner, images))]
    pairs += [
        (_seconds_of_evaluation(learner, experiences, archive), _seconds_of_forward(learner, images))
        for _ in range(repeats)
    ]
    evaluation, forward = zip(*pairs[1:], strict=True)  # the first warms up
    return {
        "images": len(dataset),
        "evaluation_seconds": median(evaluation),
        "forward_seconds": median(forward),
        "throughput": median(bare / whole for whole, bare in zip(evaluation, forward, strict=True)),
    }


def _seconds_of_evaluation(learner: Learner, experiences: list[Experience], archive: Archive) -> float:
    start = time.perf_counter()
    problem = Classification()
    scores(examine(learner, experiences, [len(CLASSES)] * EXPERIENCES, archive, problem), problem)
    return time.perf_counter() - start


@torch.inference_mode()
def _seconds_of_forward(learner: Learner, images: Tensor) -> float:
    network = learner.network.eval()
    start = time.perf_counter()
    for part in torch.split(images, learner.at_once):
        network(part)
    return time.perf_counter() - start


def write_batch(archive: Archive, number: int) -> Experience:
    """A batch of random images. They are written decoded, where the archive would keep them; the shard has none."""
    generator = np.random.default_rng(number)
    name = f"2026-01-{number + 1:02d}-{number:08x}"
    facts = {
        "image": [generator.bytes(16).hex() for _ in range(ROWS)],
        "label": [CLASSES[code] for code in generator.integers(0, len(CLASSES), ROWS)],
        "split": ["test" if row % (ROWS // TESTED) == 0 else "train" for row in range(ROWS)],
    }
    blank = {f.name: [None if f.nullable else "" if pa.types.is_string(f.type) else 0] * ROWS for f in SHARD_SCHEMA}
    folder = archive.batches / name
    folder.mkdir(parents=True)
    parquet.write_table(pa.table({**blank, **facts}, schema=SHARD_SCHEMA), folder / "images-00000.parquet")
    shard = Shard(name="images-00000.parquet", rows=ROWS, bytes=0, sha256=f"{number:064x}")
    digest, day = f"{number:064x}", date(2026, 1, number + 1)
    Batch(id=name, digest=digest, arrived=day, source="random", images=ROWS, classes=CLASSES, shards=(shard,)).write(
        folder / "batch.json"
    )
    archive.cache.mkdir(parents=True, exist_ok=True)
    shape = (ROWS, SPEC.channels, SPEC.height, SPEC.width)
    np.save(archive.cache / f"{name}-1x28x28.npy", generator.integers(0, 256, shape, dtype=np.uint8))
    return Experience(batch=name, digest=digest, classes=CLASSES, train=ROWS - TESTED, validation=0, test=TESTED)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(measure(Path(place)), indent=2))
