"""Registered versions as a workspace sees them: its registry, and what was fetched of it to this machine."""

import contextlib
import os
import tempfile
from pathlib import Path

from adapters.registry import Registry
from records.snapshot import FRESH, Snapshot
from tasks.params.sections import RegisterParams, read_section
from tasks.workspace.workspace import Workspace


def registry_of(workspace: Workspace) -> Registry:
    """The model registry that this workspace registers in."""
    model = read_section(workspace.params, "register", RegisterParams).model
    return Registry(workspace.mlflow_address, workspace.mlflow_artifacts, model)


def start_of(workspace: Workspace) -> int:
    """The version that the next night learns on top of, 0 for none. Raises `WrongInput` if the registry is not the one
    that the last night learned from."""
    return registry_of(workspace).start(workspace.run_file().parent)


def version_folder(workspace: Workspace, version: int) -> Path | None:
    """Where a registered version lies on this machine, fetched if it is not there yet; None for version 0."""
    if version == 0:
        return None
    folder = registry_of(workspace).fetch(version, workspace.versions)
    with contextlib.suppress(OSError):  # Who may only read says nothing of when it was used.
        os.utime(folder)
    return folder


def forget_versions(workspace: Workspace, since: int) -> None:
    """Remove fetched versions, and what a kill left of one, that nothing has used since then, in nanoseconds since
    1970; the registry has them."""
    for folder in [] if not workspace.versions.exists() else list(workspace.versions.iterdir()):
        if folder.stat().st_mtime_ns < since:
            # In one motion: half a version must not be taken for a whole one.
            with tempfile.TemporaryDirectory(prefix=".old.", dir=workspace.versions) as place:
                folder.rename(Path(place) / folder.name)


def snapshot_of(workspace: Workspace, version: int) -> Snapshot:
    """The record of a registered version, or of version 0."""
    folder = version_folder(workspace, version)
    return FRESH if folder is None else Snapshot.read(folder / "snapshot" / "snapshot.json")
