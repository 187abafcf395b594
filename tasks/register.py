"""Register: every judged night is kept; a candidate that was accepted answers once more, and becomes the champion.

Safe to run again: a night that was killed in here and started again finds its own run by its identity and goes on from
where it was.
"""

import os
import platform
import resource
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray

import serving
from adapters.packaging import PROGRAM, Packaging
from adapters.registry import Registry
from adapters.runs import JudgedNight
from dataset.archive import Archive
from models.compute import default_device
from models.learner import DESCRIPTION, Description
from records.errors import DamagedState
from records.registration import Registration
from records.runs import NightFacts
from records.scores import ScoreMatrix
from records.snapshot import Snapshot
from records.training import TrainingLog
from records.verdict import Verdict
from reports.pictures import score_picture
from serving.program import write_program
from serving.reload import reload_and_compare
from tasks.evaluate.tables import OUTCOMES
from tasks.params.sections import RegisterParams

REQUIREMENTS = ("numpy", "pandas", "pillow", "safetensors", "torch")
"""What a logged model imports, besides MLflow."""


def register(
    candidate: Path,
    evaluation: Path,
    matrix: ScoreMatrix,
    verdict: Verdict,
    facts: NightFacts,
    archive: Archive,
    registry: Registry,
    params: RegisterParams,
    hold: bool = False,
    attachments: Mapping[str, bytes] | None = None,
) -> Registration:
    """Log the night with its model; if it was accepted, load the model back, compare, and make it the champion.

    With `hold`, an accepted candidate waits for `approve` as an inconclusive one does. `attachments` (file name to
    content) are kept beside the verdict. Raises `DamagedState` if the logged model answers differently, `Busy` if
    another version became the champion meanwhile, `Unavailable` if MLflow cannot be reached.
    """
    known = registry.find(facts.identity)
    if known is None:
        classes = {e.batch: e.classes for e in Snapshot.read(candidate / "snapshot.json").experiences}
        shown = {"score_matrix.png": score_picture(matrix, classes, deliveries=facts.deliveries), **(attachments or {})}
        night = JudgedNight(facts, matrix, verdict, candidate, evaluation, hold, shown)
        with tempfile.TemporaryDirectory() as place:
            run = registry.log_night(night, packaging(candidate, Path(place)))
    else:
        run, hold = known.run, known.held
    if verdict.decision == "accept" and not hold:
        if registry.registration(run).version is None:
            try:
                check_reload(run, candidate, evaluation, archive, registry, params.reload_images)
            except DamagedState:
                registry.discard(run)
                raise
        registry.promote(run)
    return registry.registration(run)


def night_facts(
    candidate: Path,
    matrix: ScoreMatrix,
    day: date,
    data_revision: str,
    commit: str,
    code: str,
    params: Mapping[str, str],
    seconds: Mapping[str, float] | None = None,
    trained: TrainingLog | None = None,
    deliveries: Mapping[str, str] | None = None,
) -> NightFacts:
    """How the candidate came to be, for the registry; lineage is taken from its own record."""
    snapshot = Snapshot.read(candidate / "snapshot.json")
    new = [e for e in snapshot.experiences if e.batch in matrix.new]
    known = {name for e in snapshot.experiences if e.batch not in matrix.new for name in e.classes}
    return NightFacts(
        identity=snapshot.identity,
        day=day,
        parent=snapshot.parent,
        batches=tuple(e.batch for e in new),
        deliveries=dict(deliveries or {}),
        images=sum(e.train for e in new),
        new_classes=tuple(dict.fromkeys(name for e in new for name in e.classes if name not in known)),
        data_revision=data_revision,
        commit=commit,
        code=code,
        params=dict(params),
        seconds=dict(seconds or {}),
        losses=trained.losses if trained else {},
        costs=_costs(candidate, trained) if trained else {},
        system=system_facts() | (trained.environment if trained else {}),
    )


def _costs(candidate: Path, trained: TrainingLog) -> dict[str, float]:
    return {
        "steps": trained.steps,
        "trained_images": trained.images,
        "cpu_seconds": trained.cpu_seconds,
        "kept_bytes": sum(path.stat().st_size for path in candidate.iterdir()),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def system_facts() -> dict[str, str]:
    """What the night ran on."""
    device = default_device()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpus": str(os.cpu_count()),
    }


def packaging(candidate: Path, place: Path) -> Packaging:
    """How a snapshot becomes a model that loads anywhere, with a program that is written below `place`."""
    return Packaging(
        script=Path(serving.__path__[0]) / "served.py",
        program=write_program(candidate, place / PROGRAM),
        # The versions that it was judged with. A build for one kind of accelerator (2.15.0+cu130) is not what another
        # machine needs.
        requirements=tuple(f"{name}=={version(name).split('+')[0]}" for name in REQUIREMENTS),
        dense=_dense(candidate),
    )


def check_reload(
    run: str, candidate: Path, evaluation: Path, archive: Archive, registry: Registry, at_most: int
) -> None:
    """Let the model that was logged with `run` answer in a fresh process. Raises `DamagedState` if it differs."""
    judged = judged_answers(candidate, evaluation, archive, at_most)
    uri, dense = registry.model_uri(run), _dense(candidate)
    reload_and_compare(uri, registry.address, judged.images, judged.labels, judged.confidences, dense)


def _dense(candidate: Path) -> bool:
    """Whether a snapshot's network answers at each pixel."""
    return Description.read(candidate / DESCRIPTION).recipe.dense


@dataclass(frozen=True)
class JudgedAnswers:
    """What the candidate said of n test images when it was evaluated."""

    images: NDArray[np.uint8]
    """[n, H, W, C]"""
    labels: list[str]
    confidences: NDArray[np.float64]
    """[n] probability of the label, 0..1."""


def judged_answers(candidate: Path, evaluation: Path, archive: Archive, at_most: int) -> JudgedAnswers:
    """At most so many of the evaluation's test images, evenly over all experiences, and the candidate's answers."""
    snapshot = Snapshot.read(candidate / "snapshot.json")
    assert snapshot.spec is not None
    answers = parquet.read_table(evaluation / OUTCOMES, columns=["experience", "answer", "confidence"]).to_pandas()
    chosen = np.linspace(0, len(answers) - 1, min(at_most, len(answers))).round().astype(np.int64)
    images = []
    for experience in snapshot.experiences:
        rows = np.flatnonzero((answers["experience"] == experience.batch).to_numpy())
        dataset = archive.dataset([experience], "test", snapshot.classes, snapshot.spec)
        images.append(dataset.images(torch.from_numpy(np.searchsorted(rows, np.intersect1d(rows, chosen)))).numpy())
    sample = answers.iloc[chosen]
    return JudgedAnswers(
        images=np.concatenate(images).transpose(0, 2, 3, 1),
        labels=sample["answer"].tolist(),
        confidences=sample["confidence"].to_numpy(dtype=np.float64),
    )
