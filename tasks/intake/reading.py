"""Reading the images of a delivery, wherever they lie: a file each, a stretch of a tar, a cell of a Parquet file."""

import os
import stat
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from models.codecs import BadImage
from tasks.intake.deliveries import Item, unopened
from tasks.intake.tables import KEPT, Cell, Cells
from tasks.intake.tars import stretch


class Reader:
    """Opened once for each part of a delivery; shards that several items lie in stay open until it is closed."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._tars: dict[str, int] = {}

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._tars.values():
            os.close(handle)
        self._tars = {}

    def read(self, item: Item) -> bytes:
        """The bytes of an item. Raises `BadImage`: the item's own problem, missing, link, not-a-file, too-large,
        unreadable. What is wrong with its label is no reason not to read it.
        """
        if item.problem and not item.problem.startswith("label"):
            raise BadImage(item.problem, item.detail)
        if item.inside is None:
            return self._file(item)
        self._refuse_large(item.bytes)
        if isinstance(item.inside, Cell):
            return self._cells(item.name).read(item.inside)
        try:
            content = stretch(self._tar(item.name), item.inside, item.bytes)
        except OSError as error:
            raise BadImage("unreadable", f"the disk answers: {error.strerror}") from None
        if len(content) < item.bytes:
            raise BadImage("unreadable", "the tar became shorter while it was read")
        return content

    def _file(self, item: Item) -> bytes:
        handle = self._open(item.name)
        with os.fdopen(handle, "rb") as file:
            size = os.fstat(handle).st_size
            self._refuse_large(size)
            try:
                return file.read(size)
            except OSError as error:
                raise BadImage("unreadable", f"the disk answers: {error.strerror}") from None

    def _tar(self, name: str) -> int:
        if name not in self._tars:
            self._tars[name] = self._open(name)
        return self._tars[name]

    def _cells(self, name: str) -> Cells:
        try:
            status = (self._folder / name).lstat()
        except OSError as error:
            raise unopened(error) from None
        key = (self._folder / name, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if KEPT.key != key or KEPT.cells is None:
            try:
                KEPT.swap(key, Cells(os.fdopen(self._open(name), "rb")))
            except (pa.ArrowException, OSError) as error:
                raise BadImage("unreadable", f"the Parquet file cannot be read ({type(error).__name__})") from None
        assert KEPT.cells is not None
        return KEPT.cells

    def _open(self, name: str) -> int:
        try:
            # Not blocking, so that a FIFO put in the file's place meanwhile cannot stop the night.
            handle = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise unopened(error) from None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise BadImage("not-a-file", "no ordinary file")
        return handle

    def _refuse_large(self, size: int) -> None:
        if size > self._max_bytes:
            raise BadImage("too-large", f"{size} bytes, more than the {self._max_bytes} that are allowed")


def close_kept() -> None:
    """Close what this thread keeps open from one part of a delivery to the next."""
    KEPT.swap(None, None)
