"""The inbox: deliveries that wait. Each is taken on its own; a bad one never stops the good ones.

`readiness.py` says when a delivery may be taken. Then it is moved out of its sender's reach, its images become a batch,
the batch is committed, and only then is of the delivery removed what the batch provably holds: images that have the
same SHA-256 as one of it, and tars, Parquet files and manifests that nobody touched and of which everything is in it.
Whatever else is there is kept in `quarantine/<batch>/files`. How is in `taking.py`.
"""

import logging
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path, PurePosixPath

from adapters.datastore import DataStore
from dataset.batches import count_tests
from dataset.deliveries.delivery import TABLE
from dataset.deliveries.folders import READY
from dataset.deliveries.handles import Tree
from dataset.deliveries.items import Delivery, printable
from dataset.deliveries.manifests import names_in
from dataset.deliveries.tables import holds_images
from dataset.processes import Limits, one_by_one
from records.batch import Arrival
from records.errors import RetainError, Unavailable, UnreadableBatch, WrongInput
from records.experience import Report
from records.formatting import plain
from records.pace import Progress
from tasks.ingest import taking
from tasks.ingest.ingest import ingest_delivery, listed
from tasks.ingest.readiness import is_folder
from tasks.ingest.settings import IngestParams, workers
from tasks.ingest.taking import Taking
from tasks.workspace.workspace import Workspace

log = logging.getLogger("retain")

PATIENCE = 24 * 3600.0
"""Seconds that a delivery waits for a manifest beside it that names it: whoever laid that there may never mend it."""
LOOKING = Limits(memory=2**30, seconds=60)
"""What a look at a manifest that lies in the inbox may cost."""


def waiting(workspace: Workspace) -> tuple[Path, ...]:
    """Deliveries in the inbox, by name, without hidden files, and those that a killed night moved out of it.

    Nothing is changed: a night may be at work.
    """
    found = list(taking.interrupted(workspace))
    if workspace.inbox.is_dir():
        names = (path for path in workspace.inbox.iterdir() if not path.name.startswith("."))
        found += [path for path in names if not path.name.endswith(f".{READY}") or is_folder(path)]
    return tuple(sorted(found, key=lambda path: path.name))


def named_beside(workspace: Workspace, now: float | None = None) -> dict[Path, str]:
    """Deliveries that a manifest beside them in the inbox names, each with what it waits for, as `Unready` tells it.

    Who sent the manifest means its labels, not those of the folders: for a day they wait for that to be mended, and no
    longer, as it may be a stranger's. `now`: seconds since 1970.
    """
    deliveries, now = waiting(workspace), time.time() if now is None else now
    named: dict[Path, str] = {}
    for manifest, firsts in _named_in(deliveries).items():
        sentence = (
            f"is named by {printable(manifest.name)} beside it; it is taken once that lies in it as "
            f"manifest{manifest.suffix.lower()}, or is taken away, or after a day, as it is."
        )
        named_by_it = (delivery for delivery in deliveries if delivery.name in firsts and delivery != manifest)
        named |= {delivery: sentence for delivery in named_by_it if now - _came(delivery) < PATIENCE}
    return named


def _came(delivery: Path) -> float:
    """When it got its name in the inbox, or the last name in it; nobody can set that time."""
    try:
        return delivery.lstat().st_ctime
    except OSError:
        return 0.0


def _named_in(deliveries: Sequence[Path]) -> dict[Path, frozenset[str]]:
    """What those deliveries that are manifests name beside them: the first folder, or the file, of each path.

    Another process looks: libraries that read a stranger's file may crash. What it does not survive names nothing.
    """
    manifests = [delivery for delivery in deliveries if delivery.suffix.lower() in (".csv", TABLE)]
    nothing: frozenset[str] = frozenset()
    names = one_by_one(_names_of, manifests, lambda part, why: nothing, LOOKING) if manifests else ()
    return dict(zip(manifests, names, strict=True))


def _names_of(delivery: Path) -> frozenset[str]:
    try:
        with Tree.at(delivery.parent.resolve()) as folder, folder.reading(delivery.name) as content:
            if delivery.suffix.lower() == TABLE and holds_images(content):
                return frozenset()
            content.seek(0)
            paths = map(PurePosixPath, names_in(content, delivery))
            # A row without a path names something, too: there is no other delivery of that name.
            return frozenset(path.parts[0] if path.parts else "" for path in paths)
    except OSError:
        return frozenset()


def _refuse_own(workspace: Workspace, delivery: Path) -> None:
    source, inbox = delivery.resolve(), workspace.inbox.resolve()
    if inbox.is_relative_to(source):
        what = "is the inbox" if source == inbox else "holds the inbox"
        raise WrongInput(
            f"{printable(str(delivery))} {what}, and what lies in the inbox needs no ingest: run `retain night`."
        )
    if source.is_relative_to(workspace.batches.parent.resolve()):
        raise WrongInput(
            f"{printable(str(delivery))} lies in the archive, and what lies there was ingested already. "
            "Name a delivery outside the workspace."
        )


