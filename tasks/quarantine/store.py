"""Quarantine: what did not pass keeps its place in the archive and gets a report that a person can act on.

An entry is a report in `quarantine/<batch>/`, of one of three kinds. A batch that was not admitted is held back as long
as its entry is there. So is one that is held: no check stops it, but a person does, or validation could not look at it.
Of an admitted batch, the images that were refused have an entry; it holds nothing back. Where the images are never
depends on this: each lies in its batch, and nowhere else.

An entry goes when a person releases or drops it. What still waits is read from the archive: a batch that a correction
replaces has no entry, and of an admitted one only those refused images wait that no correction holds.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from adapters.datastore import DataStore
from dataset.batches import list_batches, read_batch
from dataset.rows import read_rows
from records.batch import Batch
from records.errors import WrongInput
from records.experience import Report
from records.formatting import listed, plain
from records.record import Record
from records.rows import packed
from reports.quarantine.page import NOTHING, report_html
from tasks.ingest.apart import kept_aside
from tasks.workspace.workspace import Workspace

SHOWN = 5
"""Names that a message holds."""


class Entry(Record):
    """An entry of the quarantine in few words."""

    batch: str
    source: str
    """Name of what the batch was delivered as."""
    arrived: date
    images: int
    refused: int
    """Images that a check refused and that no correction holds."""
    admitted: bool
    """True if only the refused images are here, and the others are learned."""
    summary: str
    page: str
    """Path of the report for people."""
    held: bool = False
    """True if it waits although no check stops it."""
    not_taken: int = 0
    """Files of the delivery that are in no batch: links, files that came late. They lie beside the report."""


def file(workspace: Workspace, reports: Iterable[Report], why: str = "") -> None:
    """Make the entries that these reports ask for, and take away those of batches that have nothing to hold back.

    `why`: what a person said who asked for the reports; kept in Git's history.
    """
    batches = _batches(workspace)
    for report in reports:
        if _waiting(workspace, report, batches):
            set_aside(workspace, report)
        else:
            take_away(workspace, report.batch, f"Release {report.batch} {why}".strip())


def set_aside(workspace: Workspace, report: Report) -> Path:
    """Write the report as a page and as JSON, and commit both to Git; gives the page's path."""
    page, record = files_of(workspace, report.batch)
    page.parent.mkdir(parents=True, exist_ok=True)
    # What no check has looked at is not opened here either: it may be what validation did not survive.
    from tasks.quarantine.report_data import data  # It decodes pictures, and so loads PyTorch.

    shown = data(workspace, report) if report.checks else NOTHING
    page.write_text(report_html(report, shown), encoding="utf-8")
    # Last, since the entry is there from the moment that its record is.
    report.write(record)
    what = f"Set aside images of {report.batch}" if report.admitted else f"Quarantine {report.batch}"
    what = f"Hold {report.batch} by {report.held.by}" if report.held else what
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
    """The reports of all entries, of both kinds, oldest batch first, less what was corrected since."""
    batches = _batches(workspace)
    found = (Report.read(path) for path in sorted(workspace.quarantine.glob("*/report.json")))
    return tuple(left for report in found if (left := _waiting(workspace, report, batches)))


def waits(workspace: Workspace, batch_id: str) -> Report | None:
    """The report of a batch's entry, less what was corrected since; None if nothing of the batch waits."""
    record = files_of(workspace, batch_id)[1]
    return _waiting(workspace, Report.read(record), _batches(workspace)) if record.exists() else None


def corrected_rows(workspace: Workspace, batch_id: str) -> frozenset[int]:
    """Rows of a batch that corrections beside it hold; one that replaces it is not asked."""
    return _corrected_rows(workspace, batch_id, _batches(workspace))


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
            held=report.held is not None,
            not_taken=not_taken(workspace, report.batch),
        )
        for report in reports(workspace)
    )


def find(workspace: Workspace, beginning: str, further: Sequence[str] = ()) -> Report:
    """The report of the entry whose batch's id begins so; of a batch `further` the quarantine a report without checks.

    Raises `WrongInput` if there is none or more than one, and says what became of a batch that was corrected.
    """
    known = {report.batch: report for report in reports(workspace)}
    names = sorted({*known, *further})
    fitting = [name for name in names if name.startswith(beginning)] if beginning else []
    fitting = [name for name in fitting if name == beginning] or fitting
    if len(fitting) == 1:
        return known.get(fitting[0]) or _unasked(read_batch(workspace.batches, fitting[0]))
    if fitting:
        raise WrongInput(f"'{beginning}' fits {listed(fitting, SHOWN)}. Write more of the id.")
    for batch in _batches(workspace) if beginning else ():
        if batch.corrects.startswith(beginning):
            raise WrongInput(f"{batch.corrects} is not in quarantine any more: it was corrected as {batch.id}.")
    known_ids = f"there {'is' if len(names) == 1 else 'are'} {listed(names, SHOWN)}" if names else "it is empty"
    where = "quarantine or pending" if further else "quarantine"
    raise WrongInput(f"Nothing in {where} begins with '{beginning}'; {known_ids}.")


