"""One batch before the data gate, whatever it does to the process that looks at it.

A batch over which Python raises is held back, and the others go on. One that ends the whole process, as the kernel ends
those that take too much memory, cannot be told of by that process. So the name of the batch that is looked at is in a
file meanwhile. A process that finds such a file knows that the one before it ended, and looks at each batch in another
process: one that ends again has done so over this batch, and the batch is held back. A power cut costs a minute.

`python -m tasks.validate.isolated ANSWER` is that other process; the question is on its standard input.
"""

import errno
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from records.batch import Batch
from records.errors import Busy, DamagedState, RetainError, Unavailable
from records.experience import Experience, Hold, Report
from records.formatting import plain
from records.record import Record
from records.registration import RunFile
from tasks.workspace.workspace import Workspace

COMMAND = (sys.executable, "-P", "-m", "tasks.validate.isolated")
"""-P: what lies in the workspace is data, whatever it is called."""
LONGEST = 3600.0
"""Seconds that a batch may be looked at in a process of its own."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)


class Question(Record):
    """A batch, and what it is to be compared with."""

    root: Path
    batch: str
    run: RunFile
    tonight: tuple[Experience, ...] = ()
    """Of batches that were admitted before it in the same night."""


class Answer(Record):
    """What the gate says of a batch."""

    report: Report
    experience: Experience | None = None
    """None if it is not admitted."""


@contextmanager
def noted(file: Path, batch: str) -> Iterator[None]:
    """The file names the batch as long as this lasts, and afterwards if the process ends in here."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(batch, encoding="utf-8")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def left_by_another(file: Path) -> str:
    """The batch over which an earlier process ended; empty if none did."""
    with suppress(FileNotFoundError):
        return file.read_text(encoding="utf-8", errors="replace") or "a batch"
    return ""


def is_its_own(error: Exception) -> bool:
    """Whether a batch may be held back for an error that came while it was looked at. What is wrong with a tool, the
    disk or the index is no fault of it."""
    elsewhere = isinstance(error, Unavailable | Busy | sqlite3.DatabaseError)
    return not elsewhere and not (isinstance(error, OSError) and error.errno in FULL)


def unanswered(batch: Batch, why: str) -> Answer:
    """The gate could not be asked, and `why`, as a clause: the batch is held back."""
    hold = Hold(by="retain", why=plain(f"the data gate could not look at it: {why}"))
    report = Report(
        batch=batch.id, source=plain(batch.source), images=batch.images, admitted=False, summary=hold.sentence(),
        checks=(), held=hold,
    )  # fmt: skip
    return Answer(report=report)


def clause(error: Exception) -> str:
    """An error in a clause."""
    if isinstance(error, MemoryError):
        return "that takes more memory than there is"
    said = " ".join(str(error).split())
    return said if isinstance(error, RetainError) else f"{type(error).__name__}{f': {said}' if said else ''}"


def ask_alone(question: Question, batch: Batch, command: Sequence[str] = (), longest: float = LONGEST) -> Answer:
    """Ask in a process of its own. Raises what `is_its_own` says is no fault of the batch, as `Unavailable`."""
    answer = Workspace(question.root).state / "answer.json"
    answer.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            [*(command or COMMAND), str(answer)], cwd=question.root, input=question.model_dump_json(), text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=longest, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return unanswered(batch, f"that takes longer than {longest:.0f} seconds")
    if done.returncode == ELSEWHERE:
        raise Unavailable(done.stderr.strip())
    with suppress(DamagedState):
        return Answer.read(answer)
    return unanswered(batch, f"the process that did so {_end_of(done.returncode)}")


ELSEWHERE = 3
"""Exit status of the other process if the batch is not to blame; the sentence is on its standard error."""


def _end_of(status: int) -> str:
    if status < 0:
        with suppress(ValueError):
            return f"was ended by the signal {signal.Signals(-status).name}"
    return f"ended with status {status}"


def main() -> int:
    """Answer the question on standard input, into the file that is named."""
    from tasks.validate import validator

    # If the machine runs out of memory, this process shall be the one that is ended, not the night.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    try:
        validator.answer(Question.model_validate_json(sys.stdin.read())).write(Path(sys.argv[1]))
    except (RetainError, sqlite3.DatabaseError, OSError) as error:
        print(clause(error), file=sys.stderr)
        return ELSEWHERE
    return 0


if __name__ == "__main__":
    sys.exit(main())
