"""A delivery: what lies in a folder or stands in a manifest, before anything of it is read. Names are data here.

Two kinds are known. A folder `<delivery>/<class>/<file>`: the label is the first folder's name, however deep the file
lies. A manifest (CSV in UTF-8, or Parquet) with the columns `path`, relative to the manifest, and `label`; any
further columns are kept. A folder that holds `manifest.csv` or `manifest.parquet` is read through it.

No link is followed and no path leaves its folder. What is wrong with one image becomes a row that says so; what is
wrong with the delivery as a whole is `UnreadableBatch`, and then nothing is taken.
"""

import errno
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from models.codecs import BadImage
from records.errors import UnreadableBatch
from tasks.gate.words import plain
from tasks.intake.manifests import Manifest, read_manifest

MANIFESTS = ("manifest.csv", "manifest.parquet")
UNSEEN = ("thumbs.db", "desktop.ini", "__macosx")
"""What operating systems leave in folders, in lower case; names that begin with a dot are not seen either."""

LONGEST_LABEL = 255
"""Characters; a folder's name has no more either."""

TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
"""Characters that are not seen but change the order of others (Unicode, annex 9), and the byte order mark."""

DEEPEST = 32
"""Folders within folders; more would stop programs that go down by calling themselves, when the delivery is removed."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image as it was delivered."""

    path: str
    """As delivered, printable: bytes that are no UTF-8 stand as backslash escapes. Never used as a path."""
    label: str
    name: str
    """The same as the system knows it, relative to the delivery's folder."""
    bytes: int = 0
    """Size of the file; 0 if unknown."""
    problem: str = ""
    """Why it must not be read: missing, outside, link, not-a-file. Empty if it may be."""
    detail: str = ""
    columns: tuple[str, ...] = ()
    """Values of the manifest's further columns."""


@dataclass(frozen=True)
class Delivery:
    """All that was delivered, sorted by path, then by label and columns."""

    name: str
    folder: Path
    items: tuple[Item, ...]
    columns: tuple[str, ...] = ()


def read_delivery(source: Path) -> Delivery:
    """List a folder or manifest. Raises `UnreadableBatch` with what is wrong and where; no image is opened."""
    try:
        return _read(source)
    except UnreadableBatch as refused:
        # Names of files and columns are in the sentence, and it is printed on terminals.
        raise UnreadableBatch(plain(str(refused), most=1000)) from refused
    except OSError as error:
        shown = plain(str(error.filename or source))
        raise UnreadableBatch(f"{shown} cannot be read: {error.strerror or error}.") from error


