"""What a person decides about an entry of the quarantine: ask again, correct, give up. A pending batch can wait or go.

Whatever a command was doing when it was killed: either the entry is still there, or the correction is in the archive
and `finish` commits it. So the same command again, or the next night, goes on.
"""

import shutil
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from adapters.datastore import DataStore
from dataset.batches import list_batches, read_batch
from dataset.deliveries.items import label_of, label_problem
from dataset.rows import read_rows
from records.batch import BACKGROUND, Batch, classes_of
from records.errors import WrongInput
from records.experience import Check, Hold, Report
from records.formatting import count_of, listed, plain
from records.record import Record
from records.registration import RunFile
from tasks.ingest.corrections import Correction, correct
from tasks.params.params import read_params
from tasks.quarantine import store
from tasks.quarantine.export import read_files, rows_of
from tasks.stages import run_validate
from tasks.validate.checks.files import FAULTS
from tasks.workspace.versions import registry_of, snapshot_of, start_of
from tasks.workspace.workspace import Workspace

SHOWN = 20
"""Names of a kind in a message."""
REFUSED = "refused"
"""What `leave_out` says for all images that a check refused."""


class ReleaseRequest(Record):
    """What a person wants to be otherwise. All empty: ask every check again."""

    relabel: tuple[tuple[str, str], ...] = ()
    """Old label, new label."""
    leave_out: tuple[str, ...] = ()
    """`refused`, or names of checks: the images that they complain of stay behind."""
    accept: tuple[str, ...] = ()
    """Names of checks that only warn from now on."""
    manifest: Path | None = None
    """An edited manifest of `write_files`."""
    by: str = ""
    note: str = ""

    def corrects(self) -> bool:
        """True if anything is to be otherwise, so that it takes a new batch."""
        return bool(self.relabel or self.leave_out or self.accept or self.manifest)

    def words(self) -> str:
        """Who releases, and why, on one line."""
        return plain(": ".join(part for part in (f"by {self.by}" if self.by else "", self.note) if part))


class Released(Record):
    """What validation says after a release."""

    entry: str
    """The batch whose entry it was."""
    batch: str
    """The batch that was validated: the same, or a correction."""
    report: Report
    waiting: int = 0
    """Refused images of the entry that are not in the correction: of an admitted batch they go on waiting."""
    finished: bool = False
    """True if an earlier, interrupted command had made the correction, so that this one only finished it."""


class Dropped(Record):
    """What was given up."""

    batch: str
    left: bool
    """True if the batch left the archive; else its entry alone went, and its other images stay learned."""
    commit: str
    """The commit that still has it."""
    kept: bool = False
    """True if DVC's cache keeps its files, whatever is cleared; else the remote has them."""
    back: str = ""
    """If the batch was a correction: what it corrected, whose entry is there again."""
    not_taken: int = 0
    """Files of the delivery that are in no batch. They stay where they lie."""


def release(workspace: Workspace, beginning: str, wish: ReleaseRequest, day: date) -> Released:
    """Validate again, the batch itself or, with corrections, a new one that is filed under `day`.

    Raises `WrongInput` if there is no such entry, or if a correction fits nothing in it; then nothing has changed.
    """
    DataStore(workspace.root).restore_missing()
    finished = [batch for batch in store.finish(workspace) if beginning and batch.startswith(beginning)]
    champion = start_of(workspace)
    if len(finished) == 1:
        made = [b for b in list_batches(workspace.batches) if _corrects(workspace, b) == finished[0]][-1]
        return Released(entry=finished[0], batch=made, report=_ask(workspace, made, champion), finished=True)
    report = store.find(workspace, beginning)
    learned = any(e.batch == report.batch for e in snapshot_of(workspace, champion).experiences)
    batch, waiting = report.batch, 0
    # What is learned is not validated again; the images that it left behind are a batch of their own.
    if wish.corrects() or learned:
        batch = _correct(workspace, report, wish, day).id
        left = store.waits(workspace, report.batch)
        waiting = len(left.faulty_rows()) if left else 0
    result = _ask(workspace, batch, champion, wish.words())
    return Released(entry=report.batch, batch=batch, report=result, waiting=waiting)


