"""Approve: a person makes a candidate that waits, or was refused, the champion."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from adapters.registry import Registry
from dataset.archive import Archive
from dataset.batches import list_batches
from records.errors import WrongInput
from records.registration import Approval, Registration
from records.snapshot import Snapshot
from tasks.params.params import params_of
from tasks.params.sections import RegisterParams
from tasks.quarantine.store import reports
from tasks.register import check_reload
from tasks.workspace.local_data import archive_of
from tasks.workspace.versions import registry_of
from tasks.workspace.workspace import Workspace


def approve_run(workspace: Workspace, run: str, by: str, note: str, overrule: bool) -> Registration:
    """Make the candidate of `run` the champion on a person's word.

    Raises `WrongInput` if there is no such run, if it was refused and `overrule` is not set, or if what it learned is
    held or was dropped since.
    """
    registry = registry_of(workspace)
    batches = registry.run(run).batches
    _refuse_what_is_held(workspace, batches)
    if not overrule:
        registry.approvable(run)  # Raises first if the run was refused: that matters more than what became of its data.
    for batch in set(batches).difference(list_batches(workspace.batches)):
        raise WrongInput(f"The run learned {batch}, which was dropped since, so it cannot be let in any more.")
    return approve(run, by, note, archive_of(workspace), registry, params_of(workspace).register_, overrule)


def _refuse_what_is_held(workspace: Workspace, batches: Sequence[str]) -> None:
    held = {report.batch: report.held for report in reports(workspace) if report.held is not None}
    for batch in batches:
        if batch in held:
            raise WrongInput(
                f"The run learned {batch}, which waits. {held[batch].sentence()} "
                f"Release it first: `retain quarantine release {batch}`."
            )


def approve(
    run: str, by: str, note: str, archive: Archive, registry: Registry, params: RegisterParams, overrule: bool = False
) -> Registration:
    """Make a run's candidate the champion because the person `by` says so; `note` says why.

    `run` is a run id or its beginning. `overrule` is needed for a refused run, and for one whose parent is no longer
    the champion. Raises `WrongInput` without it, and for a run that does not exist or is registered already. What the
    gate did not accept is granted: later nights are compared with this version, see `Approval`.
    """
    facts, granted = registry.approvable(run, overrule), None
    with tempfile.TemporaryDirectory() as place:
        folder = registry.fetch_run(facts.run, Path(place) / "night")
        check_reload(facts.run, folder / "snapshot", folder / "evaluation", archive, registry, params.reload_images)
        if facts.decision != "accept":
            classes = len(Snapshot.read(folder / "snapshot" / "snapshot.json").classes)
            granted = Approval(by=by, note=note, classes=classes)
    registry.approve(facts.run, by, note, overrule, granted)
    return registry.registration(facts.run)