def read_bytes(folder: Path, item: Item, max_bytes: int) -> bytes:
    """The bytes of an item's file. Raises `BadImage`: the item's own problem, missing, link, not-a-file, too-large."""
    if item.problem:
        raise BadImage(item.problem, item.detail)
    try:
        # Not blocking, so that a FIFO put in the file's place meanwhile cannot stop the night.
        handle = os.open(folder / item.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _unopened(error) from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise BadImage("not-a-file", "no ordinary file")
        if status.st_size > max_bytes:
            raise BadImage("too-large", f"{status.st_size} bytes, more than the {max_bytes} that are allowed")
        try:
            return file.read(status.st_size)
        except OSError as error:
            raise BadImage("unreadable", f"the disk answers: {error.strerror}") from None


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


def _read(source: Path) -> Delivery:
    shown = printable(str(source))
    mode = source.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise UnreadableBatch(f"{shown} is a symbolic link, and links are not followed. Give what it points to.")
    if stat.S_ISREG(mode) and source.suffix.lower() in (".csv", ".parquet"):
        return _from_manifest(source, source.name)
    if not stat.S_ISDIR(mode):
        raise UnreadableBatch(f"{shown} is neither a folder nor a manifest that ends in .csv or .parquet.")
    manifests = [source / name for name in MANIFESTS if os.path.lexists(source / name)]
    if len(manifests) > 1:
        raise UnreadableBatch(f"{shown} holds two manifests, {' and '.join(MANIFESTS)}. Take one of them away.")
    return _from_manifest(manifests[0], source.name) if manifests else _from_folder(source)


def _from_folder(folder: Path) -> Delivery:
    items: list[Item] = []
    for entry in _visible(folder):
        label = label_of(printable(entry.name))
        if entry.is_symlink():
            items.append(_linked(entry.name, label))
        elif entry.is_dir(follow_symlinks=False):
            found = list(_below(folder, label, entry.name))
            if not found:
                raise UnreadableBatch(
                    f"Class folder '{label}' of {printable(str(folder))} holds no files. "
                    "Put its images there, or remove it."
                )
            items.extend(found)
        else:
            raise UnreadableBatch(
                f"'{label}' lies in {printable(str(folder))} without a class. Put it into a folder that is named "
                "like its class, or add a manifest.csv with the columns path and label."
            )
    if not items:
        raise UnreadableBatch(f"{printable(str(folder))} is empty: it holds no class folders and no manifest.")
    return Delivery(printable(folder.name), folder, _in_order(items))


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [e for e in entries if not e.name.startswith(".") and e.name.lower() not in UNSEEN]


def _below(root: Path, label: str, first: str) -> Iterator[Item]:
    """Everything in a class folder, however deep it lies."""
    waiting = [first]
    while waiting:
        folder = waiting.pop()
        if folder.count("/") >= DEEPEST:
            raise UnreadableBatch(f"Folders of {printable(str(root))} are nested deeper than {DEEPEST}.")
        for entry in _visible(root / folder):
            name = f"{folder}/{entry.name}"
            if entry.is_symlink():
                yield _linked(name, label)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(name)
            else:
                yield _item(name, label, entry.stat(follow_symlinks=False))


def _linked(name: str, label: str) -> Item:
    return Item(printable(name), label, name, problem="link", detail="a symbolic link; links are not followed")


def _item(name: str, label: str, status: os.stat_result) -> Item:
    if not stat.S_ISREG(status.st_mode):
        return Item(printable(name), label, name, problem="not-a-file", detail="no ordinary file")
    return Item(printable(name), label, name, bytes=status.st_size)


def _from_manifest(file: Path, name: str) -> Delivery:
    if not stat.S_ISREG(file.lstat().st_mode):
        raise UnreadableBatch(f"{printable(str(file))} is no ordinary file; links are not followed.")
    manifest = read_manifest(file)
    links: dict[PurePosixPath, bool] = {}
    return Delivery(
        printable(name), file.parent, _in_order(list(_rows(manifest, file.parent, links))), manifest.columns
    )


def _rows(manifest: Manifest, folder: Path, links: dict[PurePosixPath, bool]) -> Iterator[Item]:
    for row in manifest.rows:
        status, problem, detail = _look(folder, row.path, links)
        yield Item(
            row.path, label_of(row.label), row.path, status.st_size if status else 0, problem, detail, row.columns
        )


def _look(folder: Path, text: str, links: dict[PurePosixPath, bool]) -> tuple[os.stat_result | None, str, str]:
    """Status of what lies at a manifest's path, and why it must not be read. `links` remembers the folders seen."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        return None, "outside", "the path leads out of the manifest's folder"
    if not text or "\0" in text:
        return None, "missing", "the row names no file"
    try:
        for parent in path.parents[:-1]:
            if parent not in links:
                links[parent] = (folder / parent).is_symlink()
            if links[parent]:
                return None, "link", "a folder on the way is a symbolic link; links are not followed"
        status = (folder / path).lstat()
    except OSError as error:
        bad = _unopened(error)
        return None, bad.problem, bad.detail
    if stat.S_ISLNK(status.st_mode):
        return None, "link", "a symbolic link; links are not followed"
    if not stat.S_ISREG(status.st_mode):
        return None, "not-a-file", "no ordinary file"
    return status, "", ""


def _unopened(error: OSError) -> BadImage:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return BadImage("missing", "no such file in the delivery")
    if error.errno == errno.ELOOP:
        return BadImage("link", "a symbolic link; links are not followed")
    return BadImage("unreadable", f"the file cannot be opened: {error.strerror}")


def _in_order(items: list[Item]) -> tuple[Item, ...]:
    return tuple(sorted(items, key=lambda item: (item.path, item.label, item.columns, item.name)))
