"""A delivery: what was put into the inbox, before any image of it is read. Names are data here.

Four kinds are known, a folder or a file each:

- A folder `<delivery>/<class>/<file>`: the label is the first folder's name, however deep the file lies.
- A manifest (CSV in UTF-8, or Parquet) with the columns `path`, relative to the manifest, and `label`; any further
  columns are kept. A folder that holds `manifest.csv` or `manifest.parquet` is read through it.
- Tar files of samples: a `.tar`, or a folder of such shards, with `classes.txt` beside them if labels are numbers. What
  a sample is, is in `samples.py`.
- Parquet files with the images in them: a `.parquet`, or a folder of such files. What their columns mean is in
  `tables.py`. A file with the columns `path` and `label` and no struct of `bytes` is a manifest.

An image within a file is called `<file>#<member>` or `<file>#<row, six digits>`; if the delivery is that one file, its
name is left out, so that the same content under another name is the same content.

No link is followed and no path leaves its folder. What is wrong with one image becomes a row that says so; what is
wrong with the delivery as a whole is `UnreadableBatch`, and then nothing is taken.
"""

import errno
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from dataset.decoding.codecs import BadImage
from dataset.deliveries.allowance import USUAL, Caps, Tally, is_sparse
from dataset.deliveries.handles import DirectoryEntry, LinkOnTheWay, NotAFile, Root, Tree
from dataset.deliveries.manifests import Manifest, manifest_in
from dataset.deliveries.samples import CLASSES, Sample, read_classes, read_samples
from dataset.deliveries.tables import Cell, TableLayout, holds_images, read_layout, read_pictures
from records.errors import UnreadableBatch
from records.formatting import plain

MANIFESTS = ("manifest.csv", "manifest.parquet")
REPEATED = "repeated"
"""The problem of a row that names what a row before names with the same label: it is neither read nor kept again."""
UNSEEN = ("thumbs.db", "desktop.ini", "__macosx")
"""What operating systems leave in folders, in lower case; names that begin with a dot are not seen either."""

LONGEST_LABEL = 255
"""Characters; a folder's name has no more either."""

TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
"""Characters that are not seen but change the order of others (Unicode, annex 9), and the byte order mark."""

READY = "_READY"
"""An empty file that says that the delivery is whole; it is no part of it."""

