"""Quarantine: what did not pass keeps its place in the archive and gets a report that a person can act on.

An entry is a report in `quarantine/<batch>/`, of one of two kinds. A batch that was not admitted is held back as long
as its entry is there. Of an admitted batch, the images that were refused have an entry; it holds nothing back. Where
the images are never depends on this: each lies in its batch, and nowhere else.

An entry goes when a person releases or drops it. Once a correction of the batch is in the archive, there is none.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from adapters.datastore import DataStore
from records.batch import Batch
from records.errors import WrongInput
from records.experience import Report
from records.record import Record
from tasks.gate.exhibits import exhibits
from tasks.gate.report import report_html
from tasks.intake.ingest import list_batches, read_batch
from tasks.workspace import Workspace


class Entry(Record):
    """An entry of the quarantine in few words."""

    batch: str
    source: str
    """Name of what the batch was delivered as."""
    arrived: date
    images: int
    refused: int
    """Images that a check refused."""
    admitted: bool
    """True if only the refused images are here, and the others are learned."""
    summary: str
    page: str
    """Path of the report for people."""


def file(workspace: Workspace, reports: Iterable[Report], why: str = "") -> None:
    """Make the entries that these reports ask for, and take away those of batches that have nothing to hold back.

    `why`: what a person said who asked for the reports; kept in Git's history.
    """
    corrected = {batch.corrects for batch in _batches(workspace)}
    for report in reports:
        if report.batch not in corrected and (not report.admitted or report.faulty_rows()):
            set_aside(workspace, report)
        else:
            take_away(workspace, report.batch, f"Release {report.batch} {why}".strip())


def set_aside(workspace: Workspace, report: Report) -> Path:
    """Write the report as a page and as JSON, and commit both to Git; gives the page's path."""
    page, record = files_of(workspace, report.batch)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(report_html(report, exhibits(workspace, report)), encoding="utf-8")
    # Last, since the entry is there from the moment that its record is.
    report.write(record)
    what = f"Set aside images of {report.batch}" if report.admitted else f"Quarantine {report.batch}"
    DataStore(workspace.root).commit_files([page, record], what)
    return page


def take_away(workspace: Workspace, batch_id: str, message: str) -> None:
    """Remove an entry, if there is one, and commit that."""
    files = [path for path in files_of(workspace, batch_id) if path.exists()]
    if files:
        store = DataStore(workspace.root)
        known = store.tracked(files)
        for path in files:
            path.unlink()
        store.commit_files(known, message)
        clear(workspace, batch_id)


def clear(workspace: Workspace, batch_id: str) -> None:
    """Remove the entry's folder, if nothing is left in it."""
    folder = workspace.quarantine / batch_id
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def reports(workspace: Workspace) -> tuple[Report, ...]:
    """The reports of all entries, of both kinds, oldest batch first."""
    corrected = {batch.corrects for batch in _batches(workspace)}
    found = (Report.read(path) for path in sorted(workspace.quarantine.glob("*/report.json")))
    return tuple(report for report in found if report.batch not in corrected)


def entries(workspace: Workspace) -> tuple[Entry, ...]:
    """All entries, oldest batch first."""
    return tuple(
        Entry(
            batch=report.batch,
            source=report.source,
            arrived=date.fromisoformat(report.batch[:10]),
            images=report.images,
            refused=len(report.faulty_rows()),
            admitted=report.admitted,
            summary=report.summary,
            page=str(files_of(workspace, report.batch)[0]),
        )
        for report in reports(workspace)
    )


def find(workspace: Workspace, beginning: str) -> Report:
    """The report of the entry whose batch's id begins so.

    Raises `WrongInput` if there is none or more than one, and says what became of a batch that was corrected.
    """
    known = reports(workspace)
    fitting = [report for report in known if report.batch.startswith(beginning)] if beginning else []
    exact = [report for report in fitting if report.batch == beginning]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    if fitting:
        raise WrongInput(f"'{beginning}' fits {_listed([r.batch for r in fitting])}. Write more of the id.")
    for batch in _batches(workspace) if beginning else ():
        if batch.corrects.startswith(beginning):
            raise WrongInput(f"{batch.corrects} is not in quarantine any more: it was corrected as {batch.id}.")
    there = (
        f"there {'is' if len(known) == 1 else 'are'} {_listed([r.batch for r in known])}" if known else "it is empty"
    )
    raise WrongInput(f"Nothing in quarantine begins with '{beginning}'; {there}.")


def pending(workspace: Workspace, learned: Sequence[str]) -> tuple[str, ...]:
    """Ids of the batches that are neither learned, nor held back, nor replaced by a correction, oldest first."""
    replaced = {batch.corrects for batch in _batches(workspace) if batch.replaces}
    held = {report.batch for report in reports(workspace) if not report.admitted}
    away = {*learned, *held, *replaced}
    return tuple(batch for batch in list_batches(workspace.batches) if batch not in away)


def finish(workspace: Workspace) -> tuple[str, ...]:
    """Finish what a killed command left half done; gives the batches whose correction had not been committed."""
    store = DataStore(workspace.root)
    corrected = {batch.corrects for batch in _batches(workspace)} - {""}
    left = [path for batch in sorted(corrected) for path in files_of(workspace, batch) if path.exists()]
    changed = store.uncommitted("data.dvc", workspace.quarantine)
    if left or changed:
        store.restore_missing()
        store.commit_data("Finish what was interrupted", gone=left)
        if store.uncommitted(workspace.quarantine):
            store.commit_files([workspace.quarantine], "Finish what was interrupted")
    finished = corrected & {*(path.parent.name for path in left), *(Path(name).parent.name for name in changed)}
    for batch in finished:
        clear(workspace, batch)
    return tuple(sorted(finished))


def files_of(workspace: Workspace, batch_id: str) -> tuple[Path, Path]:
    """Page and record of an entry, which need not be there."""
    folder = workspace.quarantine / batch_id
    return folder / "report.html", folder / "report.json"


def _batches(workspace: Workspace) -> tuple[Batch, ...]:
    return tuple(read_batch(workspace.batches, name) for name in list_batches(workspace.batches))


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