def hold(workspace: Workspace, beginning: str, by: str, note: str) -> Report:
    """Let a pending batch wait until somebody releases it; no other waits for it. Gives what its entry says.

    Raises `WrongInput` if there is no such batch, or if it waits already or is learned.
    """
    store.finish(workspace)
    report = store.find(workspace, beginning, _pending(workspace))
    if report.held is not None:
        raise WrongInput(f"{report.batch} waits already. {report.held.sentence()}")
    if not report.admitted:
        raise WrongInput(f"{report.batch} is in quarantine, and no night learns it until it is released.")
    if report.batch not in _pending(workspace):
        raise WrongInput(f"{report.batch} is learned. `retain rollback` goes back to a version that does not know it.")
    hold_record = Hold(by=plain(by), why=plain(note))
    held = report.model_copy(update={"admitted": False, "held": hold_record, "summary": hold_record.sentence()})
    store.set_aside(workspace, held)
    return held


def to_drop(workspace: Workspace, beginning: str) -> Report:
    """What `drop` would give up: an entry of the quarantine, or a pending batch, whose report then has no checks.

    Raises `WrongInput` if there is no such batch, or if a version that a person may go back to has learned it.
    """
    known = beginning in {report.batch for report in store.reports(workspace)}
    report = store.find(workspace, beginning, () if known else _pending(workspace))
    if report.held is not None or not report.checks:
        for version in registry_of(workspace).versions():
            if report.batch in version.run.batches:
                raise WrongInput(
                    f"v{version.number} has learned {report.batch}, and somebody may go back to that version, so the "
                    f"batch stays. To let it wait: `retain quarantine hold {report.batch}`."
                )
    return report


def drop(workspace: Workspace, beginning: str) -> Dropped:
    """Give an entry up, or a pending batch. What was not admitted, or is pending, leaves the archive's head; history
    keeps it.

    If it was itself a correction, what it corrected is in quarantine again, as before. Raises what `to_drop` does.
    """
    data = DataStore(workspace.root)
    data.restore_missing()
    store.finish(workspace)
    report = to_drop(workspace, beginning)
    head, files = data.head(), store.files_of(workspace, report.batch)
    aside = store.not_taken(workspace, report.batch)
    if report.admitted and files[1].exists():
        store.take_away(workspace, report.batch, f"Drop what {report.batch} may not teach")
        return Dropped(batch=report.batch, left=False, commit=head, not_taken=aside)
    folder = workspace.batches / report.batch
    before = _corrects(workspace, report.batch) if folder.exists() else ""
    back = _bring_back(workspace, before, report.batch) if before else ()
    kept = data.keep_dropped(report.batch, f"batches/{report.batch}")
    _remove(folder, workspace.state / "dropped")
    data.commit_data(f"Drop {report.batch}", gone=files, back=(*back, *([kept] if kept else [])))
    store.clear(workspace, report.batch)
    original = before if before and store.waits(workspace, before) else ""
    return Dropped(batch=report.batch, left=True, commit=head, kept=kept is not None, back=original, not_taken=aside)


def _pending(workspace: Workspace) -> tuple[str, ...]:
    learned = snapshot_of(workspace, start_of(workspace)).experiences
    return store.pending(workspace, [experience.batch for experience in learned])


def _bring_back(workspace: Workspace, batch_id: str, correction: str) -> tuple[Path, ...]:
    """The entry of a batch whose `correction` goes, unless it is there, or the batch is gone or replaced by another."""
    others = [read_batch(workspace.batches, name) for name in list_batches(workspace.batches) if name != correction]
    replaced = any(batch.corrects == batch_id and batch.replaces for batch in others)
    gone = not (workspace.batches / batch_id).exists()
    files = store.files_of(workspace, batch_id)
    restored = any(path.exists() for path in files)
    return () if replaced or gone or restored else DataStore(workspace.root).bring_back(files)


def _corrects(workspace: Workspace, batch_id: str) -> str:
    return read_batch(workspace.batches, batch_id).corrects


def _remove(folder: Path, aside: Path) -> None:
    """In one motion out of the archive, then for good."""
    if folder.exists():
        aside.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        shutil.rmtree(aside)


def _ask(workspace: Workspace, batch_id: str, champion: int, why: str = "") -> Report:
    """What the whole gate says of a batch now; entries are as it says."""
    _, (report,) = run_validate(workspace, RunFile(parent=champion, batches=(batch_id,)), keep=False)
    store.file(workspace, (report,), why)
    return report


def _inherited(original: Batch) -> tuple[str, ...]:
    """What was accepted before, but for classes: those that a person said yes to were others."""
    return tuple(name for name in original.accepted if name != "class-unconfirmed")


