"""The workspace's images on this machine: fetched from the DVC remote, read, decoded, and kept decoded for a while."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pandas as pd
import pyarrow.parquet as parquet

from adapters.datastore import DataStore
from dataset.archive import Archive
from dataset.batches import read_batch
from dataset.shards import KNOWN, KNOWN_OF_MASKS
from records.batch import Batch
from records.errors import WrongInput
from tasks.workspace.versions import forget_versions
from tasks.workspace.workspace import Workspace

KEPT_VERSIONS = 24 * 3600 * 10**9
"""Nanoseconds for which a version that was fetched stays on this machine after it was used."""


def archive_of(workspace: Workspace) -> Archive:
    """The images of this workspace."""
    return Archive(workspace.batches, workspace.cache)


@contextmanager
def bounded_cache(workspace: Workspace) -> Iterator[None]:
    """Whatever is done in here, afterwards the cache of decoded images is within RETAIN_CACHE_GB, or holds only what
    was used in here, and of fetched versions only the latest used are left. Raises `WrongInput` beforehand if that is
    no number."""
    limit, began = cache_limit(), time.time_ns()
    try:
        yield
    finally:
        archive_of(workspace).trim(limit, began)
        forget_versions(workspace, began - KEPT_VERSIONS)


def cache_limit() -> int:
    """RETAIN_CACHE_GB, or 20, in bytes. Raises `WrongInput` for what is no number."""
    given = os.environ.get("RETAIN_CACHE_GB") or "20"
    try:
        limit = float(given)
    except ValueError:
        limit = math.nan
    if not 0 <= limit < math.inf:
        raise WrongInput(f"RETAIN_CACHE_GB is `{given}`; it must be a number of gigabytes, 0 or more.")
    return int(limit * 10**9)


def facts_of(workspace: Workspace, batch_id: str, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Facts of every image of a batch, row by row; of its mask too, if it comes with one. `columns`: these alone."""
    batch: Batch = read_batch(workspace.batches, batch_id)
    columns = columns or (*KNOWN, *(KNOWN_OF_MASKS if batch.annotation else ()))
    shards = [workspace.batches / batch_id / shard.name for shard in batch.shards]
    tables: list[pd.DataFrame] = [parquet.read_table(shard, columns=list(columns)).to_pandas() for shard in shards]
    return pd.concat(tables, ignore_index=True)


def fetch_data(workspace: Workspace, batches: Sequence[str]) -> None:
    """Fetch from the DVC remote the batches that are not on this machine."""
    if any(not (workspace.batches / batch / "batch.json").exists() for batch in batches):
        DataStore(workspace.root).pull(["data"])
