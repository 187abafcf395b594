"""Deliveries of class folders: `<delivery>/<class>/<file>`, however deep the file lies; the label is the first name."""

from collections.abc import Iterator, Sequence

from dataset.deliveries.allowance import Tally
from dataset.deliveries.handles import DirectoryEntry, Tree
from dataset.deliveries.items import Delivery, Item, in_order, label_of, printable
from records.errors import UnreadableBatch

UNSEEN = ("thumbs.db", "desktop.ini", "__macosx")
"""What operating systems leave in folders, in lower case; names that begin with a dot are not seen either."""
READY = "_READY"
"""An empty file that says that the delivery is whole; it is no part of it."""
DEEPEST = 32
"""Folders within folders; more would stop programs that go down by calling themselves, when the delivery is removed."""


def from_folder(tree: Tree, tally: Tally) -> Delivery:
    """Everything in the class folders of a delivery. Raises `UnreadableBatch` for what lies beside them."""
    folder = tree.path
    items: list[Item] = []
    for entry in visible(tree):
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
    return Delivery(printable(folder.name), tree.root(), in_order(items))


def visible(tree: Tree, folder: str = "") -> list[DirectoryEntry]:
    """What somebody delivered in a folder: neither hidden files nor what operating systems leave."""
    entries = [e for e in tree.entries(folder) if not e.name.startswith(".") and e.name.lower() not in UNSEEN]
    # The mark stands beside the class folders; in one of them a file of that name was delivered like any other.
    return entries if folder else [e for e in entries if e.name != READY]


def _below(tree: Tree, label: str, first: str, tally: Tally) -> Iterator[Item]:
    """Everything in a class folder, however deep it lies."""
    for name, entry in files_below(tree, first, tally):
        yield item_of(name, label, entry)


def files_below(tree: Tree, first: str, tally: Tally, more: Sequence[str] = ()) -> Iterator[tuple[str, DirectoryEntry]]:
    """Everything in a folder but folders, however deep it lies; `more`: texts that each of them will take besides."""
    waiting = [first]
    while waiting:
        folder = waiting.pop()
        if folder.count("/") >= DEEPEST:
            raise UnreadableBatch(f"Folders of {printable(str(tree.path))} are nested deeper than {DEEPEST}.")
        for entry in visible(tree, folder):
            name = f"{folder}/{entry.name}"
            tally.row((name, *more))
            tally.file(entry.status)
            if entry.is_folder:
                waiting.append(name)
            else:
                yield name, entry


def _linked(name: str, label: str) -> Item:
    return Item(printable(name), label, name, problem="link", detail="a symbolic link; links are not followed")


def item_of(name: str, label: str, entry: DirectoryEntry) -> Item:
    """What lies in a folder, as an item."""
    if entry.is_link:
        return _linked(name, label)
    if not entry.is_file:
        return Item(printable(name), label, name, problem="not-a-file", detail="no ordinary file")
    return Item(printable(name), label, name, bytes=entry.status.st_size)
