"""What a delivery holds, before any image is read: its items, the files they stand in, and what a label may be."""

import errno
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, NamedTuple

from dataset.decoding.formats import BadImage
from dataset.deliveries.handles import LinkOnTheWay, NotAFile, Root
from dataset.deliveries.tables import Cell
from dataset.masks import MaskFormat
from records.batch import Annotation

REPEATED = "repeated"
"""The problem of a row that names what a row before names with the same label: it is neither read nor kept again."""
LONGEST_LABEL = 255
"""Characters; a folder's name has no more either."""
TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
"""Characters that are not seen but change the order of others (Unicode, annex 9), and the byte order mark."""


class Stretches(NamedTuple):
    """Pieces of a JSON file that belong to one image, as the elements of a list."""

    places: tuple[tuple[int, int], ...]
    """From which byte, and how many."""


class Item(NamedTuple):
    """One image as it was delivered. A plain tuple: hundreds of thousands travel to other processes."""

    path: str
    """As delivered, printable: bytes that are no UTF-8 stand as backslash escapes. Never used as a path."""
    label: str
    name: str
    """The same as the system knows it, relative to the delivery's folder."""
    bytes: int = 0
    """Size of the image's file; 0 if unknown."""
    problem: str = ""
    """Why it must not be read: missing, outside, link, not-a-file, repeated; or, beginning with `label`, what is wrong
    with its label alone. Empty if nothing is."""
    detail: str = ""
    columns: tuple[str, ...] = ()
    """Values of the delivery's further columns."""
    inside: int | Cell | Stretches | None = None
    """Where it stands in the file `name`: from which byte of a tar, in which cell, in which pieces of a JSON file. None
    if it is that file."""
    mask: "Item | None" = None
    """Where its mask is, of a delivery whose images come with masks; its own problem is `missing` if it has none."""
    labelled_for: str = ""
    """As in `MaskFacts`."""


class Container(NamedTuple):
    """A file in which images, masks or labels stand: a tar, a Parquet file, a manifest, a mask, `classes.txt`."""

    name: str
    """In the delivery's folder, as the system knows it."""
    seen: tuple[int, int, int, int]
    """Inode, size, and times of content and of change in ns, when it had been listed."""
    unread: tuple[str, ...] = ()
    """What in it becomes nothing, as retain does not understand it: columns, members. Such a file is never removed."""
    strange: str = ""
    """Why nothing of it is in the batch, as a clause: a mask of no image. Such a file is never removed either."""

    @classmethod
    def of(cls, file: IO[bytes], name: str, unread: Iterable[str] = ()) -> "Container":
        """An open file."""
        names = sorted({printable(one) for one in unread})
        return cls(name, seen(os.fstat(file.fileno())), tuple(names))


def seen(status: os.stat_result) -> tuple[int, int, int, int]:
    """What two looks at a file that nobody touched meanwhile have in common."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(frozen=True)
class Delivery:
    """All that was delivered, sorted by path, then by label and columns."""

    name: str
    folder: Root
    items: tuple[Item, ...]
    columns: tuple[str, ...] = ()
    containers: tuple[Container, ...] = ()
    """Files in which images, masks or labels stand."""
    masks: MaskFormat | None = None
    """How masks are written, if its images come with masks; then labels are read from them, and no item has one."""

    @property
    def annotation(self) -> Annotation:
        """As in `Batch`."""
        return "mask" if self.masks else ""


def label_problem(label: str) -> tuple[str, str]:
    """One word and one clause on what is wrong with a label; two empty strings if nothing is."""
    if not label.strip():
        return "label-empty", "the label is empty"
    if "/" in label or "\\" in label:
        return "label-slash", "the label holds a slash or backslash"
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in TURNING for c in label):
        return "label-control", "the label holds a control character or a line break"
    if len(label) > LONGEST_LABEL:
        return "label-long", f"the label has {len(label)} characters, more than the {LONGEST_LABEL} that are allowed"
    return "", ""


def label_of(text: str) -> str:
    """The label that a text means: the same characters, composed (Unicode's form NFC).

    "Käse" can be written in two ways that look the same and that Unicode declares equal; a Macintosh names folders in
    one, most keyboards write the other. They must not become two classes. Nothing else is changed.
    """
    return unicodedata.normalize("NFC", text)


def printable(text: str) -> str:
    """Text that can be stored as UTF-8: what is not valid in a file's name becomes a backslash escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def unopened(error: OSError) -> BadImage:
    """Why a file of a delivery cannot be opened."""
    if isinstance(error, NotAFile):
        return BadImage("not-a-file", "no ordinary file")
    if isinstance(error, LinkOnTheWay):
        return BadImage("link", "a folder on the way is a symbolic link; links are not followed")
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return BadImage("missing", "no such file in the delivery")
    if error.errno == errno.ELOOP:
        return BadImage("link", "a symbolic link; links are not followed")
    return BadImage("unreadable", f"the file cannot be opened: {error.strerror}")


def in_order(items: list[Item]) -> tuple[Item, ...]:
    """Sorted as a delivery is: by path, then by label and columns."""
    return tuple(sorted(items, key=lambda item: (item.path, item.label, item.columns, item.name)))
