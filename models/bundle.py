"""What a version knows, in one piece: its network, its memory, and the record of how it came to be.

At rest it is a folder: `snapshot.json` names the files beside it and their digests. Version 0 is a bundle too, of
nothing: a fresh network without classes and an empty memory, so the first night is a night like any other.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import load_file, save_file

from models.catalogue import NetworkRecipe
from models.learner import Learner
from models.memory import Memory
from models.strategies.base import State
from records.errors import DamagedState
from records.experience import Experience
from records.snapshot import FRESH, InputSpec, Snapshot

STATE = "strategy.safetensors"


@dataclass(frozen=True)
class ModelBundle:
    """A snapshot, awake."""

    snapshot: Snapshot
    learner: Learner
    memory: Memory
    state: State = field(default_factory=dict)
    """What the strategy keeps for the next night."""

    @classmethod
    def of_nothing(cls, recipe: NetworkRecipe, spec: InputSpec, seed: int) -> "ModelBundle":
        """Version 0."""
        return cls(FRESH, Learner.fresh(recipe, spec, (), seed), Memory.empty())

    @classmethod
    def read(cls, folder: Path) -> "ModelBundle":
        """Read a snapshot's folder. Raises `DamagedState` if a file is missing or not the one that was written."""
        snapshot = Snapshot.read(folder / "snapshot.json")
        for name, digest in snapshot.files.items():
            path = folder / name
            if not path.exists() or sha256(path) != digest:
                raise DamagedState(f"{path} is missing or was changed after it was written; fetch the version again.")
        state = load_file(folder / STATE) if STATE in snapshot.files else {}
        return cls(snapshot, Learner.read(folder), Memory.read(folder / "memory.parquet"), state)

    def write(self, folder: Path) -> Snapshot:
        """Write everything below `folder`, which is emptied first, and give the record with the files' digests."""
        if folder.exists():
            shutil.rmtree(folder)
        self.learner.write(folder)
        self.memory.write(folder / "memory.parquet")
        if self.state:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in self.state.items()}, folder / STATE)
        files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
        snapshot = self.snapshot.model_copy(update={"files": files})
        snapshot.write(folder / "snapshot.json")
        return snapshot

    def after(
        self,
        learner: Learner,
        memory: Memory,
        state: State,
        experiences: Sequence[Experience],
        identity: str,
        parent: int,
    ) -> "ModelBundle":
        """This bundle, and what `experiences` added to it: the candidate's."""
        snapshot = Snapshot(
            identity=identity,
            parent=parent,
            classes=learner.classes,
            experiences=(*self.snapshot.experiences, *experiences),
            known_at={**self.snapshot.known_at, **{e.batch: len(learner.classes) for e in experiences}},
            spec=learner.spec,
        )
        return ModelBundle(snapshot, learner, memory, state)


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
