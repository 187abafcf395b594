"""When a delivery in the inbox may be taken: it is marked as whole, or nothing in it has changed for a while.

- It is marked by an empty file: `_READY` in a folder, `monday.tar._READY` beside a file `monday.tar`. Written last, it
  says that all else is there. It is no image, and goes when the delivery goes.
- Else it has been still for `ingest.settle_seconds`: no file or folder in it, hidden ones included, is newer, by the
  time of its content (mtime) or of its name, size and owner (ctime). A time of content that lies ahead was set by hand
  and does not count. Nobody can set the other: if that lies ahead, this machine's clock was set back, or the disk's is
  ahead. How long such a file has been still is not known, so a night watches whether any more, or later, appear.
- Names that copying programs give to what is not finished (`.part`, `.crdownload`, rsync's `.name.XXXXXX`) say that it
  is not, however still it is.

A night waits a little for a delivery that may settle, and leaves one that goes on changing to the next night.
"""

import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dataset.deliveries.folders import READY
from dataset.deliveries.handles import Tree
from dataset.deliveries.items import printable

UNFINISHED = (".part", ".tmp", ".partial", ".crdownload", ".filepart")
RSYNC = re.compile(r"\.(?!_).+\.[A-Za-z0-9]{6}")
WINDOWS = 3
"""A night waits at most so many times `settle_seconds`."""
LEAST_PAUSE = 0.1
DEEPEST = 64
"""Folders within folders that are looked at: what lies deeper is in no batch."""


@dataclass(frozen=True)
class Clock:
    """The time, in seconds since 1970, and how to wait; tests have one of their own."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


CLOCK = Clock()
"""That of this machine."""


@dataclass(frozen=True)
class Unready:
    """Why a delivery must not be taken yet."""

    seen: str
    """What was seen, as the end of a sentence that begins with its name."""
    until: str
    """What it waits for, as a clause."""
    hint: str
    seconds: float
    """When to look again."""

    def sentence(self) -> str:
        """For a person who looks later, without the delivery's name in front."""
        return f"{self.seen}; it is taken once {self.until} ({self.hint})."


def marker(delivery: Path) -> Path:
    """The file that says that a delivery is whole."""
    return delivery / READY if is_folder(delivery) else delivery.with_name(f"{delivery.name}.{READY}")


def mark(delivery: Path) -> None:
    """Say that a delivery is whole."""
    marker(delivery).touch()


Watched = dict[Path, tuple["Ahead", float]]
"""Deliveries with what of them lay ahead when, and since when that is so."""


class Ahead(NamedTuple):
    """What of a delivery changed later than this machine's clock says it is."""

    entries: int = 0
    newest: float = 0.0


def unready(delivery: Path, settle: float, now: float, watched: Watched | None = None) -> Unready | None:
    """Why a delivery must not be taken at `now`; None if it may be. `settle`: seconds without change; 0: always.

    `watched` is what earlier calls saw, and is kept up to date; without it what lies ahead is never still.
    """
    mark = marker(delivery)
    if settle == 0 or _is_mark(mark) or not os.path.lexists(delivery):
        return None
    hint = f"an empty file {READY} in it" if is_folder(delivery) else f"an empty file {printable(mark.name)} beside it"
    hint += " says it is whole"
    newest, ahead = 0.0, Ahead()
    for name, status in _everything(delivery):
        if name.lower().endswith(UNFINISHED) or RSYNC.fullmatch(name):
            return Unready(f"holds '{printable(name)}', as while it is copied", "that is gone", hint, settle)
        # When its name, size or owner changed, and when its content did. None: it was there a moment ago.
        changed, written = (now, now) if status is None else (status.st_ctime, status.st_mtime)
        if changed > now:
            ahead = Ahead(ahead.entries + 1, max(ahead.newest, changed))
        newest = max(newest, *(time for time in (changed, written) if time <= now), 0.0)
    still = now - newest
    if ahead.entries:
        still = min(still, _still_ahead(delivery, ahead, now, {} if watched is None else watched))
    if still >= settle:
        return None
    if ahead.entries:
        seen = "changed at a time that lies ahead of this machine's clock"
        return Unready(seen, f"a night has seen it still for {settle:g} s", hint, settle - still)
    return Unready(f"changed {still:.0f} s ago", f"it has been still for {settle:g} s", hint, settle - still)


def _still_ahead(delivery: Path, ahead: Ahead, now: float, watched: Watched) -> float:
    """For how many seconds nothing more, and nothing later, has been seen to lie ahead."""
    before, since = watched.get(delivery, (Ahead(), now))
    if before != ahead:
        watched[delivery] = ahead, now
        return 0.0
    return now - since


def settle(
    deliveries: Sequence[Path], seconds: float, clock: Clock, report: Callable[[str], None]
) -> tuple[tuple[Path, ...], dict[Path, Unready]]:
    """Deliveries that may be taken, in their order, and why the others may not; waits for those that may settle soon.

    `report` is called with what is waited for.
    """
    deadline = clock.now() + WINDOWS * seconds
    waiting = dict.fromkeys(deliveries)
    watched: Watched = {}
    while True:
        found = {delivery: unready(delivery, seconds, clock.now(), watched) for delivery in waiting}
        left = {delivery: why for delivery, why in found.items() if why is not None}
        waiting = dict.fromkeys(left)
        pause = max(LEAST_PAUSE, min((why.seconds for why in left.values()), default=0))
        if not left or clock.now() + pause > deadline:
            return tuple(delivery for delivery in deliveries if delivery not in left), left
        for delivery, why in left.items():
            report(f"{printable(delivery.name)} {why.seen}; waiting until {why.until} ({why.hint})")
        clock.sleep(pause)


def _everything(delivery: Path) -> Iterator[tuple[str, os.stat_result | None]]:
    """A delivery and all that lies in it: the name, and what is known of it."""
    yield delivery.name, _status(delivery)
    try:
        tree = Tree.at(delivery)
    except OSError:
        return
    with tree:
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                entries = tree.entries(folder)
            except OSError:
                yield folder.rpartition("/")[2], _status_in(tree, folder)
                continue
            for entry in entries:
                yield entry.name, entry.status
                if entry.is_folder and folder.count("/") < DEEPEST:
                    folders.append(f"{folder}/{entry.name}" if folder else entry.name)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _status_in(tree: Tree, name: str) -> os.stat_result | None:
    try:
        return tree.status(name)
    except OSError:
        return None


def _is_mark(path: Path) -> bool:
    """An ordinary file: a folder or a link of that name says nothing."""
    status = _status(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_folder(delivery: Path) -> bool:
    """Whether it is a folder itself. What a link points to is not even looked at: that may never answer."""
    status = _status(delivery)
    return status is not None and stat.S_ISDIR(status.st_mode)