def _unasked(batch: Batch) -> Report:
    return Report(
        batch=batch.id, source=plain(batch.source), images=batch.images, admitted=True, summary="Pending.", checks=()
    )


def pending(workspace: Workspace, learned: Sequence[str]) -> tuple[str, ...]:
    """Ids of the batches that are neither learned, nor held back, nor replaced by a correction, oldest first."""
    replaced = {batch.corrects for batch in _batches(workspace) if batch.replaces}
    held = {report.batch for report in reports(workspace) if not report.admitted}
    away = {*learned, *held, *replaced}
    return tuple(batch for batch in list_batches(workspace.batches) if batch not in away)


def finish(workspace: Workspace) -> tuple[str, ...]:
    """Finish what a killed command left half done; gives the batches whose correction had not been committed."""
    store, batches = DataStore(workspace.root), _batches(workspace)
    corrected = {batch.corrects for batch in batches} - {""}
    waiting = {batch for batch in corrected if waits(workspace, batch)}
    left = [path for batch in sorted(corrected - waiting) for path in files_of(workspace, batch) if path.exists()]
    # Where an entry stays beside its correction, only the archive tells that the correction is new.
    known = store.committed_data() if waiting else None
    new = {
        batch.corrects
        for batch in batches
        if batch.corrects in waiting and known is not None and f"batches/{batch.id}/batch.json" not in known
    }
    # No more than entries: workspaces of before let Git see why files of a delivery were kept, with names of strangers.
    entries_only = workspace.quarantine / "*" / "report.*"
    changed = store.uncommitted("data.dvc", entries_only)
    if left or new or changed:
        store.restore_missing()
        store.commit_data("Finish what was interrupted", gone=left)
        if store.uncommitted(entries_only):
            store.commit_files([entries_only], "Finish what was interrupted")
    finished = corrected & {*new, *(path.parent.name for path in left), *(Path(name).parent.name for name in changed)}
    for batch in finished:
        clear(workspace, batch)
    return tuple(sorted(finished))


def not_taken(workspace: Workspace, batch_id: str) -> int:
    """How many files lie beside the entry that were delivered with the batch and are not in it."""
    return sum(len(files) for _, _, files in os.walk(kept_aside(workspace, batch_id)))


def all_not_taken(workspace: Workspace) -> dict[str, int]:
    """The same of every batch of which there are any, whether it has an entry or not."""
    batches = sorted(path.parent.name for path in workspace.quarantine.glob("*/files"))
    return {batch: number for batch in batches if (number := not_taken(workspace, batch))}


def files_of(workspace: Workspace, batch_id: str) -> tuple[Path, Path]:
    """Page and record of an entry, which need not be there."""
    folder = workspace.quarantine / batch_id
    return folder / "report.html", folder / "report.json"


def _waiting(workspace: Workspace, report: Report, batches: Sequence[Batch]) -> Report | None:
    """A report less what corrections hold; None if that is all of it, or if there is nothing to hold back."""
    if any(batch.corrects == report.batch and batch.replaces for batch in batches):
        return None
    if not report.admitted:
        return report
    left = _without(report, _corrected_rows(workspace, report.batch, batches))
    return left if left.faulty_rows() else None


def _corrected_rows(workspace: Workspace, batch_id: str, batches: Sequence[Batch]) -> frozenset[int]:
    corrections = [batch for batch in batches if batch.corrects == batch_id and not batch.replaces]
    original = next((batch for batch in batches if batch.id == batch_id), None)
    if not corrections or original is None:
        return frozenset()
    held = Counter(place for batch in corrections for place in _places(workspace, batch))
    paths = Counter(path for path, _ in held.elements())
    # A manifest may name a path twice, and a correction may have changed the label: rows of the same label go first.
    places = sorted(enumerate(_places(workspace, original)), key=lambda place: place[1] not in held)
    rows = set()
    for row, (path, _) in places:
        if paths[path]:
            paths[path] -= 1
            rows.add(row)
    return frozenset(rows)


def _places(workspace: Workspace, batch: Batch) -> list[tuple[str, str]]:
    """Path and label of each image, by row."""
    rows = read_rows(workspace.batches, batch, range(batch.images), ("path", "label"))
    return [(str(row["path"]), str(row["label"])) for _, row in rows]


def _without(report: Report, rows: frozenset[int]) -> Report:
    """The report less what it says of these rows."""
    refused = len(rows.intersection(report.faulty_rows()))
    if not refused:
        return report
    checks = []
    for check in report.checks:
        kept = tuple(violation for violation in check.violations if violation.row not in rows)
        known = check.all_rows()
        left = [row for row in known if row not in rows]
        found = check.found - (len(known) - len(left))
        passed = check.passed or (check.found > 0 and found == 0)
        remaining = {"violations": kept, "rows": packed(left) if len(kept) < len(left) else ""}
        checks.append(check.model_copy(update={**remaining, "found": found, "passed": passed}))
    summary = f"{report.summary} {refused} of the refused {'is' if refused == 1 else 'are'} corrected since."
    return report.model_copy(update={"checks": tuple(checks), "summary": summary})


def _batches(workspace: Workspace) -> tuple[Batch, ...]:
    return tuple(read_batch(workspace.batches, name) for name in list_batches(workspace.batches))
