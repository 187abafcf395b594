"""The inbox: deliveries that wait. Each is taken on its own; a bad one never stops the good ones."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow.parquet as parquet

from adapters.datastore import DataStore
from records.batch import Arrival
from tasks.ingest import IngestParams, ingest
from tasks.workspace import Workspace, workers

Progress = Callable[[int, int], None]


def waiting(workspace: Workspace) -> tuple[Path, ...]:
    """Deliveries in the inbox, by name; hidden files are not deliveries."""
    if not workspace.inbox.is_dir():
        return ()
    return tuple(sorted(path for path in workspace.inbox.iterdir() if not path.name.startswith(".")))


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
    arrival = ingest(workspace.batches, workspace.state / "staging", delivery, arrived, params, workers(), progress)
    # Also for a batch that was known: a night that was killed may have written but not committed it.
    DataStore(workspace.root).commit_data(f"Ingest {arrival.batch.id}: {arrival.batch.images} images")
    if delivery.parent == workspace.inbox:
        _empty(workspace, delivery, arrival.batch.id)
    return arrival


def _empty(workspace: Workspace, delivery: Path, batch_id: str) -> None:
    kept_out = _files_not_taken(workspace, batch_id)
    if kept_out and delivery.is_dir():
        # Files that are in no batch, because they were too large to read or no ordinary files, are not thrown away.
        aside = workspace.quarantine / batch_id / "files"
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(delivery, aside)
    elif delivery.is_dir() and not delivery.is_symlink():
        shutil.rmtree(delivery)
    else:
        delivery.unlink()


def _files_not_taken(workspace: Workspace, batch_id: str) -> bool:
    shards = sorted((workspace.batches / batch_id).glob("*.parquet"))
    return any(parquet.read_table(shard, columns=["encoded"])["encoded"].null_count for shard in shards)
