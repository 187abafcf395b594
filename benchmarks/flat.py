"""Whether a night costs the same whatever came before it: twenty equal nights, from files on disk.

Nights are played with the update step as the flow runs it: the parent is read from its folder, remembered images are
recalled from the batches' own files, and the result is written. Night 2 and night 20 are then run again in turn,
several times each, from the parents that they had, so that both meet the same machine.
"""

import statistics
import time
from pathlib import Path

from benchmarks.evaluation import write_batch
from dataset.archive import Archive
from models.networks.mlp import MLP
from tasks.update.settings import ImageParams, MemoryParams, UpdateParams
from tasks.update.update import update

NIGHTS, REPEATS = 20, 7


def measure(workdir: Path) -> dict[str, object]:
    """CPU seconds of nights 2 and 20, medians, and the median ratio of neighbours; files below `workdir`."""
    archive = Archive(workdir / "batches", workdir / "cache")
    experiences = [write_batch(archive, number) for number in range(NIGHTS)]
    image = ImageParams(size=28, channels=1)  # these shards have no facts to find it in
    params = UpdateParams(image=image, network=MLP(), memory=MemoryParams(size=2000))

    def night(number: int, out: Path) -> float:
        started = time.process_time()
        parent = workdir / f"v{number - 1}" if number > 1 else None
        update(parent, number - 1, [experiences[number - 1]], archive, params, f"{number:064x}", out)
        return time.process_time() - started

    for number in range(1, NIGHTS + 1):
        night(number, workdir / f"v{number}")
    pairs = [(night(2, workdir / "again"), night(NIGHTS, workdir / "again")) for _ in range(REPEATS)]
    early, late = zip(*pairs, strict=True)
    return {
        "system": "flat",
        "night_2": statistics.median(early),
        "night_20": statistics.median(late),
        "ratio": statistics.median(b / a for a, b in pairs),
    }
