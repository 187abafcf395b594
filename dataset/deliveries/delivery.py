"""A delivery: what was put into the inbox, before any image of it is read. Names are data here.

These kinds are known, a folder or a file each:

- A folder `<delivery>/<class>/<file>`: the label is the first folder's name, however deep the file lies.
- A manifest (CSV in UTF-8, or Parquet) with the columns `path`, relative to the manifest, and `label`; any further
  columns are kept. A folder that holds `manifest.csv` or `manifest.parquet` is read through it.
- Tar files of samples: a `.tar`, or a folder of such shards, with `classes.txt` beside them if labels are numbers. What
  a sample is, is in `samples.py`.
- Parquet files with the images in them: a `.parquet`, or a folder of such files. What their columns mean is in
  `tables.py`. A file with the columns `path` and `label` and no struct of `bytes` is a manifest.
- Folders whose images come with masks: see `annotated.py`.

An image within a file is called `<file>#<member>` or `<file>#<row, six digits>`; if the delivery is that one file, its
name is left out, so that the same content under another name is the same content.

No link is followed and no path leaves its folder. What is wrong with one image becomes a row that says so; what is
wrong with the delivery as a whole is `UnreadableBatch`, and then nothing is taken.
"""

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from dataset.deliveries.allowance import USUAL, Caps, Tally
from dataset.deliveries.annotated import annotated_kind
from dataset.deliveries.folders import from_folder, visible
from dataset.deliveries.handles import Tree
from dataset.deliveries.items import Container, Delivery, Item, in_order, label_of, printable
from dataset.deliveries.looking import look
from dataset.deliveries.manifests import Manifest, manifest_in
from dataset.deliveries.packed import from_tables, from_tars, once
from dataset.deliveries.samples import CLASSES
from dataset.deliveries.tables import holds_images
from records.errors import UnreadableBatch
from records.formatting import plain

MANIFESTS = ("manifest.csv", "manifest.parquet")
TAR, TABLE = ".tar", ".parquet"
COMPRESSED_TARS = (".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")


def read_delivery(source: Path, caps: Caps = USUAL) -> Delivery:
    """List a folder or manifest. Raises `UnreadableBatch` with what is wrong and where; no image is opened."""
    tally = Tally(caps, printable(str(source)))
    try:
        delivery = _read(source, tally)
        for item in delivery.items:
            tally.image(item.bytes + (item.mask.bytes if item.mask else 0), item.path, item.problem, item.detail)
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
        if annotated := annotated_kind(tree):
            return annotated(tree, tally)
        if shards := _shards(tree):
            kind = from_tars if shards[0].suffix.lower() == TAR else from_tables
            return kind(tree, source, shards, tally)
        return from_folder(tree, tally)


def _from_file(source: Path, shown: str, tally: Tally) -> Delivery:
    suffix = source.suffix.lower()
    if source.name.lower().endswith(COMPRESSED_TARS):
        raise _compressed(shown)
    if suffix not in (TAR, TABLE, ".csv"):
        raise _unknown(shown)
    with Tree.at(source.parent.resolve()) as tree:
        if suffix == TAR:
            return from_tars(tree, source, [source], tally)
        return _from_manifest(tree, source, source.name, tally)


def _unknown(shown: str) -> UnreadableBatch:
    return UnreadableBatch(f"{shown} is neither a folder nor a file that ends in .csv, .parquet or .tar.")


def _compressed(shown: str) -> UnreadableBatch:
    return UnreadableBatch(f"{shown} is a compressed tar. Unpack it to a plain .tar: images are compressed already.")


def _shards(folder: Tree) -> list[Path]:
    """Tar or Parquet files, by name, if the folder holds such files; else none."""
    entries = sorted(visible(folder), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.lower().endswith(COMPRESSED_TARS):
            raise _compressed(printable(str(folder.path / entry.name)))
    found = [entry for entry in entries if entry.is_file and Path(entry.name).suffix.lower() in (TAR, TABLE)]
    kinds = {Path(entry.name).suffix.lower() for entry in found}
    shown = printable(str(folder.path))
    if len(kinds) > 1:
        raise UnreadableBatch(f"{shown} holds .tar and .parquet files. Make two deliveries of them.")
    companions = (CLASSES,) if kinds == {TAR} else ()
    other = next((e for e in entries if e not in found and not (e.name in companions and e.is_file)), None)
    if found and other is not None:
        raise UnreadableBatch(
            f"'{printable(other.name)}' lies beside the {kinds.pop()} files of {shown}. Such a folder "
            f"holds these files alone{', and classes.txt' if companions else ''}; take it away."
        )
    return [folder.path / entry.name for entry in found]


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
        return replace(from_tables(tree, file, [file], tally), name=printable(name))
    places: dict[tuple[str, str], str] = {}
    found = in_order(list(_rows(tree, manifest, tally)))
    items = tuple(once(item, (PurePosixPath(item.name).as_posix(), item.label), places) for item in found)
    return Delivery(printable(name), tree.root(), items, manifest.columns, (container,))


def _rows(tree: Tree, manifest: Manifest, tally: Tally) -> Iterator[Item]:
    for row in manifest.rows:
        status, problem, detail = look(tree, row.path, "manifest")
        if status:
            tally.file(status)
        yield Item(
            row.path, label_of(row.label), row.path, status.st_size if status else 0, problem, detail, row.columns
        )
