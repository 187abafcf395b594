"""The inbox: deliveries that wait. Each is taken on its own; a bad one never stops the good ones.

`readiness.py` says when a delivery may be taken. Then its images become a batch, the batch is committed, and only then
is the delivery removed, and of it only what the batch provably holds: files that have their size and have not changed
since the ingestion began, or have the same SHA-256. Whatever else is there, links, files that were too large, files
that came or were replaced meanwhile, is kept in `quarantine/<batch>/files`. A tar or Parquet file is removed if every
image in it is in the batch.

A folder first gets a hidden name, in one motion, that says which batch holds it and when the ingestion began; a night
that is killed while it takes the folder apart leaves that name, and the next night goes on. A file first moves into
such a folder, whose name also says which file was read (its inode and the time of its content), because moving a file
counts as a change of it.
"""

import errno
import filecmp
import hashlib
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath

import pyarrow.parquet as parquet

from adapters.datastore import DataStore
from records.batch import Arrival
from records.errors import UnreadableBatch, WrongInput
from records.experience import Report
from tasks.intake.deliveries import MANIFESTS, READY, TABLE, TAR, printable
from tasks.intake.ingest import IngestParams, count_tests, ingest
from tasks.intake.manifests import names_in
from tasks.intake.readiness import marker
from tasks.intake.samples import CLASSES
from tasks.intake.tables import holds_images
from tasks.workspace import Workspace, workers

log = logging.getLogger("retain")
Progress = Callable[[int, int], None]

TAKEN = ".taken-"
"""A folder that is in the archive gets this name, which no delivery has, with its batch and the time."""
TAKEN_NAME = re.compile(re.escape(TAKEN) + r"(\d{4}-\d{2}-\d{2}-[0-9a-f]{8})(?:-(\d+))?(?:-file-(\d+)-(-?\d+))?")
JUNK = ("thumbs.db", "desktop.ini", ".ds_store", ".directory")
"""What operating systems leave in folders, in lower case; nobody sent it."""
APPLE_DOUBLE = bytes.fromhex("00051607")
"""How a `._name` begins in which a Macintosh keeps what another file system has no place for (RFC 1740)."""
TICKS = 5000
"""How often the disk is asked for a later time before the delivery is read."""


def waiting(workspace: Workspace) -> tuple[Path, ...]:
    """Deliveries in the inbox, by name, without hidden files. Nothing is changed: a night may be at work."""
    if not workspace.inbox.is_dir():
        return ()
    names = (path for path in workspace.inbox.iterdir() if not path.name.startswith("."))
    return tuple(sorted(path for path in names if not path.name.endswith(f".{READY}")))


def named_beside(workspace: Workspace) -> dict[Path, str]:
    """Deliveries that a manifest beside them in the inbox names, each with what it waits for, as `Unready` tells it.

    Who sent the manifest means its labels, not those of the folders: neither is taken until that is mended.
    """
    deliveries = waiting(workspace)
    named: dict[Path, str] = {}
    for manifest in filter(_is_lone_manifest, deliveries):
        firsts = {path.parts[0] for path in map(PurePosixPath, _names_of(manifest)) if path.parts}
        sentence = (
            f"is named by {printable(manifest.name)} beside it; it is taken once that lies in it as "
            f"manifest{manifest.suffix.lower()}, or is taken away."
        )
        named |= {delivery: sentence for delivery in deliveries if delivery.name in firsts and delivery != manifest}
    return named


def _is_lone_manifest(delivery: Path) -> bool:
    suffix = delivery.suffix.lower()
    if suffix not in (".csv", TABLE) or delivery.is_symlink() or not delivery.is_file():
        return False
    if suffix == ".csv":
        return True
    with delivery.open("rb") as file:
        return not holds_images(file)


def _names_of(manifest: Path) -> Iterator[str]:
    with manifest.open("rb") as content:
        yield from names_in(content, manifest)


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


def _refuse_lone_manifest(delivery: Path) -> None:
    if _is_lone_manifest(delivery) and next(_names_of(delivery), None) is not None:
        raise UnreadableBatch(
            f"{printable(delivery.name)} names files beside it, and a folder in the inbox is a delivery of its own: "
            f"put the manifest into the folder as manifest{delivery.suffix.lower()}, with paths relative to it."
        )


def finish_taking(workspace: Workspace) -> dict[str, str]:
    """Take apart what an interrupted night left half taken. What cannot be removed stays: its name and the reason."""
    left = {}
    for taken in sorted(workspace.inbox.glob(f"{TAKEN}*")):
        try:
            _take_apart(workspace, taken)
        except OSError as error:
            left[taken.name] = _not_removed(taken, error)
    return left


