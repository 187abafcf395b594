"""Play a stream: every night is learned by the update step itself, and every experience is asked after every night."""

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.memory_archive import MemoryArchive
from benchmarks.streams import Stream
from models.compute import Compute
from records.record import Record
from records.scores import ScoreMatrix, ScoreRow
from tasks.evaluate.examine import examine, scores
from tasks.update.settings import UpdateParams
from tasks.update.update import learn

Matrix = tuple[tuple[float, ...], ...]


class Played(Record):
    """What came of it. Scores are shares, 0..1."""

    average: float
    """Mean accuracy over all experiences after the last night."""
    forgetting: float | None
    """Mean over past experiences of the best earlier accuracy minus the last; None without a past."""
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


def play(stream: Stream, params: UpdateParams, nights: int | None = None) -> Played:
    """Learn the nights one after the other with equal params."""
    archive = MemoryArchive(stream)
    experiences = archive.experiences()[:nights]
    place = Path(tempfile.mkdtemp(prefix="retain-benchmark-"))
    before = _resident("VmRSS")
    _forget_peak()
    rows: list[ScoreRow] = []
    seconds, images = [], []
    parent: Path | None = None
    try:
        for number, experience in enumerate(experiences):
            started = time.process_time()
            bundle, log = learn(
                parent, number, [experience], archive, params, "benchmark", Compute.here(params.precision)
            )
            parent = place / f"v{number + 1}"
            bundle.write(parent)
            seconds.append(time.process_time() - started)
            images.append(log.images)
            known = experiences[: number + 1]
            known_at = [bundle.snapshot.known_at[e.batch] for e in known]
            examined = examine(bundle.learner, known, known_at, archive, params.problem)
            rows.append(ScoreRow(version=f"v{number + 1}", scores=scores(examined, params.problem)))
        assert parent is not None
        pixels = int(np.prod(stream.nights[0].images.shape[1:]))
        remembered = stream.images if params.memory.size == "all" else len(bundle.memory)
        names = tuple(e.batch for e in experiences)
        matrix = ScoreMatrix(experiences=names, new=names[-1:], rows=tuple(rows))
        return Played(
            average=matrix.average(),
            forgetting=matrix.forgetting_from_best(),
            matrix=tuple(tuple(round(score.overall, 5) for score in row.scores.values()) for row in rows),
            known=tuple(tuple(round(score.among_known, 5) for score in row.scores.values()) for row in rows),
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
