"""How much a delivery may hold. A few kilobytes can stand for gigabytes: one value that many rows name, one image in a
thousand rows, a file that is one large hole. So what is listed is counted while it is listed, whatever its kind.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from records.errors import UnreadableBatch

Listed = TypeVar("Listed")
TextsOf = Callable[[Listed], Sequence[str]]

VALUE_BYTES = 8
"""What a value takes in memory besides its characters; empty ones take it too."""
LEAST_IMAGE = 100
"""Bytes that an image counts as at least: a row that names an empty file, or none, takes room in the reports, too."""
FREE_EXPANSION = 2**20
"""Bytes of images of which it is not asked in how little they came."""
LEAST_SPARSE = 2**20
"""Smaller files are not looked at for holes: some file systems keep what is short where no block is counted."""
MOST_HOLES = 16
"""So many times may a file be as large as what of it is on the disk."""


class Caps(NamedTuple):
    """Limits of a delivery; section `ingest` of params.yaml has them as `max_rows` and so on."""

    rows: int = 1_000_000
    columns: int = 1_000
    row_text: int = 128 * 2**10
    text: int = 512 * 2**20
    missing: int = 10_000
    expansion: float = 16.0


USUAL = Caps()


class Tally:
    """Counts what a delivery holds. Each method raises `UnreadableBatch` for what is too much."""

    def __init__(self, caps: Caps, shown: str) -> None:
        self.caps = caps
        self._shown = shown
        self._rows = 0
        self._text = 0
        self._image_bytes = 0
        self._file_bytes = 0
        self._files: set[int] = set()
        self._missing = 0

    def columns(self, number: int, shown: str) -> None:
        """A file `shown` has so many columns."""
        if number > self.caps.columns:
            raise UnreadableBatch(
                f"{shown} has {number} columns, more than the {self.caps.columns} that are allowed "
                "(ingest.max_columns). Leave out what is not about single images."
            )

    def row(self, texts: Sequence[str]) -> None:
        """One more row holds these texts."""
        self._rows += 1
        if self._rows > self.caps.rows:
            raise UnreadableBatch(
                f"{self._shown} has more than the {self.caps.rows:,} rows that are allowed (ingest.max_rows). Make "
                "several deliveries of it."
            )
        size = sum(map(len, texts)) + VALUE_BYTES * len(texts)
        if size > self.caps.row_text:
            raise UnreadableBatch(
                f"Row {self._rows} of {self._shown} takes {size:,} bytes of text, more than the "
                f"{self.caps.row_text:,} that are allowed (ingest.max_row_text). Shorten it, or leave columns out."
            )
        self._text += size
        if self._text > self.caps.text:
            raise UnreadableBatch(
                f"{self._shown} takes more than the {self.caps.text:,} bytes of text that are allowed "
                "(ingest.max_text). Leave columns out, or make several deliveries of it."
            )

    def rows(self, found: Iterable[Listed], texts_of: TextsOf[Listed]) -> Iterator[Listed]:
        """The same, each counted as a row."""
        for one in found:
            self.row(texts_of(one))
            yield one

    def file(self, status: os.stat_result) -> None:
        """A file that was delivered; the same file under another name is counted once."""
        if status.st_ino not in self._files:
            self._files.add(status.st_ino)
            self._file_bytes += status.st_size

    def image(self, size: int, path: str, problem: str, detail: str) -> None:
        """An image of so many bytes at a path; or why there is none, as a word and as a clause."""
        self._image_bytes += max(size, LEAST_IMAGE)
        self._missing += bool(problem) and not problem.startswith("label")
        if self._missing > self.caps.missing:
            raise UnreadableBatch(
                f"{self._shown} has more than the {self.caps.missing:,} rows without an image of their own that are "
                f"allowed (ingest.max_missing), such as '{path}': {detail}. Look whether its paths are relative to "
                "where it lies, and name each image once."
            )

    def close(self) -> None:
        """All was counted."""
        if self._image_bytes > max(FREE_EXPANSION, self.caps.expansion * self._file_bytes):
            raise UnreadableBatch(
                f"{self._shown} unpacks to {self._image_bytes:,} bytes of images, and its files have "
                f"{self._file_bytes:,}: more than {self.caps.expansion:g} times as much is not taken "
                "(ingest.max_expansion). Deliver each image once."
            )


def is_sparse(handle: int) -> bool:
    """Whether nearly all of an open file is a hole, which takes no place on the disk until it is copied."""
    status = os.fstat(handle)
    if status.st_size <= max(LEAST_SPARSE, MOST_HOLES * 512 * status.st_blocks):
        return False
    # Blocks may also be few because the file system compresses, or has not written them yet.
    return os.lseek(handle, 0, os.SEEK_HOLE) < status.st_size
