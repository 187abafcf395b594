"""A delivery whose batch is committed is taken apart: what the batch holds is removed, whatever else there is is kept.

Nobody is trusted to leave it alone meanwhile: a sender may hold handles of folders in it. So everything is opened by
handles, no link is ever followed, and each file is first moved into a folder that nobody else has a handle of, and then
removed, if it is still the one that was looked at. An image goes if its SHA-256 is that of the image in the batch; a
tar, Parquet file or manifest, if nobody touched it since it was listed and all that is in it is in the batch.

Links, files that were too large, came or changed meanwhile, or hold what retain does not understand, are kept in
`quarantine/<batch>/files`, with the reason beside it in `files.json`.
"""

import errno
import hashlib
import itertools
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pyarrow.parquet as parquet

from dataset.deliveries.allowance import is_sparse
from dataset.deliveries.folders import READY
from dataset.deliveries.handles import INTO_FILE, DirectoryEntry, LinkOnTheWay, Tree, open_folder
from dataset.deliveries.items import REPEATED, Delivery, printable, seen
from dataset.deliveries.legends import NAMING
from dataset.deliveries.samples import APPLE_DOUBLE, JUNK
from records.batch import Annotation
from records.record import Record
from tasks.workspace.workspace import Workspace

log = logging.getLogger("retain")

DEEPEST = 64
"""Folders within folders that are taken apart; what lies deeper is kept as it is."""
MOST_LOGGED = 10
"""So many of the files that are kept are logged one by one."""
MOST_REASONS = 1000
"""Of so many files that were kept it is written down why."""
LONGEST_NAME = 255
"""Bytes."""
LONGEST_WAY = 2048
"""Bytes of the names of folders on the way to a file that is kept; instead of longer ones there is a number."""
PIECE = 2**20
NAMES_KEPT_CLASSES = "it names the classes of what is kept beside it"


class Whole(Record):
    """A tar, Parquet file, manifest, mask or `classes.txt` of a delivery."""

    seen: tuple[int, int, int, int]
    """What two looks at it have in common if nobody touched it; see `deliveries.seen`."""
    kept: str = ""
    """Why it must be kept; empty if everything in it is in the batch."""


class TakenDelivery(Record):
    """What `taken.json` says."""

    batch: str
    containers: dict[str, Whole] = {}
    """By the name in the delivery's folder."""


class KeptFiles(Record):
    """What `quarantine/<batch>/files.json` says: why files of a delivery are in no batch, by their place in `files`."""

    reasons: dict[str, str] = {}


def kept_aside(workspace: Workspace, batch_id: str) -> Path:
    """Where lies what was delivered with a batch and is not in it; such a folder need not exist."""
    return workspace.quarantine / batch_id / "files"


def reasons_of(workspace: Workspace, batch_id: str) -> dict[str, str]:
    """Why it lies there, by its place below that folder, as far as that was written down."""
    record = kept_aside(workspace, batch_id).with_suffix(".json")
    return dict(KeptFiles.read(record).reasons) if record.exists() else {}


def what_may_go(workspace: Workspace, batch_id: str, delivery: Delivery, began: int) -> TakenDelivery:
    """The record of a delivery that is in a batch; `began`: the disk's time before it was listed, in ns."""
    lacking = _lacking(workspace, batch_id, delivery)
    found = {}
    for one in delivery.containers:
        kept = lacking.get(one.name, "")
        if one.strange:
            kept = one.strange
        elif one.unread:
            more = ", ..." if len(one.unread) > 5 else ""
            kept = f"it holds what retain does not understand: {', '.join(one.unread[:5])}{more}"
        elif one.seen[3] >= began:
            kept = "it changed while it was read"
        found[printable(one.name)] = Whole(seen=one.seen, kept=kept)
    if any(one.kept for one in found.values()):
        naming = {name: found[name] for name in NAMING if name in found}
        found |= {name: one.model_copy(update={"kept": NAMES_KEPT_CLASSES}) for name, one in naming.items()}
    return TakenDelivery(batch=batch_id, containers=found)


