"""Two nights at once: the second waits until the first has ended; a command waits too, or says who is at work.

`workspace_lock` is what a night and every command that changes a workspace hold. Beneath it are turns: a file that one
process at a time holds (flock: on one machine), and that says who holds it. Two clones on two machines are two
workspaces. That Prefect starts one scheduled night at a time stands in prefect.yaml.

The system takes the hold away when the process ends, however it ends: nothing is left behind that a person would have
to clean up, and a file that can be held is a file whose last holder is gone.
"""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from records.errors import Busy
from records.record import Record
from tasks.workspace.workspace import Workspace

log = logging.getLogger("retain")
ASK_EVERY = 0.2
"""Seconds between two looks at a file that another process holds."""


@contextmanager
def workspace_lock(place: Workspace, what: str = "another night or command", patient: bool = False) -> Iterator[None]:
    """One night or command at a time changes a workspace, also when two are started by hand.

    `what` is shown to those who come meanwhile. The `patient` wait for their turn; for others raises `Busy`.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(turn(place.lock, what, patient))
        except LockTaken as other:
            who, detail = "Another night or command", ""
            if other.holder is not None:
                who, detail = other.holder.what, f" ({other.holder.detail()})"
            raise Busy(
                f"{who[0].upper()}{who[1:]} is at work in {place.root}{detail}. Wait for it to end, then start again."
            ) from None
        yield


class Holder(Record):
    """Who is at work."""

    what: str
    """In words: a night, or a command as it was typed."""
    process: int
    since: datetime

    def detail(self) -> str:
        """Which process, and since when, in this machine's time."""
        return f"process {self.process}, since {self.since.astimezone():%Y-%m-%d %H:%M}"


class LockTaken(Exception):
    """Another process holds the file."""

    def __init__(self, holder: Holder | None) -> None:
        """`holder` is None if it has not written yet who it is."""
        super().__init__(holder)
        self.holder = holder


@contextmanager
def turn(path: Path, what: str, patient: bool) -> Iterator[None]:
    """Hold the file `path`, as `what`, while in here.

    If another process holds it, raises `LockTaken`, or, if `patient`, waits as long as that takes, says for whom, and
    again for each further one that comes first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened so that it is not emptied: those who wait read in it who holds it.
    with path.open("a+b") as file:
        _take(file, patient)
        _write(file, Holder(what=what, process=os.getpid(), since=datetime.now().astimezone()).model_dump_json())
        try:
            yield
        finally:
            _write(file, "")


def is_held(path: Path) -> bool:
    """True if some process holds the file, this one too."""
    try:
        with path.open("r+b") as file:
            return not _is_free(file)
    except FileNotFoundError:
        return False


def holder(path: Path) -> Holder | None:
    """Who held the file last, if that was written."""
    try:
        return Holder.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _take(file: BinaryIO, patient: bool) -> None:
    began, waited_for = time.monotonic(), ""
    while not _is_free(file):
        who = holder(Path(file.name))
        if not patient:
            raise LockTaken(who)
        # Whoever took it a moment ago has not written yet who it is.
        if who is not None and who.what != waited_for:
            log.info("waiting for %s (%s)", who.what, who.detail())
            waited_for = who.what
        time.sleep(ASK_EVERY)
    if waited_for:
        log.info("waited %.0f seconds for %s", time.monotonic() - began, waited_for)


def _is_free(file: BinaryIO) -> bool:
    """True if it was free; then it is held by this process until the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(file: BinaryIO, text: str) -> None:
    file.truncate(0)
    file.write(text.encode())
    file.flush()