def _not_removed(delivery: Path, error: OSError) -> str:
    at = printable(str(error.filename or delivery))
    return f"it is in the archive, but {at} cannot be removed: {error.strerror or error}. Remove it by hand."


def take(
    workspace: Workspace,
    delivery: Path,
    arrived: date,
    params: IngestParams,
    progress: Progress = lambda done, total: None,
) -> Arrival:
    """Make a batch of a delivery, commit it, and only then empty that place of the inbox.

    A delivery outside the inbox stays where it is; what cannot be removed from the inbox stays with a warning. Whether
    it is ready is not asked. Raises `WrongInput` for the inbox itself, a folder that holds it, or the archive;
    `UnreadableBatch` if it cannot become a batch. Then nothing was taken and it stays, too.
    """
    store = DataStore(workspace.root)
    store.restore_missing()
    in_inbox = delivery.parent == workspace.inbox
    if in_inbox:
        _refuse_lone_manifest(delivery)
    else:
        _refuse_own(workspace, delivery)
    began = _time_of_disk(workspace.inbox) if in_inbox else 0
    staging, key, held = workspace.state / "staging", workspace.split_key, _tests_held(workspace, params.enough_test)
    arrival = ingest(workspace.batches, staging, delivery, arrived, params, workers(), progress, key, held)
    # Also for a batch that was known: a night that was killed may have written but not committed it.
    store.commit_data(f"Ingest {arrival.batch.id}: {arrival.batch.images} images")
    if in_inbox:
        try:
            _empty(workspace, delivery, arrival.batch.id, began)
        except OSError as error:
            # The batch is whole all the same; every night tries again and says so.
            log.warning("%s stays in the inbox: %s", printable(delivery.name), _not_removed(delivery, error))
    return arrival


def _tests_held(workspace: Workspace, enough: int) -> int:
    """Test images of the batches that are not held back, `enough` at most."""
    entries = workspace.quarantine.glob("*/report.json")
    held_back = [path.parent.name for path in entries if not Report.read(path).admitted]
    return count_tests(workspace.batches, held_back, enough)


def kept_aside(workspace: Workspace, batch_id: str) -> Path:
    """Where lies what was delivered with a batch and is not in it; such a folder need not exist."""
    return workspace.quarantine / batch_id / "files"


def _time_of_disk(folder: Path) -> int:
    """The time as the disk writes it, in nanoseconds; what changes from now on is not older, what changed before is.

    A disk's clock stands still for some milliseconds (a kernel tick) and is not the system's on a network.
    """
    probe = folder / f".{os.getpid()}"
    try:
        probe.touch()
        first = now = probe.stat().st_ctime_ns
        for _ in range(TICKS):
            if now != first:
                break
            probe.touch()
            now = probe.stat().st_ctime_ns
        return now
    finally:
        probe.unlink(missing_ok=True)


def _empty(workspace: Workspace, delivery: Path, batch_id: str, began: int) -> None:
    if delivery.is_dir():
        taken = delivery.with_name(f"{TAKEN}{batch_id}-{began}")
        delivery.rename(taken)
        _take_apart(workspace, taken)
        return
    # First, lest it is taken for that of the next delivery of this name.
    marker(delivery).unlink(missing_ok=True)
    status = delivery.lstat()
    # No file has the inode 0.
    inode = status.st_ino if status.st_ctime_ns < began else 0
    taken = delivery.with_name(f"{TAKEN}{batch_id}-{began}-file-{inode}-{status.st_mtime_ns}")
    taken.mkdir(exist_ok=True)
    delivery.rename(taken / delivery.name)
    _take_apart(workspace, taken)


def _take_apart(workspace: Workspace, taken: Path) -> None:
    """Remove what the batch holds; what it does not hold is kept in quarantine: nothing that was sent is lost."""
    name = TAKEN_NAME.fullmatch(taken.name)
    if name is None:
        return
    batch_id, began = name[1], int(name[2] or 0)
    lone = (int(name[3]), int(name[4])) if name[3] else None
    held = _Held.of(workspace, batch_id)
    _make_writable(taken)
    for place, files in _deepest_first(taken):
        for path in files:
            if _is_whole(path, held, lone) if lone else _is_held(path, path.relative_to(taken), held, began):
                path.unlink()
            else:
                _set_aside(workspace, batch_id, path, path.relative_to(taken))
        try:
            place.rmdir()
        except OSError as error:
            # Something came meanwhile: the next night looks at it.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _make_writable(folder: Path) -> None:
    """A copy of a read-only folder is read-only, and nothing can be taken out of it."""
    for place in _folders(folder):
        mode = place.lstat().st_mode
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            place.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)


