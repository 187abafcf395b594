"""Update: the parent's bundle and the pending experiences in, the candidate's bundle out, at a fixed budget."""

import copy
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from dataset.archive import Archive, ImageDataset
from models.bundle import ModelBundle
from models.checkpoint import Checkpoint
from models.compute import Compute
from models.learner import Learner
from models.memory import Memory
from models.strategies.base import State, Strategy, TrainingContext, TrainingData, frozen
from models.training import train
from records.experience import Experience
from records.pace import Progress
from records.snapshot import InputSpec, Snapshot
from records.training import TrainingLog
from tasks.update.settings import MemoryParams, UpdateParams

log = logging.getLogger("retain")


def update(
    parent: Path | None,
    version: int,
    experiences: Sequence[Experience],
    archive: Archive,
    params: UpdateParams,
    identity: str,
    out: Path,
    progress: Progress = lambda done, total: None,
    unfinished: Path | None = None,
    key: str = "",
) -> tuple[Snapshot, TrainingLog]:
    """Learn all `experiences` together on top of registered `version`, whose folder is `parent`; write to `out`.

    `parent` is None for version 0. `identity` names the night in the record. The same parent, experiences and
    parameters give the same files, byte for byte, on the same kind of CPU. What is reached is saved to the file
    `unfinished` now and then; an update that finds it there goes on from it, and ends with the same files. One that
    was saved with another device, version of torch or number of threads is not gone on from. `key` is the workspace's,
    see `models.memory.rank`.
    """
    compute = Compute.here(params.precision)
    checkpoint = Checkpoint(unfinished, identity, compute.environment()) if unfinished else None
    if checkpoint is not None and compute.rank == 0:
        _say_if_made_elsewhere(checkpoint)
    bundle, trained = learn(parent, version, experiences, archive, params, identity, compute, checkpoint, progress, key)
    if compute.rank == 0:
        bundle = replace(bundle, snapshot=bundle.write(out))
        if checkpoint is not None:
            checkpoint.clear()
    return bundle.snapshot, trained


def _say_if_made_elsewhere(checkpoint: Checkpoint) -> None:
    differences = checkpoint.made_elsewhere().items()
    if differences:
        changes = ", ".join(f"{name} {now} instead of {then}" for name, (then, now) in differences)
        log.warning(
            "The update starts anew from its parent: an interrupted one was computed with something else (%s).", changes
        )


def learn(
    parent: Path | None,
    version: int,
    experiences: Sequence[Experience],
    archive: Archive,
    params: UpdateParams,
    identity: str,
    compute: Compute,
    checkpoint: Checkpoint | None = None,
    progress: Progress = lambda done, total: None,
    key: str = "",
) -> tuple[ModelBundle, TrainingLog]:
    """What `update` does, without writing the result."""
    seed = _seed(version, experiences, params.seed)
    known = ModelBundle.read(parent) if parent else _nothing(experiences, archive, params, seed)
    student = _student(known.learner, experiences, params, seed)
    log.info(seen_size(student.spec, first=not known.learner.classes), extra={"lasting": True})
    past = _past(known, student, archive)
    remembered = _remembered(known, past, params.memory, key)
    data = _training_data(student, experiences, archive, past, remembered, params.memory)
    if not known.learner.classes or params.strategy.starts_over:
        _adapt(student, data.new, seed)
    context = TrainingContext(
        network=student.network,
        parent=frozen(known.learner.network) if known.learner.classes else None,
        problem=params.problem,
        state=_left_by(params.strategy, known),
        seed=seed,
    )
    trained = train(context, params.strategy, data, params.plan, compute, checkpoint, progress)
    if params.correction is not None:
        params.correction.apply(context, data)
    memory = _remember(remembered, context, params.strategy, data, params.memory, key)
    if params.strategy.remembers_outputs:
        unanswered = memory.unanswered().recall(archive, student.classes, student.spec)
        if unanswered is not None:
            memory = memory.answered(student.outputs(unanswered.all_images(), compute.device).numpy())
    state = {f"{params.strategy.name}/{name}": tensor for name, tensor in context.state.items()}
    return known.after(student, memory, state, experiences, identity, version), trained


