"""Handles: what lies below a folder is opened from that folder downwards, and no link is followed on the way.

Whoever delivers may exchange a folder for a link at any moment, also between a look at it and its use. So a name is
never looked up from the root of the file system again: each folder on its way is opened from the handle of the one
above it (`openat`), and a link in the place of any of them is an error.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, NamedTuple, cast

INTO_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
INTO_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Not blocking, so that a FIFO put in a file's place meanwhile cannot stop the night."""


class Root(NamedTuple):
    """A folder, by its path and by what it is: another folder that takes its place later on is not the same one."""

    path: Path
    device: int
    inode: int


class NotAFile(OSError):
    """What was to be opened is no ordinary file."""


class LinkOnTheWay(OSError):
    """A folder on the way is a symbolic link."""


class Tree:
    """An open folder and what lies below it, by names relative to it. Closed as a context manager, or by `close`.

    Methods raise `OSError`: `LinkOnTheWay` and `NotAFile` where that is what is wrong.
    """

    def __init__(self, handle: int, path: Path) -> None:
        self.handle = handle
        self.path = path
        """For sentences."""
        self._last: tuple[tuple[str, ...], int] | None = None

    @classmethod
    def at(cls, path: Path) -> "Tree":
        """Open a folder that a person named: links on the way to it are theirs, but it is none itself."""
        return cls(os.open(path, INTO_FOLDER), path)

    @classmethod
    def of(cls, root: Root) -> "Tree":
        """Open a folder that was looked at before. Raises `FileNotFoundError` if another one is in its place."""
        tree = cls.at(root.path)
        if tree.root() != root:
            tree.close()
            raise FileNotFoundError(errno.ENOENT, "another folder is in its place", str(root.path))
        return tree

    def __enter__(self) -> "Tree":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the folder, and what was kept open of it."""
        self._forget()
        if self.handle >= 0:
            os.close(self.handle)
        self.handle = -1

    def root(self) -> Root:
        """What opens the same folder again, in any process."""
        status = os.fstat(self.handle)
        return Root(self.path, status.st_dev, status.st_ino)

    def open(self, name: str) -> int:
        """A handle of an ordinary file, which the caller closes."""
        folder, last = self._way(name)
        handle = os.open(last, INTO_FILE, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise NotAFile(errno.EINVAL, "no ordinary file", name)
        return handle

    @contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes]]:
        """An ordinary file, open to be read."""
        with os.fdopen(self.open(name), "rb") as file:
            yield cast(IO[bytes], file)

    def status(self, name: str) -> os.stat_result:
        """Of a file, a folder or a link itself."""
        folder, last = self._way(name)
        return os.stat(last, dir_fd=folder, follow_symlinks=False)

    def holds(self, name: str) -> bool:
        """Whether there is anything of this name, a link that leads nowhere included."""
        try:
            self.status(name)
        except OSError:
            return False
        return True

    def entries(self, name: str = "") -> list["DirectoryEntry"]:
        """What lies in a folder below this one, or in this one; in no order."""
        # The name of no file, so that the way leads into the last folder.
        folder, _ = self._way(f"{name}/-") if name else (self.handle, "")
        with os.scandir(folder) as found:
            return [DirectoryEntry(entry.name, entry.stat(follow_symlinks=False)) for entry in found]

    def _way(self, name: str) -> tuple[int, str]:
        *folders, last = PurePosixPath(name).parts or (".",)
        if ".." in (*folders, last) or name.startswith("/"):
            raise LinkOnTheWay(errno.ELOOP, "the name leads out of its folder", name)
        return self._folder(tuple(folders)), last

    def _folder(self, parts: tuple[str, ...]) -> int:
        """A handle that stays open until another folder is asked for: most files are asked for folder by folder."""
        if not parts:
            return self.handle
        if self._last is None or self._last[0] != parts:
            self._forget()
            self._last = parts, self._descend(parts)
        return self._last[1]

    def _descend(self, parts: tuple[str, ...]) -> int:
        handle = self.handle
        for part in parts:
            try:
                below = open_folder(part, handle)
            finally:
                if handle != self.handle:
                    os.close(handle)
            handle = below
        return handle

    def _forget(self) -> None:
        if self._last is not None:
            os.close(self._last[1])
        self._last = None


class DirectoryEntry(NamedTuple):
    """What lies in a folder."""

    name: str
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        """A folder itself, no link to one."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """An ordinary file."""
        return stat.S_ISREG(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        """A symbolic link, wherever it leads."""
        return stat.S_ISLNK(self.status.st_mode)


def open_folder(name: str, at: int) -> int:
    """A handle of the folder `name` in the folder that `at` is a handle of. Raises `LinkOnTheWay`, or `OSError`."""
    try:
        return os.open(name, INTO_FOLDER, dir_fd=at)
    except OSError:
        # The system says that a link is no folder.
        if _is_link(name, at):
            raise LinkOnTheWay(errno.ELOOP, "a symbolic link", name) from None
        raise


def _is_link(name: str, at: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
    except OSError:
        return False
