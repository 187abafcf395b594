"""How a delivery is taken: moved out of its sender's reach, and taken apart once its batch is committed.

    .retain/taking/<number>/delivery/<name>     the delivery, moved there in one motion before anything of it is listed
                            marker/             the file beside it that said that it is whole
                            taken.json          there once the batch is committed: which it is, and what may be removed
                            apart/              the one file that is being decided about

A night that is killed leaves such a folder. Without `taken.json` the delivery goes back into the inbox; with it, taking
it apart goes on. An inbox on another file system has the same folders, as nothing moves between file systems in one
motion.
"""

import errno
import itertools
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType

from pydantic import ValidationError

from dataset.batches import BATCH_ID
from dataset.deliveries.folders import READY
from dataset.deliveries.handles import DirectoryEntry, NotAFile, Tree, open_folder
from dataset.deliveries.items import Delivery, printable
from records.errors import DamagedState
from tasks.ingest.apart import (
    LONGEST_NAME,
    Apart,
    TakenDelivery,
    make_writable,
    remove_if_empty,
    shortened,
    what_may_go,
)
from tasks.workspace.workspace import Workspace

log = logging.getLogger("retain")

TAKING = ".taking"
"""Where deliveries are taken in an inbox on another file system; no delivery has such a name."""
LEGACY = ".taken-"
"""How the name of a folder in the inbox began that an earlier retain was taking apart; its batch's id follows."""
DELIVERY, MARKER, APART, RECORD = "delivery", "marker", "apart", "taken.json"
PRIVATE = 0o700
TICKS = 5000
"""How often the disk is asked for a later time before the delivery is read."""
FULL = (errno.ENOSPC, errno.EDQUOT)


class Taking:
    """A delivery that was moved out of its sender's reach. Unless it was `committed`, it goes back at the end.

    A context manager. Methods raise `OSError`.
    """

    def __init__(self, workspace: Workspace, tree: Tree, name: str) -> None:
        self._workspace, self._tree, self._name = workspace, tree, name
        self._began = time_of_disk(tree.handle)
        """The disk's time when it was there, in ns; what changed before has an earlier one."""

    def __enter__(self) -> "Taking":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._tree.holds(RECORD) and self._tree.holds(DELIVERY):
                put_back(self._workspace, self._tree)
        except OSError as reason:
            log.warning("%s waits in %s for the next night: %s", printable(self._name), self._tree.path, reason)
        finally:
            self._tree.close()

    @property
    def delivery(self) -> Path:
        """Where it lies now."""
        return self._tree.path / DELIVERY / self._name

    def is_same(self, delivery: Delivery) -> bool:
        """Whether what was listed is what was moved."""
        status = self._tree.status(f"{DELIVERY}/{self._name}")
        if not stat.S_ISDIR(status.st_mode):
            status = self._tree.status(DELIVERY)
        return (delivery.folder.device, delivery.folder.inode) == (status.st_dev, status.st_ino)

    def committed(self, batch_id: str, delivery: Delivery) -> None:
        """From now on it does not go back: a night that is killed goes on with taking it apart."""
        _note(what_may_go(self._workspace, batch_id, delivery, self._began), self._tree)

    def take_apart(self) -> None:
        """Remove what the batch holds, and keep the rest."""
        take_apart(self._workspace, self._tree)


# Out of the inbox and back


def moved_out(workspace: Workspace, delivery: Path) -> Taking:
    """Move a delivery out of the inbox. Raises `OSError` if it cannot be moved; then it lies where it lay."""
    tree = _moved(workspace, delivery)
    try:
        return Taking(workspace, tree, delivery.name)
    except BaseException:
        with tree:
            put_back(workspace, tree)
        raise


def _note(taken: TakenDelivery, tree: Tree) -> None:
    """Write the record in one motion, and through to the disk."""
    new = f"{RECORD}.new"
    with suppress(FileNotFoundError):
        os.unlink(new, dir_fd=tree.handle)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=tree.handle)
    with os.fdopen(handle, "wb") as file:
        file.write(taken.model_dump_json().encode())
        file.flush()
        os.fsync(handle)
    os.rename(new, RECORD, src_dir_fd=tree.handle, dst_dir_fd=tree.handle)


