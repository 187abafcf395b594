"""One batch in validation, whatever it does to the process that looks at it.

A batch over which Python raises is held back, and the others go on. One that ends the whole process, as the kernel ends
those that take too much memory, cannot be reported by that process. So the name of the batch that is looked at is in a
file meanwhile. A process that finds such a file knows that the one before it ended, and looks at each batch in another
process: one that ends again has done so over this batch, and the batch is held back. A power cut costs a minute.

`python -m tasks.validate.isolated ANSWER` is that other process; the question is on its standard input.
"""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from records.batch import Batch
from records.errors import DamagedState, RetainError, Unavailable
from tasks.validate import validator
from tasks.validate.question import Answer, Question, clause, unanswered
from tasks.workspace.workspace import Workspace

COMMAND = (sys.executable, "-P", "-m", "tasks.validate.isolated")
"""-P: what lies in the workspace is data, whatever it is called."""
LONGEST = 3600.0
"""Seconds that a batch may be looked at in a process of its own."""


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