def _lacking(workspace: Workspace, batch_id: str, delivery: Delivery) -> dict[str, str]:
    """Files that hold images which are not in the batch, and why the first of them is not."""
    lacking: dict[str, str] = {}
    rows = _rows(workspace, batch_id, delivery.annotation)
    for item, (_, digest, _, detail, mask) in zip(delivery.items, rows, strict=True):
        if item.inside is not None and not digest and item.problem != REPEATED:
            lacking.setdefault(item.name, f"'{item.path}' of it is not in the batch: {detail}")
        if item.mask and not mask:
            lacking.setdefault(item.mask.name, f"the mask of '{item.path}' is not in the batch: {detail}")
    return lacking


def _rows(workspace: Workspace, batch_id: str, annotation: Annotation = "") -> Iterator[tuple[str, str, int, str, str]]:
    """Of each image path, SHA-256 (empty if the bytes are not in the batch), size, detail, and the id of its mask
    (empty if that is not in the batch)."""
    columns = ["path", "sha256", "bytes", "detail"]
    for shard in sorted((workspace.batches / batch_id).glob("*.parquet")):
        rows = parquet.read_table(shard, columns=[*columns, *(["annotation_id"] if annotation else [])]).to_pydict()
        masks = rows.get("annotation_id", [""] * len(rows["path"]))
        yield from zip(*(rows[name] for name in columns), masks, strict=True)