def _moved(workspace: Workspace, delivery: Path) -> Tree:
    with _inbox(workspace) as inbox:
        try:
            return _moved_into(workspace.state / TAKING[1:], inbox, delivery.name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        return _moved_into(inbox.path / TAKING, inbox, delivery.name)


def _moved_into(base: Path, inbox: Tree, name: str) -> Tree:
    with _own(base) as parent:
        number = secrets.token_hex(8)
        os.mkdir(number, PRIVATE, dir_fd=parent.handle)
        tree = Tree(open_folder(number, parent.handle), base / number)
    try:
        for folder in (DELIVERY, MARKER, APART):
            os.mkdir(folder, PRIVATE, dir_fd=tree.handle)
        _move_marker(inbox, tree, name)
        with _below(tree, DELIVERY) as place:
            _rename_out(name, inbox, place)
    except BaseException:
        with tree, suppress(OSError):
            put_back_into(inbox, tree)
        raise
    return tree


def _move_marker(inbox: Tree, tree: Tree, name: str) -> None:
    """Lest it is taken for that of the next delivery of this name."""
    mark = f"{name}.{READY}"
    if len(os.fsencode(mark)) <= LONGEST_NAME and inbox.holds(mark) and stat.S_ISREG(inbox.status(mark).st_mode):
        with _below(tree, MARKER) as place:
            os.rename(mark, mark, src_dir_fd=inbox.handle, dst_dir_fd=place.handle)


def _rename_out(name: str, inbox: Tree, place: Tree) -> None:
    try:
        os.rename(name, name, src_dir_fd=inbox.handle, dst_dir_fd=place.handle)
    except PermissionError:
        # To move a folder its own name for the one above it is written: a copy of a read-only folder is read-only.
        folder = open_folder(name, inbox.handle)
        try:
            make_writable(folder)
        finally:
            os.close(folder)
        os.rename(name, name, src_dir_fd=inbox.handle, dst_dir_fd=place.handle)


def _inbox(workspace: Workspace) -> Tree:
    """It may be a link: whoever owns the workspace put it there."""
    return Tree.at(workspace.inbox.resolve())


@contextmanager
def _own(base: Path) -> Iterator[Tree]:
    """A folder that nobody else may enter, made if it is not there. Raises `OSError`."""
    base.mkdir(PRIVATE, parents=True, exist_ok=True)
    with Tree.at(base) as tree:
        status = os.fstat(tree.handle)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & ~PRIVATE:
            raise PermissionError(errno.EACCES, "it is not retain's own", str(base))
        yield tree


@contextmanager
def _below(tree: Tree, name: str) -> Iterator[Tree]:
    with Tree(open_folder(name, tree.handle), tree.path / name) as below:
        yield below


def put_back(workspace: Workspace, tree: Tree) -> None:
    """Put a delivery back into the inbox, under another name if its own was given to another one meanwhile."""
    with _inbox(workspace) as inbox:
        put_back_into(inbox, tree)


def put_back_into(inbox: Tree, tree: Tree) -> None:
    """The same, into an open inbox; the folder that it lay in goes."""
    for folder in (DELIVERY, MARKER):
        if tree.holds(folder):
            with _below(tree, folder) as place:
                for entry in place.entries():
                    _give_back(entry, place, inbox)
    _remove_folder(tree)


def _give_back(entry: DirectoryEntry, place: Tree, inbox: Tree) -> None:
    for number in itertools.count():
        target = numbered(entry.name, number) if number else entry.name
        if inbox.holds(target):
            if os.path.samestat(inbox.status(target), entry.status):
                # A night was killed between the two names of one file.
                os.unlink(entry.name, dir_fd=place.handle)
                return
            continue
        if _renamed(entry, target, place, inbox):
            return


def numbered(name: str, number: int) -> str:
    """Another name of the same kind: `monday~1.tar`."""
    suffix = PurePosixPath(name).suffix
    if len(os.fsencode(suffix)) > LONGEST_NAME // 2:
        suffix = ""  # It is all of the name, and says no kind.
    return shortened(name.removesuffix(suffix), f"~{number}{suffix}")


def _renamed(entry: DirectoryEntry, target: str, place: Tree, inbox: Tree) -> bool:
    """Whether an entry could be given a name that nobody else has taken. A folder replaces no other one."""
    if entry.is_file:
        try:
            os.link(entry.name, target, src_dir_fd=place.handle, dst_dir_fd=inbox.handle, follow_symlinks=False)
            os.unlink(entry.name, dir_fd=place.handle)
            return True
        except FileExistsError:
            return False
        except OSError:
            log.debug("No second name for %s", entry.name)  # Not every file system has them.
    os.rename(entry.name, target, src_dir_fd=place.handle, dst_dir_fd=inbox.handle)
    return True


def _remove_folder(tree: Tree) -> None:
    """Remove the folder that a delivery lay in. What is not empty stays, for the next night to look at."""
    for folder in (DELIVERY, MARKER, APART):
        remove_if_empty(folder, tree.handle)
    if any(entry.is_folder for entry in tree.entries()):
        return
    for entry in tree.entries():
        os.unlink(entry.name, dir_fd=tree.handle)
    # Its parent is retain's own.
    tree.path.rmdir()


def time_of_disk(folder: int) -> int:
    """The time as the disk writes it, in ns; what changes from now on is not older, what changed before is.

    A disk's clock stands still for some milliseconds (a kernel tick) and is not the system's on a network.
    """
    probe = os.open("clock", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    try:
        os.unlink("clock", dir_fd=folder)
        first = now = os.fstat(probe).st_ctime_ns
        for _ in range(TICKS):
            if now != first:
                break
            os.utime(probe)
            now = os.fstat(probe).st_ctime_ns
        return now
    finally:
        os.close(probe)


# What earlier nights left


def interrupted(workspace: Workspace) -> tuple[Path, ...]:
    """Deliveries that a killed night moved and did not commit; the next night puts them back. Nothing is changed."""
    found = []
    for tree in _open_takings(workspace):
        with tree:
            if not tree.holds(RECORD) and tree.holds(DELIVERY):
                names = [name for name in _names_in(tree) if not _is_in_inbox(workspace, tree, name)]
                found += [tree.path / DELIVERY / name for name in names]
    return tuple(sorted(found, key=lambda path: path.name))


def _is_in_inbox(workspace: Workspace, tree: Tree, name: str) -> bool:
    """Whether a night was killed between the two names of one file."""
    try:
        with _inbox(workspace) as inbox:
            return os.path.samestat(inbox.status(name), tree.status(f"{DELIVERY}/{name}"))
    except OSError:
        return False  # Nothing of this name is there, or there is no inbox: a disk that is not mounted.


def finish(workspace: Workspace) -> dict[str, str]:
    """Go on with what an interrupted night left. What cannot be removed stays: its name and the reason."""
    left = {}
    _adopt_legacy(workspace)
    for tree in _open_takings(workspace):
        with tree:
            name, committed = printable(next(iter(_names_in(tree)), tree.path.name)), tree.holds(RECORD)
            try:
                if committed:
                    take_apart(workspace, tree)
                else:
                    put_back(workspace, tree)
            except OSError as error:
                left[name] = not_removed(name, error) if committed else _not_put_back(tree, error)
            except DamagedState as error:
                left[name] = str(error)
            except Exception as error:  # whatever a delivery brings about, it concerns that delivery alone
                left[name] = f"it could not be taken apart: {type(error).__name__}: {error}."
    return left


def not_removed(name: str, error: OSError) -> str:
    """Why a delivery is still there though its batch is committed."""
    at = printable(str(error.filename or name))
    return f"it is in the archive, but {at} cannot be removed: {error.strerror or error}. Remove it by hand."


def _not_put_back(tree: Tree, error: OSError) -> str:
    where = printable(str(tree.path / DELIVERY))
    return (
        f"a night ended before it was taken, and it cannot be put back into the inbox: {error.strerror or error}. It "
        f"lies in {where}, and the next night tries again."
    )


def _open_takings(workspace: Workspace) -> Iterator[Tree]:
    for base in (workspace.state / TAKING[1:], workspace.inbox.resolve() / TAKING):
        if not os.path.lexists(base):
            continue
        try:
            with _own(base) as parent:
                numbers = sorted(entry.name for entry in parent.entries() if entry.is_folder)
                yield from [Tree(open_folder(number, parent.handle), base / number) for number in numbers]
        except OSError as error:
            # In an inbox on another file system, anybody may have put it there.
            log.warning("%s is left alone: %s", base, error.strerror or error)


def _names_in(tree: Tree) -> list[str]:
    """What was moved there: one name, or none if that cannot be told."""
    try:
        return [entry.name for entry in tree.entries(DELIVERY)] if tree.holds(DELIVERY) else []
    except OSError:
        return []


def _adopt_legacy(workspace: Workspace) -> None:
    """What an earlier retain was taking apart in the inbox itself: its batch is known, and everything is compared."""
    for folder in sorted(workspace.inbox.glob(f"{LEGACY}*")):
        batch = "-".join(folder.name.removeprefix(LEGACY).split("-")[:4])
        if not BATCH_ID.fullmatch(batch):
            continue
        try:
            with _moved(workspace, folder) as tree:
                _note(TakenDelivery(batch=batch), tree)
        except OSError as error:
            log.warning("%s cannot be taken apart: %s", printable(str(folder)), error.strerror or error)


def take_apart(workspace: Workspace, tree: Tree) -> None:
    """Remove what the batch holds; what it does not hold is kept in quarantine: nothing that was sent is lost."""
    taken = _taken_in(tree)
    if not tree.holds(APART):
        os.mkdir(APART, PRIVATE, dir_fd=tree.handle)
    with _below(tree, APART) as private:
        work = Apart(workspace, taken, private)
        try:
            work.go_on()
            for folder in (DELIVERY, MARKER):
                if tree.holds(folder):
                    with _below(tree, folder) as place:
                        work.all_in(place)
        finally:
            work.report()
    _remove_folder(tree)


def _taken_in(tree: Tree) -> TakenDelivery:
    """Its record. Raises `DamagedState` for what retain did not write: a sender may have made such a folder, too."""
    with suppress(ValidationError, NotAFile), tree.reading(RECORD) as record:
        taken = TakenDelivery.model_validate_json(record.read())
        # What is kept gets this name.
        if BATCH_ID.fullmatch(taken.batch):
            return taken
    where = printable(str(tree.path))
    raise DamagedState(f"{where}/{RECORD} is not retain's. Look at what lies in {where} and move it away.")


def full(folder: Path) -> str:
    """That a disk is full, as a sentence."""
    return f"The disk that holds {folder} is full. Free about twice the size of the delivery and try again."
