"""Play a stream: every night is learned by the update step itself, and every experience is asked after every night."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.memory_archive import MemoryArchive
from benchmarks.streams import Stream
from models.compute import Compute
from models.knowledge import Knowledge
from records.record import Record
from tasks.update import UpdateParams, learn

Matrix = tuple[tuple[float, ...], ...]


class Played(Record):
    """What came of it. Scores are shares, 0..1."""

    matrix: Matrix
    """Row i: accuracy on each experience up to i, after night i."""
    known: Matrix
    """The same, if only the classes compete that were known when the experience was learned."""
    cpu_seconds: tuple[float, ...]
    """Of each night's update: reading the parent, training, choosing what to remember; evaluation apart."""
    images: tuple[int, ...]
    """Images that went through a forward and backward pass, each night."""
    kept_bytes: int
    """Of the last version at rest: weights, memory's references, the strategy's state."""
    remembered_bytes: int
    """Of the images that memory refers to, decoded."""
    peak_bytes: int
    """Peak resident memory above that before the first night, with libraries imported and data in place."""

    @property
    def average(self) -> float:
        """Mean accuracy over all experiences after the last night."""
        return sum(self.matrix[-1]) / len(self.matrix[-1])

    @property
    def forgetting(self) -> float:
        """Mean over past experiences of the best earlier accuracy minus the last."""
        past = range(len(self.matrix) - 1)
        drops = [max(row[j] for row in self.matrix[j:-1]) - self.matrix[-1][j] for j in past]
        return sum(drops) / len(drops)


def play(stream: Stream, params: UpdateParams, nights: int | None = None) -> Played:
    """Learn the nights one after the other with equal params."""
    archive = MemoryArchive(stream)
    experiences = archive.experiences()[:nights]
    place = Path(tempfile.mkdtemp(prefix="retain-benchmark-"))
    before = _resident("VmRSS")
    _forget_peak()
    matrix, known, seconds, images = [], [], [], []
    parent: Path | None = None
    try:
        for number, experience in enumerate(experiences):
            started = time.process_time()
            knowledge, log = learn(
                parent, number, [experience], archive, params, "benchmark", Compute.here(params.precision)
            )
            parent = place / f"v{number + 1}"
            knowledge.write(parent)
            seconds.append(time.process_time() - started)
            images.append(log.images)
            scores = ask(knowledge, archive)
            matrix.append(tuple(overall for overall, _ in scores))
            known.append(tuple(among_known for _, among_known in scores))
        assert parent is not None
        pixels = int(np.prod(stream.nights[0].images.shape[1:]))
        remembered = stream.images if params.memory.size == "all" else len(knowledge.memory)
        return Played(
            matrix=tuple(matrix),
            known=tuple(known),
            cpu_seconds=tuple(round(s, 3) for s in seconds),
            images=tuple(images),
            kept_bytes=sum(path.stat().st_size for path in parent.iterdir()),
            remembered_bytes=remembered * pixels,
            peak_bytes=_resident("VmHWM") - before,
        )
    finally:
        shutil.rmtree(place)


def _resident(what: str) -> int:
    """Bytes of resident memory of this process: `VmRSS` now, `VmHWM` at its peak. Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def ask(knowledge: Knowledge, archive: MemoryArchive) -> Sequence[tuple[float, float]]:
    """Accuracy on each experience learned so far: all classes competing, and those known when it was learned."""
    learner, scores = knowledge.learner, []
    for experience in knowledge.snapshot.experiences:
        pool = archive.pool([experience], "test", learner.classes, learner.spec)
        outputs = torch.cat([learner.outputs(images) for images, _ in pool.parts(torch.device("cpu"))])
        right = outputs.argmax(dim=1) == pool.target
        first = outputs[:, : knowledge.snapshot.known_at[experience.batch]].argmax(dim=1) == pool.target
        scores.append((round(right.float().mean().item(), 5), round(first.float().mean().item(), 5)))
    return scores