def seen_size(spec: InputSpec, first: bool) -> str:
    """What the network sees, in a sentence; `first` if there is no version yet."""
    size = f"The network sees images of {spec.height} x {spec.width} pixels"
    return f"{size}; `update.image.size` changes it" + ("." if first else ", but only before the first version.")


def _seed(version: int, experiences: Sequence[Experience], seed: int) -> int:
    # From what is learned on top of what, not from how: so strategies are compared on the same draws.
    parts = [str(seed), str(version), *(e.fingerprint() for e in experiences)]
    return int.from_bytes(hashlib.sha256("\n".join(parts).encode()).digest()[:4], "big")


def _nothing(experiences: Sequence[Experience], archive: Archive, params: UpdateParams, seed: int) -> ModelBundle:
    spec = archive.input_spec(experiences, params.image.size, params.image.channels)
    return ModelBundle.of_nothing(params.network, spec, seed)


def _student(parent: Learner, experiences: Sequence[Experience], params: UpdateParams, seed: int) -> Learner:
    if parent.classes:
        params.check_parent(parent.recipe)
    if params.strategy.starts_over:
        student = Learner.fresh(params.network, parent.spec, parent.classes, seed)
    else:
        student = copy.deepcopy(parent)
    names = [name for experience in experiences for name in experience.classes]
    student.add_classes(names, seed, params.problem.always)
    return student


def _left_by(strategy: Strategy, known: ModelBundle) -> State:
    """What the same strategy kept on the night before; another's is of no use to it, an older one is out of date."""
    if strategy.starts_over:
        return {}
    mine = f"{strategy.name}/"
    return {name.removeprefix(mine): tensor for name, tensor in known.state.items() if name.startswith(mine)}


def _past(known: ModelBundle, student: Learner, archive: Archive) -> Callable[[], ImageDataset | None]:
    experiences = known.snapshot.experiences
    if not experiences:
        return lambda: None
    return partial(archive.dataset, experiences, "train", student.classes, student.spec)


def _remembered(known: ModelBundle, past: Callable[[], ImageDataset | None], params: MemoryParams, key: str) -> Memory:
    """The parent's memory at the size that is asked for; ranked anew from the archive if a smaller one was kept."""
    images = sum(experience.train for experience in known.snapshot.experiences)
    dataset = past() if len(known.memory) < min(params.bound, images) else None
    ranked = known.memory if dataset is None else Memory.of(dataset, params.seed, key=key).like(known.memory)
    return ranked.keep(params.bound, params.share)


def _remember(
    remembered: Memory, context: TrainingContext, strategy: Strategy, data: TrainingData, params: MemoryParams, key: str
) -> Memory:
    """What the past left, and of the new images those selected for memory."""
    if params.bound == 0:
        return Memory.empty()
    new = Memory.of(data.new, params.seed, strategy.importance(context, data.new), key)
    return remembered.merge(new).keep(params.bound, params.share)


def _adapt(student: Learner, new: ImageDataset, seed: int) -> None:
    """Let the body of a fresh network take what it needs from the first images; at most 2,000 are looked at."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(new), generator=generator)[:2000]
    student.network.adapt(student.recipe, new.images(chosen), seed)


def _training_data(
    student: Learner,
    experiences: Sequence[Experience],
    archive: Archive,
    past: Callable[[], ImageDataset | None],
    remembered: Memory,
    params: MemoryParams,
) -> TrainingData:
    new = archive.dataset(experiences, "train", student.classes, student.spec)
    recall = past if params.size == "all" else partial(remembered.recall, archive, student.classes, student.spec)
    return TrainingData(new, recall, past)