def _refuse_misnamed(delivery: Path) -> None:
    if delivery.name.endswith(f".{READY}"):
        raise UnreadableBatch(
            f"{printable(delivery.name)} is a folder, and a name that ends in .{READY} is that of the empty file that "
            "says that what lies beside it is whole. Give the folder another name."
        )


def _refuse_lone_manifest(delivery: Path) -> None:
    if _named_in([delivery]).get(delivery):
        raise UnreadableBatch(
            f"{printable(delivery.name)} names files beside it, and a folder in the inbox is a delivery of its own: "
            f"put the manifest into the folder as manifest{delivery.suffix.lower()}, with paths relative to it."
        )


def finish_taking(workspace: Workspace) -> dict[str, str]:
    """Go on with what an interrupted night left half taken. What cannot be removed stays: its name and the reason."""
    return taking.finish(workspace)


def take(
    workspace: Workspace,
    delivery: Path,
    arrived: date,
    params: IngestParams,
    progress: Progress = lambda done, total: None,
) -> Arrival:
    """Make a batch of a delivery, commit it, and only then empty that place of the inbox.

    A delivery outside the inbox stays where it is. One in the inbox that cannot be moved is read where it lies and
    stays, with a warning. Whether it is ready is not asked. Raises `WrongInput` for the inbox itself, a folder that
    holds it, or the archive; `UnreadableBatch` if it cannot become a batch; `Unavailable` if the disk is full or
    something outside does not answer. Then it stays, too, and the sentence says how far it came.
    """
    DataStore(workspace.root).restore_missing()
    if delivery.parent != workspace.inbox:
        _refuse_own(workspace, delivery)
        return _archive(workspace, listed(delivery, params.caps), arrived, params, progress)
    _refuse_misnamed(delivery)
    _refuse_lone_manifest(delivery)
    try:
        moved = taking.moved_out(workspace, delivery)
    except OSError as error:
        if error.errno in taking.FULL:
            raise Unavailable(
                f"{taking.full(workspace.root)} Nothing of {printable(delivery.name)} was taken."
            ) from error
        reason = error.strerror or error
        log.warning("%s stays in the inbox: it cannot be moved out of it (%s)", printable(delivery.name), reason)
        return _archive(workspace, listed(delivery, params.caps), arrived, params, progress)
    with moved:
        try:
            return _take(workspace, moved, arrived, params, progress)
        except RetainError:
            raise
        except Exception as error:  # whatever a delivery brings about, it concerns that delivery alone
            reason = plain(str(error) or "no more is known", most=200)
            raise UnreadableBatch(
                f"{printable(delivery.name)} could not be taken ({type(error).__name__}: {reason}). Take it away, or "
                "deliver it in another form."
            ) from error


def _take(workspace: Workspace, moved: Taking, arrived: date, params: IngestParams, progress: Progress) -> Arrival:
    """Take what was moved out of the inbox."""
    try:
        found = listed(moved.delivery, params.caps)
    except UnreadableBatch as refused:
        # A person knows it by its place in the inbox, where it will be again.
        place, inbox = printable(str(moved.delivery.parent)), printable(str(workspace.inbox))
        raise UnreadableBatch(str(refused).replace(place, inbox)) from refused
    if not moved.is_same(found):
        raise UnreadableBatch(f"{found.name} was exchanged while it was looked at.")
    arrival = _archive(workspace, found, arrived, params, progress)
    try:
        moved.committed(arrival.batch.id, found)
        moved.take_apart()
    except OSError as error:
        # The batch is whole all the same; every night tries again and says so.
        log.warning("%s stays: %s", found.name, taking.not_removed(found.name, error))
    return arrival


def _archive(
    workspace: Workspace, delivery: Delivery, arrived: date, params: IngestParams, progress: Progress
) -> Arrival:
    """Write and commit the batch. Raises `Unavailable` with how far it came."""
    staging = workspace.state / "staging"
    key, held = workspace.split_key, _tests_held(workspace, params.enough_test_images)
    arrival = ingest_delivery(workspace.batches, staging, delivery, arrived, params, workers(), progress, key, held)
    batch = arrival.batch
    try:
        # Also for a batch that was known: a night that was killed may have written but not committed it.
        DataStore(workspace.root).commit_data(f"Ingest {batch.id}: {batch.images} images")
    except Unavailable as error:
        raise Unavailable(
            f"{error} {delivery.name} is written as {batch.id} but not committed; it stays where it is until it is "
            "taken again, which goes on from there."
        ) from error
    return arrival


def _tests_held(workspace: Workspace, enough: int) -> int:
    """Test images of the batches that are not held back, `enough` at most."""
    entries = workspace.quarantine.glob("*/report.json")
    held_back = [path.parent.name for path in entries if not Report.read(path).admitted]
    return count_tests(workspace.batches, held_back, enough)
