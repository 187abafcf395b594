"""Reading the images of a delivery, wherever they lie: a file each, a stretch of a tar, a cell of a Parquet file."""

import os
from types import TracebackType

import pyarrow as pa

from dataset.decoding.formats import BadImage
from dataset.deliveries.allowance import is_sparse
from dataset.deliveries.handles import Root, Tree
from dataset.deliveries.items import Item, Stretches, unopened
from dataset.deliveries.tables import OPEN_TABLE, Cell, Cells
from dataset.deliveries.tars import stretch


class Reader:
    """Opened once for each part of a delivery; shards that several items lie in stay open until it is closed."""

    def __init__(self, folder: Root, max_bytes: int) -> None:
        self._folder = folder
        self._tree: Tree | None = None
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
        if self._tree is not None:
            self._tree.close()

    def read(self, item: Item) -> bytes:
        """The bytes of an item, an image or a mask. Raises `BadImage`: the item's own problem, missing, link,
        not-a-file, too-large, unreadable. What is wrong with its label is no reason not to read it.
        """
        if item.problem and not item.problem.startswith("label"):
            raise BadImage(item.problem, item.detail)
        if item.inside is None:
            return self._file(item)
        self._refuse_large(item.bytes)
        if isinstance(item.inside, Cell):
            return self._cells(item.name).read(item.inside)
        if isinstance(item.inside, Stretches):
            return self._pieces(item.name, item.inside)
        try:
            content = stretch(self._tar(item.name), item.inside, item.bytes)
        except OSError as error:
            raise BadImage("unreadable", f"the disk answers: {error.strerror}") from None
        if len(content) < item.bytes:
            raise BadImage("unreadable", "the tar became shorter while it was read")
        return content

    def _file(self, item: Item) -> bytes:
        handle = self._open(item.name)
        try:
            size = os.fstat(handle).st_size
            self._refuse_large(size)
            if is_sparse(handle):
                raise BadImage("too-large", f"a sparse file: nearly all of its {size} bytes are a hole")
            return _all(handle, size)
        except OSError as error:
            raise BadImage("unreadable", f"the disk answers: {error.strerror}") from None
        finally:
            os.close(handle)

    def _pieces(self, name: str, inside: Stretches) -> bytes:
        """A JSON list of them."""
        try:
            file = self._tar(name)
            return b"[%b]" % b",".join(stretch(file, *place) for place in inside.places)
        except OSError as error:
            raise BadImage("unreadable", f"the disk answers: {error.strerror}") from None

    def _tar(self, name: str) -> int:
        if name not in self._tars:
            self._tars[name] = self._open(name)
        return self._tars[name]

    def _cells(self, name: str) -> Cells:
        try:
            status = self._opened().status(name)
        except OSError as error:
            raise unopened(error) from None
        key = (self._folder, name, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if OPEN_TABLE.key != key or OPEN_TABLE.cells is None:
            try:
                OPEN_TABLE.swap(key, Cells(os.fdopen(self._open(name), "rb")))
            except (pa.ArrowException, OSError) as error:
                raise BadImage("unreadable", f"the Parquet file cannot be read ({type(error).__name__})") from None
        assert OPEN_TABLE.cells is not None
        return OPEN_TABLE.cells

    def _open(self, name: str) -> int:
        try:
            return self._opened().open(name)
        except OSError as error:
            raise unopened(error) from None

    def _opened(self) -> Tree:
        """The delivery's folder, opened when the first item asks for it. Raises `OSError`."""
        if self._tree is None:
            self._tree = Tree.of(self._folder)
        return self._tree

    def _refuse_large(self, size: int) -> None:
        if size > self._max_bytes:
            raise BadImage("too-large", f"{size} bytes, more than the {self._max_bytes} that are allowed")


def _all(handle: int, size: int) -> bytes:
    """So many bytes, or fewer if the file ends before. By the system's own call: a file object costs twice as much."""
    content = os.read(handle, size)
    while len(content) < size and (more := os.read(handle, size - len(content))):
        content += more
    return content


def close_kept() -> None:
    """Close what this thread keeps open from one part of a delivery to the next."""
    OPEN_TABLE.swap(None, None)