def _folders(folder: Path) -> Iterator[Path]:
    """A folder and all below it; each is told before it is looked into."""
    yield folder
    for place, names, _ in os.walk(folder):
        yield from (path for path in (Path(place, name) for name in names) if not path.is_symlink())


def _deepest_first(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Every folder below one and at last itself, with all in it that is no folder."""
    for place, folders, files in os.walk(folder, topdown=False):
        here = Path(place)
        yield here, sorted(here / name for name in (*files, *(f for f in folders if (here / f).is_symlink())))


def _set_aside(workspace: Workspace, batch_id: str, path: Path, name: Path) -> None:
    target = _real_folder(kept_aside(workspace, batch_id), name.parent) / name.name
    number = 0
    while os.path.lexists(target):
        if _is_copy(path, target):
            path.unlink()
            return
        number += 1
        target = target.with_name(f"{name.name}~{number}")
    log.warning(
        "%s is not in %s as it is now; it is kept in %s", printable(name.as_posix()), batch_id, printable(str(target))
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)


def _real_folder(folder: Path, name: Path) -> Path:
    """Where a folder of leftovers is kept: where a file or link of another delivery has its name, with a number."""
    for part in name.parts:
        place, number = folder / part, 0
        while os.path.lexists(place) and (place.is_symlink() or not place.is_dir()):
            number += 1
            place = folder / f"{part}~{number}"
        folder = place
    return folder


def _is_copy(path: Path, other: Path) -> bool:
    if path.is_symlink() or other.is_symlink():
        return path.is_symlink() and other.is_symlink() and path.readlink() == other.readlink()
    return path.is_file() and other.is_file() and filecmp.cmp(path, other, shallow=False)


@dataclass(frozen=True)
class _Held:
    """What of a delivery is in a batch."""

    files: dict[str, tuple[str, int]]
    """Path to SHA-256 and size, of images whose bytes are in the batch."""
    shards: dict[str, bool]
    """Tar or Parquet file in the delivery to whether all of its images are in the batch. A delivery that is itself a
    Parquet file has no name."""
    complete: bool
    """Whether the bytes of every image are in the batch."""

    @classmethod
    def of(cls, workspace: Workspace, batch_id: str) -> "_Held":
        """From the shards of the batch."""
        files: dict[str, tuple[str, int]] = {}
        shards: dict[str, bool] = {}
        complete = True
        for shard in sorted((workspace.batches / batch_id).glob("*.parquet")):
            rows = parquet.read_table(shard, columns=["path", "sha256", "bytes"]).to_pydict()
            for path, digest, size in zip(rows["path"], rows["sha256"], rows["bytes"], strict=True):
                complete &= bool(digest)
                if digest:
                    files[PurePosixPath(path).as_posix()] = digest, size
                name, inside, _ = path.partition("#")
                if inside and (not name or Path(name).suffix.lower() in (TAR, TABLE)):
                    shards[name] = shards.get(name, True) and bool(digest)
        return cls(files, shards, complete)

    def has_all_of(self, shard: str) -> bool:
        """Whether every image of a tar or Parquet file is in the batch."""
        return self.shards.get(shard, False)


def _is_held(path: Path, name: Path, held: _Held, began: int) -> bool:
    """Whether a file of a delivery may go: the batch holds it as it is now, or it is no part of what was sent."""
    shown = printable(name.as_posix())
    if name.name.lower() in JUNK or shown == READY or (name.name.startswith("._") and _is_apple_double(path)):
        return True
    if shown in held.files:
        return _is_same(path, *held.files[shown], began)
    if not _untouched(path, began):
        return False
    if shown in MANIFESTS:
        return held.shards.get("", True)
    return held.has_all_of(shown) or (shown == CLASSES and bool(held.shards))


def _is_apple_double(path: Path) -> bool:
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    with path.open("rb") as file:
        return file.read(len(APPLE_DOUBLE)) == APPLE_DOUBLE


def _is_whole(path: Path, held: _Held, lone: tuple[int, int]) -> bool:
    """Whether a delivery that is one file may go; `lone` is the inode and time of content of the one that was read."""
    status = path.lstat()
    return held.complete and (status.st_ino, status.st_mtime_ns) == lone


def _is_same(path: Path, digest: str, size: int, began: int) -> bool:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        return False
    if _untouched(path, began):
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def _untouched(path: Path, began: int) -> bool:
    """Whether a file is the one that was read. Unlike the time of its content, that of its change cannot be set."""
    return path.lstat().st_ctime_ns < began
