"""The inbox: deliveries that wait. Each is taken on its own; a bad one never stops the good ones."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pyarrow.parquet as parquet

from adapters.datastore import DataStore
from records.batch import Arrival
from tasks.intake.deliveries import MANIFESTS, printable
from tasks.intake.ingest import IngestParams, ingest
from tasks.workspace import Workspace, workers

log = logging.getLogger("retain")
Progress = Callable[[int, int], None]

TAKEN = ".taken-"
"""A delivery that is in the archive gets this name, which no delivery has, in one motion; then it is taken apart."""


def waiting(workspace: Workspace) -> tuple[Path, ...]:
    """Deliveries in the inbox, by name, without hidden files. Nothing is changed: a night may be at work."""
    if not workspace.inbox.is_dir():
        return ()
    return tuple(sorted(path for path in workspace.inbox.iterdir() if not path.name.startswith(".")))


def finish_taking(workspace: Workspace) -> None:
    """Take apart what an interrupted night left half taken."""
    for taken in workspace.inbox.glob(f"{TAKEN}*"):
        _take_apart(workspace, taken)


def take(
    workspace: Workspace,
    delivery: Path,
    arrived: date,
    params: IngestParams,
    progress: Progress = lambda done, total: None,
) -> Arrival:
    """Make a batch of a delivery, commit it, and only then empty that place of the inbox.

    A delivery outside the inbox stays where it is. Raises `UnreadableBatch` if it cannot become a batch; then nothing
    was taken and it stays, too.
    """
    store = DataStore(workspace.root)
    store.restore_missing()
    arrival = ingest(workspace.batches, workspace.state / "staging", delivery, arrived, params, workers(), progress)
    # Also for a batch that was known: a night that was killed may have written but not committed it.
    store.commit_data(f"Ingest {arrival.batch.id}: {arrival.batch.images} images")
    if delivery.parent == workspace.inbox:
        _empty(workspace, delivery, arrival.batch.id)
    return arrival


def _empty(workspace: Workspace, delivery: Path, batch_id: str) -> None:
    if not delivery.is_dir():
        delivery.unlink()
        return
    taken = delivery.with_name(f"{TAKEN}{batch_id}")
    if taken.exists():
        _take_apart(workspace, taken)
    delivery.rename(taken)
    _take_apart(workspace, taken)


def _take_apart(workspace: Workspace, taken: Path) -> None:
    """Remove what the batch holds; what it does not hold is kept in quarantine: nothing that was sent is lost."""
    batch_id = taken.name.removeprefix(TAKEN)
    held = _paths_held(workspace, batch_id)
    aside = workspace.quarantine / batch_id / "files"
    for path in _files(taken):
        name = path.relative_to(taken)
        if name.as_posix() in held or name.name.startswith(".") or name.as_posix() in MANIFESTS:
            continue
        log.warning("%s was not taken into %s; it is kept in %s", printable(name.as_posix()), batch_id, aside)
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, aside / name)
    shutil.rmtree(taken)


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        here = Path(place)
        yield from (here / name for name in files)
        yield from (here / name for name in folders if (here / name).is_symlink())


def _paths_held(workspace: Workspace, batch_id: str) -> set[str]:
    """Paths of the delivery whose bytes are in the batch."""
    held: set[str] = set()
    for shard in sorted((workspace.batches / batch_id).glob("*.parquet")):
        rows = parquet.read_table(shard, columns=["path", "sha256"]).to_pydict()
        held.update(path for path, digest in zip(rows["path"], rows["sha256"], strict=True) if digest)
    return held
