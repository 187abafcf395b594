"""Writing a stream's batches again: the archive that `data.dvc` names, made from scratch with the same digest."""

import tempfile
from pathlib import Path

from adapters.datastore import DataStore
from dataset.streams.catalogue import StreamName, deliveries
from records.batch import Batch
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import workers
from tasks.params.params import read_params
from tasks.workspace.workspace import Workspace


def restore(workspace: Workspace, stream: StreamName, root: Path | None = None) -> tuple[Batch, ...]:
    """Ingest every good delivery of a stream, each on its day, and tell DVC. Batches that are there stay."""
    params = read_params(workspace.params).ingest
    batches = []
    with tempfile.TemporaryDirectory() as scratch:
        for delivery in deliveries(stream, root, params.test_share):
            if delivery.pure:
                folder = Path(scratch) / delivery.name
                delivery.write(folder, lambda done, total: None)
                staging = workspace.state / "staging"
                key = workspace.split_key
                arrival = ingest(workspace.batches, staging, folder, delivery.day, params, workers(), key=key)
                batches.append(arrival.batch)
    DataStore(workspace.root).commit_data(f"Write the stream {stream}")
    return tuple(batches)