TAR, TABLE = ".tar", ".parquet"
COMPRESSED_TARS = (".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
ROW_DIGITS = 6
MOST_COLUMNS = 100
"""Different keys in the .json files of a delivery; more would be a column for each image."""

DEEPEST = 32
"""Folders within folders; more would stop programs that go down by calling themselves, when the delivery is removed."""


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
    inside: int | Cell | None = None
    """Where it stands in the file `name`: from which byte of a tar, or in which cell. None if it is that file."""


class Container(NamedTuple):
    """A file in which images or labels stand: a tar, a Parquet file, a manifest, `classes.txt`."""

    name: str
    """In the delivery's folder, as the system knows it."""
    seen: tuple[int, int, int, int]
    """Inode, size, and times of content and of change in ns, when it had been listed."""
    unread: tuple[str, ...] = ()
    """What in it becomes nothing, as retain does not understand it: columns, members. Such a file is never removed."""

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
    """Files in which images or labels stand."""


def read_delivery(source: Path, caps: Caps = USUAL) -> Delivery:
    """List a folder or manifest. Raises `UnreadableBatch` with what is wrong and where; no image is opened."""
    tally = Tally(caps, printable(str(source)))
    try:
        delivery = _read(source, tally)
        for item in delivery.items:
            tally.image(item.bytes, item.path, item.problem, item.detail)
        tally.close()
        return delivery
    except UnreadableBatch as refused:
        # Names of files and columns are in the sentence, and it is printed on terminals.
        raise UnreadableBatch(plain(str(refused), most=1000)) from refused
    except OSError as error:
        shown = plain(str(error.filename or source))
        raise UnreadableBatch(f"{shown} cannot be read: {error.strerror or error}.") from error
    except MemoryError:
        shown = plain(str(source))
        raise UnreadableBatch(f"{shown} takes more memory than there is. Make several deliveries of it.") from None


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


def _read(source: Path, tally: Tally) -> Delivery:
    shown = printable(str(source))
    mode = source.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise UnreadableBatch(f"{shown} is a symbolic link, and links are not followed. Give what it points to.")
    if stat.S_ISREG(mode):
        return _from_file(source, shown, tally)
    if not stat.S_ISDIR(mode):
        raise _unknown(shown)
    with Tree.at(source) as tree:
        manifests = [source / name for name in MANIFESTS if tree.holds(name)]
        if len(manifests) > 1:
            raise UnreadableBatch(f"{shown} holds two manifests, {' and '.join(MANIFESTS)}. Take one of them away.")
        if manifests:
            return _from_manifest(tree, manifests[0], source.name, tally)
        if shards := _shards(tree):
            kind = _from_tars if shards[0].suffix.lower() == TAR else _from_tables
            return kind(tree, source, shards, tally)
        return _from_folder(tree, tally)


def _from_file(source: Path, shown: str, tally: Tally) -> Delivery:
    suffix = source.suffix.lower()
    if source.name.lower().endswith(COMPRESSED_TARS):
        raise _compressed(shown)
    if suffix not in (TAR, TABLE, ".csv"):
        raise _unknown(shown)
    with Tree.at(source.parent.resolve()) as tree:
        if suffix == TAR:
            return _from_tars(tree, source, [source], tally)
        return _from_manifest(tree, source, source.name, tally)


def _unknown(shown: str) -> UnreadableBatch:
    return UnreadableBatch(f"{shown} is neither a folder nor a file that ends in .csv, .parquet or .tar.")


def _compressed(shown: str) -> UnreadableBatch:
    return UnreadableBatch(f"{shown} is a compressed tar. Unpack it to a plain .tar: images are compressed already.")


def _shards(folder: Tree) -> list[Path]:
    """Tar or Parquet files, by name, if the folder holds such files; else none."""
    entries = sorted(_visible(folder), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.lower().endswith(COMPRESSED_TARS):
            raise _compressed(printable(str(folder.path / entry.name)))
    found = [entry for entry in entries if entry.is_file and Path(entry.name).suffix.lower() in (TAR, TABLE)]
    kinds = {Path(entry.name).suffix.lower() for entry in found}
    shown = printable(str(folder.path))
    if len(kinds) > 1:
        raise UnreadableBatch(f"{shown} holds .tar and .parquet files. Make two deliveries of them.")
    beside = (CLASSES,) if kinds == {TAR} else ()
    other = next((e for e in entries if e not in found and not (e.name in beside and e.is_file)), None)
    if found and other is not None:
        raise UnreadableBatch(
            f"'{printable(other.name)}' lies beside the {kinds.pop()} files of {shown}. Such a folder "
            f"holds these files alone{', and classes.txt' if beside else ''}; take it away."
        )
    return [folder.path / entry.name for entry in found]


def _from_tars(tree: Tree, source: Path, shards: Sequence[Path], tally: Tally) -> Delivery:
    """`source` is the one shard, or the folder of all, which is `tree`."""
    found: list[tuple[Path, Sample]] = []
    keys: set[str] = set()
    containers: list[Container] = []
    classes: tuple[str, ...] = ()
    if source not in shards and tree.holds(CLASSES):
        with tree.reading(CLASSES) as file:
            containers.append(Container.of(file, CLASSES))
            classes = read_classes(file.fileno(), printable(str(source / CLASSES)))
    for shard in shards:
        unread: set[str] = set()
        with tree.reading(shard.name) as file:
            _admit(file, shard, tally)
            samples = read_samples(file.fileno(), classes, printable(str(shard)), unread)
            for sample in tally.rows(samples, lambda sample: (sample.name, sample.label, *sample.columns.values())):
                found.append((shard, sample))
                keys.update(map(printable, sample.columns))
                if len(keys) > MOST_COLUMNS:
                    raise UnreadableBatch(
                        f"The .json files in {printable(str(source))} have more than {MOST_COLUMNS} different keys. "
                        "Keep those that say something of every image."
                    )
            containers.append(Container.of(file, shard.name, unread))
    if not found:
        raise UnreadableBatch(f"{printable(str(source))} is empty: it holds no samples.")
    columns = tuple(sorted(keys))
    items = [_of_sample(sample, shard, _called(source, shard), columns) for shard, sample in found]
    return Delivery(printable(source.name), tree.root(), _in_order(items), columns, tuple(containers))


def _admit(file: IO[bytes], shard: Path, tally: Tally) -> None:
    """Count a file with images in it."""
    if is_sparse(file.fileno()):
        raise UnreadableBatch(f"{printable(str(shard))} is nearly all holes (a sparse file). Copy it from its source.")
    tally.file(os.fstat(file.fileno()))


def _of_sample(sample: Sample, shard: Path, called: str, columns: Sequence[str]) -> Item:
    values = {printable(key): printable(value) for key, value in sample.columns.items()}
    return Item(
        path=called + printable(sample.name), label=label_of(printable(sample.label)), name=shard.name,
        bytes=sample.bytes, problem=sample.problem, detail=printable(sample.detail),
        columns=tuple(values.get(column, "") for column in columns), inside=sample.offset,
    )  # fmt: skip


def _from_tables(tree: Tree, source: Path, shards: Sequence[Path], tally: Tally) -> Delivery:
    """`source` is the one file, or the folder of all, which is `tree`."""
    items: list[Item] = []
    containers: list[Container] = []
    first: TableLayout | None = None
    places: dict[tuple[str, str], str] = {}
    for shard in shards:
        shown = printable(str(shard))
        with tree.reading(shard.name) as file:
            _admit(file, shard, tally)
            layout = read_layout(file, shown, tally)
            first = first or layout
            if replace(layout, names={}, left_out=()) != replace(first, names={}, left_out=()):
                raise UnreadableBatch(f"{shown} has other columns than {shards[0].name}. Make two deliveries of them.")
            found = read_pictures(file, layout, shown)
            pictures = list(tally.rows(found, lambda picture: (picture.label, *picture.columns)))
            containers.append(Container.of(file, shard.name, layout.left_out))
        # As many digits as it takes for the order of the paths to be that of the rows, which are read forwards.
        digits = max(ROW_DIGITS, len(str(len(pictures))))
        for number, picture in enumerate(pictures):
            path = f"{_called(source, shard) or '#'}{number:0{digits}d}"
            item = Item(
                path, label_of(picture.label), shard.name, picture.bytes, picture.problem, picture.detail,
                picture.columns, picture.cell,
            )  # fmt: skip
            items.append(_once(item, (picture.digest, item.label), places))
    if first is None or not items:
        raise UnreadableBatch(f"{printable(str(source))} is empty: its files have no rows.")
    return _without_empty_path(
        Delivery(printable(source.name), tree.root(), _in_order(items), first.columns, tuple(containers))
    )


def _once(item: Item, key: tuple[str, str], places: dict[tuple[str, str], str]) -> Item:
    """The item; `REPEATED` if one of the same `key`, its image and its label, is in `places` already."""
    if item.problem:
        return item
    if key in places:
        return item._replace(bytes=0, problem=REPEATED, detail=f"the same image and label as {places[key]}")
    places[key] = item.path
    return item


def _without_empty_path(delivery: Delivery) -> Delivery:
    """Many writers leave the path of every image empty; that is no column."""
    *others, last = delivery.columns or ("",)
    if not last.endswith(".path") or any(item.columns[-1] for item in delivery.items):
        return delivery
    items = tuple(item._replace(columns=item.columns[:-1]) for item in delivery.items)
    return replace(delivery, items=items, columns=tuple(others))


def _called(source: Path, shard: Path) -> str:
    """What stands before the name of an image within a shard."""
    return "" if shard == source else f"{printable(shard.name)}#"


def _from_folder(tree: Tree, tally: Tally) -> Delivery:
    folder = tree.path
    items: list[Item] = []
    for entry in _visible(tree):
        label = label_of(printable(entry.name))
        if entry.is_link:
            items.append(_linked(entry.name, label))
        elif entry.is_folder:
            found = list(_below(tree, label, entry.name, tally))
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
    return Delivery(printable(folder.name), tree.root(), _in_order(items))


def _visible(tree: Tree, folder: str = "") -> list[DirectoryEntry]:
    entries = [e for e in tree.entries(folder) if not e.name.startswith(".") and e.name.lower() not in UNSEEN]
    # The mark stands beside the class folders; in one of them a file of that name was delivered like any other.
    return entries if folder else [e for e in entries if e.name != READY]


def _below(tree: Tree, label: str, first: str, tally: Tally) -> Iterator[Item]:
    """Everything in a class folder, however deep it lies."""
    waiting = [first]
    while waiting:
        folder = waiting.pop()
        if folder.count("/") >= DEEPEST:
            raise UnreadableBatch(f"Folders of {printable(str(tree.path))} are nested deeper than {DEEPEST}.")
        for entry in _visible(tree, folder):
            name = f"{folder}/{entry.name}"
            tally.row((name,))
            tally.file(entry.status)
            if entry.is_link:
                yield _linked(name, label)
            elif entry.is_folder:
                waiting.append(name)
            else:
                yield _item(name, label, entry)


def _linked(name: str, label: str) -> Item:
    return Item(printable(name), label, name, problem="link", detail="a symbolic link; links are not followed")


def _item(name: str, label: str, entry: DirectoryEntry) -> Item:
    if not entry.is_file:
        return Item(printable(name), label, name, problem="not-a-file", detail="no ordinary file")
    return Item(printable(name), label, name, bytes=entry.status.st_size)


def _from_manifest(tree: Tree, file: Path, name: str, tally: Tally) -> Delivery:
    """`file` lies in `tree`; `name` is what the delivery is called."""
    if not stat.S_ISREG(tree.status(file.name).st_mode):
        raise UnreadableBatch(f"{printable(str(file))} is no ordinary file; links are not followed.")
    with tree.reading(file.name) as content:
        container = Container.of(content, file.name)
        table = file.suffix.lower() == TABLE and holds_images(content)
        content.seek(0)
        manifest = None if table else manifest_in(content, file, tally)
    if manifest is None:
        return replace(_from_tables(tree, file, [file], tally), name=printable(name))
    places: dict[tuple[str, str], str] = {}
    found = _in_order(list(_rows(tree, manifest, tally)))
    items = tuple(_once(item, (PurePosixPath(item.name).as_posix(), item.label), places) for item in found)
    return Delivery(printable(name), tree.root(), items, manifest.columns, (container,))


def _rows(tree: Tree, manifest: Manifest, tally: Tally) -> Iterator[Item]:
    for row in manifest.rows:
        status, problem, detail = _look(tree, row.path)
        if status:
            tally.file(status)
        yield Item(
            row.path, label_of(row.label), row.path, status.st_size if status else 0, problem, detail, row.columns
        )


def _look(tree: Tree, text: str) -> tuple[os.stat_result | None, str, str]:
    """Status of what lies at a manifest's path, and why it must not be read."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        return None, "outside", "the path leads out of the manifest's folder"
    if not text or "\0" in text:
        return None, "missing", "the row names no file"
    try:
        status = tree.status(text)
    except OSError as error:
        bad = unopened(error)
        return None, bad.problem, bad.detail
    if stat.S_ISLNK(status.st_mode):
        return None, "link", "a symbolic link; links are not followed"
    if not stat.S_ISREG(status.st_mode):
        return None, "not-a-file", "no ordinary file"
    return status, "", ""


def _in_order(items: list[Item]) -> tuple[Item, ...]:
    return tuple(sorted(items, key=lambda item: (item.path, item.label, item.columns, item.name)))