class Apart:
    """A delivery that is being taken apart."""

    def __init__(self, workspace: Workspace, taken: TakenDelivery, private: Tree) -> None:
        self._workspace, self._taken, self._private = workspace, taken, private
        self._files: dict[str, tuple[str, int]] = {}
        """Path to SHA-256 and size, of images whose bytes are in the batch."""
        self._details: dict[str, str] = {}
        """Path to what was wrong, of the others."""
        self._reasons: dict[str, str] = {}
        for path, digest, size, detail, _ in _rows(workspace, taken.batch):
            name = PurePosixPath(path).as_posix()
            if digest:
                self._files[name] = digest, size
            else:
                self._details[name] = detail

    def go_on(self) -> None:
        """Decide about what lay in `apart` when a night was killed; of its name only the last part is known."""
        held = set(self._files.values())
        sizes = {size for _, size in held}
        wholes = {(one.seen[:3]): one.kept for one in self._taken.containers.values()}
        for entry in self._private.entries():
            key = seen(entry.status)[:3]
            if key in wholes:
                reason = wholes[key]
            else:
                is_held = entry.status.st_size in sizes and self._digest(entry.name) in held
                reason = "" if is_held else "a night was killed while it was taken apart"
            self._end(entry.name, (), reason)

    def all_in(self, place: Tree) -> None:
        """Decide about all that lies in the folder of the delivery, or of its marker."""
        for entry in place.entries():
            if entry.is_folder:
                self._folder(place.handle, entry.name, (), place.path / entry.name)
            else:
                self._file(place.handle, entry.name, (), place.path / entry.name)

    def report(self) -> None:
        """Write down why files were kept, and tell of the first ones."""
        if not self._reasons:
            return
        folder = kept_aside(self._workspace, self._taken.batch)
        for name, reason in itertools.islice(self._reasons.items(), MOST_LOGGED):
            log.warning("%s is kept in %s: %s", name, printable(str(folder)), reason)
        if len(self._reasons) > MOST_LOGGED:
            log.warning("So are %d others of %s", len(self._reasons) - MOST_LOGGED, self._taken.batch)
        known = reasons_of(self._workspace, self._taken.batch) | self._reasons
        KeptFiles(reasons=dict(itertools.islice(known.items(), MOST_REASONS))).write(folder.with_suffix(".json"))

    def _folder(self, at: int, name: str, way: tuple[str, ...], path: Path) -> None:
        """`way`: names of the folders above, from the delivery's own."""
        if len(way) > DEEPEST:
            self._move(at, name, way, path)
            self._end(name, way[1:], f"it lies deeper than {DEEPEST} folders")
            return
        try:
            handle = open_folder(name, at)
        except LinkOnTheWay:
            self._file(at, name, way, path)
            return
        try:
            make_writable(handle)
            # Names of classes last: they stay with a tar that is kept.
            for entry in sorted(_entries(handle), key=lambda entry: (entry.name in NAMING, entry.name)):
                below = self._folder if entry.is_folder else self._file
                below(handle, entry.name, (*way, name), path / entry.name)
        finally:
            os.close(handle)
        remove_if_empty(name, at)

    def _file(self, at: int, name: str, way: tuple[str, ...], path: Path) -> None:
        # The first folder is the delivery's own; of a delivery that is a file there is none.
        shown = printable("/".join((*way[1:], name)))
        status, reason = self._look(at, name, shown)
        self._move(at, name, way, path)
        moved = self._private.status(name)
        if not reason and seen(moved)[:3] != seen(status)[:3]:
            reason = "it was replaced while it was looked at"
        self._end(name, way[1:], reason)

    def _move(self, at: int, name: str, way: tuple[str, ...], path: Path) -> None:
        try:
            os.rename(name, name, src_dir_fd=at, dst_dir_fd=self._private.handle)
        except OSError as error:
            error.filename, error.filename2 = str(path), None
            raise

    def _look(self, at: int, name: str, shown: str) -> tuple[os.stat_result, str]:
        """What lies there, and why it must be kept; empty if it may go."""
        status = os.stat(name, dir_fd=at, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            return status, "a symbolic link; links are not followed"
        if not stat.S_ISREG(status.st_mode):
            return status, "no ordinary file"
        try:
            handle = os.open(name, INTO_FILE, dir_fd=at)
        except OSError as error:
            return status, f"it cannot be read: {error.strerror}"
        try:
            status = os.fstat(handle)
            return status, self._judge(handle, status, name, shown)
        finally:
            os.close(handle)

    def _judge(self, handle: int, status: os.stat_result, name: str, shown: str) -> str:
        is_marker = shown == READY or ("/" not in shown and shown.endswith(f".{READY}"))
        if name.lower() in JUNK or (is_marker and status.st_size == 0):
            return ""
        if name.startswith("._") and os.pread(handle, len(APPLE_DOUBLE), 0) == APPLE_DOUBLE:
            return ""
        if shown in self._files:
            # The size first: it may be a hole of terabytes by now.
            same = status.st_size == self._files[shown][1] and _digest_of(handle, status) == self._files[shown]
            return "" if same else "it is not as it was when it was read"
        if shown in self._taken.containers:
            container = self._taken.containers[shown]
            if shown in NAMING and any(name in self._reasons for name in self._taken.containers):
                return NAMES_KEPT_CLASSES
            return container.kept or ("" if seen(status) == container.seen else "it is not as it was when it was read")
        return self._details.get(shown, "it is no part of the batch")

    def _digest(self, name: str) -> tuple[str, int] | None:
        """Of a file in `apart`; None for what is none."""
        try:
            handle = self._private.open(name)
        except OSError:
            return None
        try:
            return _digest_of(handle, os.fstat(handle))
        finally:
            os.close(handle)

    def _end(self, name: str, way: tuple[str, ...], reason: str) -> None:
        """What is in `apart` goes, or is kept for a reason. `way`: the folders that it is kept in."""
        if not reason:
            os.unlink(name, dir_fd=self._private.handle)
            return
        root = kept_aside(self._workspace, self._taken.batch)
        folder = _real_folder(root, way)
        for number in itertools.count():
            target = folder / (shortened(name, f"~{number}") if number else name)
            if not os.path.lexists(target):
                break
            if self._is_copy(name, target):
                os.unlink(name, dir_fd=self._private.handle)
                return
        folder.mkdir(parents=True, exist_ok=True)
        self._keep(name, target)
        self._reasons[printable(str(target.relative_to(root)))] = printable(reason)

    def _keep(self, name: str, target: Path) -> None:
        try:
            os.rename(name, target, src_dir_fd=self._private.handle)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            try:
                _copy(self._private, name, target)
            except OSError:
                target.unlink(missing_ok=True)  # Of a disk that is full, not half of it each night.
                raise
            os.unlink(name, dir_fd=self._private.handle)

    def _is_copy(self, name: str, other: Path) -> bool:
        status, original = self._private.status(name), other.lstat()
        if stat.S_IFMT(status.st_mode) != stat.S_IFMT(original.st_mode) or status.st_size != original.st_size:
            return False
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(name, dir_fd=self._private.handle) == str(other.readlink())
        if not stat.S_ISREG(status.st_mode):
            return False
        with Tree.at(other.parent) as folder, folder.reading(other.name) as file:
            if is_sparse(file.fileno()):
                return False  # To compare holes takes hours, to keep them no place.
            return self._digest(name) == _digest_of(file.fileno(), original)


def _entries(handle: int) -> list[DirectoryEntry]:
    with os.scandir(handle) as found:
        return [DirectoryEntry(entry.name, entry.stat(follow_symlinks=False)) for entry in found]


def _digest_of(handle: int, status: os.stat_result) -> tuple[str, int]:
    """SHA-256 and size of an open file."""
    digest, place = hashlib.sha256(), 0
    # No more than that: it may grow for ever. That it grew is seen afterwards.
    while part := os.pread(handle, min(PIECE, status.st_size - place), place):
        digest.update(part)
        place += len(part)
    return digest.hexdigest(), status.st_size


def make_writable(folder: int) -> None:
    """A copy of a read-only folder is read-only, and nothing can be taken out of it."""
    mode = os.fstat(folder).st_mode
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        os.fchmod(folder, stat.S_IMODE(mode) | stat.S_IRWXU)


def _copy(folder: Tree, name: str, target: Path) -> None:
    """To another file system: a file, a link as a link. Raises `OSError` for anything else, which then stays."""
    status = folder.status(name)
    if stat.S_ISLNK(status.st_mode):
        target.symlink_to(os.readlink(name, dir_fd=folder.handle))
    elif stat.S_ISFIFO(status.st_mode):
        os.mkfifo(target)
    else:
        with folder.reading(name) as file, target.open("xb") as copy:
            _copy_data(file.fileno(), copy.fileno())


def _copy_data(source: int, copy: int) -> None:
    """Holes stay holes: a file of terabytes may take no place on its own disk."""
    size, place = os.fstat(source).st_size, 0
    os.ftruncate(copy, size)
    while place < size:
        try:
            place = os.lseek(source, place, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # There is but a hole from here on.
            raise
        end = os.lseek(source, place, os.SEEK_HOLE)
        while place < end and (part := os.pread(source, min(PIECE, end - place), place)):
            place += os.pwrite(copy, part, place)
        if place < end:
            raise OSError(errno.EIO, "it became shorter while it was copied")


def _real_folder(folder: Path, way: tuple[str, ...]) -> Path:
    """Where a folder of leftovers is kept: where a file or link of another delivery has its name, with a number."""
    if len(os.fsencode("/".join(way))) > LONGEST_WAY:
        way = (hashlib.sha256(os.fsencode("/".join(way))).hexdigest()[:16],)
    for part in way:
        place, number = folder / part, 0
        while os.path.lexists(place) and (place.is_symlink() or not place.is_dir()):
            number += 1
            place = folder / shortened(part, f"~{number}")
        folder = place
    return folder


def shortened(name: str, end: str) -> str:
    """A name with another end, no longer than a name may be."""
    return os.fsdecode(os.fsencode(name)[: LONGEST_NAME - len(os.fsencode(end))]) + end


def remove_if_empty(name: str, at: int) -> None:
    """Remove a folder, if it is there; what is not empty stays."""
    try:
        os.rmdir(name, dir_fd=at)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise
