"""What validation is asked of one batch and what it answers; whose fault it is if it cannot."""

import errno
import sqlite3
from pathlib import Path

from records.batch import Annotation, Batch
from records.errors import Busy, RetainError, Unavailable
from records.experience import Experience, Hold, Report
from records.formatting import plain
from records.record import Record
from records.registration import RunFile
from tasks.validate.settings import ValidateParams

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)


class Question(Record):
    """A batch, and what it is to be compared with."""

    root: Path
    batch: str
    run: RunFile
    params: ValidateParams
    annotation: Annotation = ""
    """What images must come with, for the problem that they are learned for."""
    tonight: tuple[Experience, ...] = ()
    """Of batches that were admitted before it in the same night."""


class Answer(Record):
    """What validation says of a batch."""

    report: Report
    experience: Experience | None = None
    """None if it is not admitted."""


def is_its_own(error: Exception) -> bool:
    """Whether a batch may be held back for an error that came while it was looked at. What is wrong with a tool, the
    disk or the index is no fault of it."""
    elsewhere = isinstance(error, Unavailable | Busy | sqlite3.DatabaseError)
    return not elsewhere and not (isinstance(error, OSError) and error.errno in FULL)


def unanswered(batch: Batch, why: str) -> Answer:
    """Validation could not look at it, and `why`, as a clause: the batch is held back."""
    hold = Hold(by="retain", why=plain(f"validation could not look at it: {why}"))
    report = Report(
        batch=batch.id, source=plain(batch.source), images=batch.images, admitted=False, summary=hold.sentence(),
        checks=(), held=hold,
    )  # fmt: skip
    return Answer(report=report)


def clause(error: Exception) -> str:
    """An error in a clause."""
    if isinstance(error, MemoryError):
        return "that takes more memory than there is"
    message = " ".join(str(error).split())
    return message if isinstance(error, RetainError) else f"{type(error).__name__}{f': {message}' if message else ''}"