def _correct(workspace: Workspace, report: Report, wish: ReleaseRequest, day: date) -> Batch:
    original = read_batch(workspace.batches, report.batch)
    correction = Correction(
        labels=_chosen(workspace, report, original, wish),
        replaces=not report.admitted,
        accepted=tuple(sorted({*_inherited(original), *(_acceptable(report, name) for name in wish.accept)})),
        note=wish.words(),
        renamed=_given(wish) if original.annotation else {},
    )
    params = read_params(workspace.params).ingest
    batch = correct(workspace.batches, workspace.state / "staging", original, correction, day, params.shard_bytes)
    gone = () if store.waits(workspace, original.id) else store.files_of(workspace, original.id)
    DataStore(workspace.root).commit_data(f"Correct {original.id} as {batch.id}", gone=gone)
    store.clear(workspace, original.id)
    return batch


def _chosen(workspace: Workspace, report: Report, original: Batch, wish: ReleaseRequest) -> dict[int, str]:
    """Row to label, for the images that are released."""
    taken = store.corrected_rows(workspace, original.id)
    found = read_rows(workspace.batches, original, rows_of(report, taken=taken), ("label",))
    labels = {number: str(row["label"]) for number, row in found}
    if wish.manifest is not None:
        listed = read_files(wish.manifest, report, taken)
        changed = {label for row, label in listed.labels.items() if label != labels[row]}
        covered = set(rows_of(report, listed.every))
        labels = {row: label for row, label in labels.items() if row not in covered} | dict(listed.labels)
        _refuse_unusable(changed)
    given = _given(wish)
    _refuse_unusable({*given.values()})
    if original.annotation:
        _refuse_background(given)
        _refuse_absent({*given}, {*classes_of(labels.values(), original.annotation)})
        given = {}  # What a mask shows is renamed in it, and its label follows.
    _refuse_absent({*given}, set(labels.values()))
    away = {row for name in wish.leave_out for row in _rows_violating(report, name)}
    return {row: given.get(label, label) for row, label in sorted(labels.items()) if row not in away}


def _given(wish: ReleaseRequest) -> dict[str, str]:
    """Old label to new one."""
    return {label_of(old): label_of(new) for old, new in wish.relabel}


def _refuse_background(given: Mapping[str, str]) -> None:
    if BACKGROUND in {*given, *given.values()}:
        raise WrongInput("The background of masks is no class that can be renamed. Correct the masks and deliver them.")


def _refuse_unusable(labels: set[str]) -> None:
    for label in sorted(labels):
        problem, detail = label_problem(label)
        if problem:
            raise WrongInput(f"{label!r} cannot be the name of a class: {detail}.")


def _refuse_absent(wanted: set[str], present: set[str]) -> None:
    if absent := sorted(wanted - present):
        labels = listed([plain(label) for label in sorted(present)], SHOWN)
        raise WrongInput(f"No image to release is labelled {absent[0]!r}; labels there: {labels}.")


def _rows_violating(report: Report, name: str) -> Sequence[int]:
    """Rows that stay behind."""
    if name == REFUSED:
        return report.faulty_rows()
    check = _failed(report, name)
    rows = check.all_rows()
    if not rows:
        raise WrongInput(f"`{name}` complains of the batch as a whole, so there are no images of it to leave out.")
    if check.found > len(rows):
        raise WrongInput(
            f"`{name}` warns of {count_of(check.found)}, of which the report names {len(rows)}. Write all "
            f"images out with `retain quarantine show {report.batch} --files DIR --all` and edit their manifest."
        )
    return rows


def _acceptable(report: Report, name: str) -> str:
    check = _failed(report, name)
    if not check.severity.startswith("refuse"):
        raise WrongInput(f"`{name}` refuses nothing, so there is nothing to accept.")
    if name in {fault.name for fault in FAULTS}:
        instead = "Give those another label" if name == "label-unusable" else f"Leave them out: --leave-out {name}"
        raise WrongInput(f"`{name}` cannot be accepted: nothing could be learned from such images. {instead}.")
    return name


def _failed(report: Report, name: str) -> Check:
    failed = {check.name: check for check in report.checks if not check.passed}
    if name not in failed:
        those = f"those are: {listed([*failed], SHOWN)}" if failed else "none does"
        raise WrongInput(f"`{name}` is no check that complains of {report.batch}; {those}.")
    return failed[name]
