"""What makes two nights the same night: parent version, experiences, parameters and code."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import dataset
import models
import records
import tasks
from dataset.split import keyed_hash
from records.experience import Experience
from tasks.params.params import Params


def identity(parent: int, experiences: Sequence[Experience], params: Params, key: str = "") -> str:
    """64 hex digits. A night that was killed and started again has the same, and finishes the same run.

    `key` is the workspace's: with another one other images are split off and remembered.
    """
    parts = [str(parent), *sorted(e.fingerprint() for e in experiences), params.fingerprint(), code_version()]
    parts += [keyed_hash("identity", key)] if key else []
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@cache
def code_version() -> str:
    """SHA-256 over the source of records, dataset, models and tasks: what a candidate is made with."""
    digest = hashlib.sha256()
    for package in (records, dataset, models, tasks):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
