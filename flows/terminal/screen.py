"""The terminal: results go to standard output; progress and errors, to standard error.

Names that come from outside are text: no markup in them is drawn and no control character is obeyed. On a pipe a line
is as long as what it says, and progress is a plain line for each step, for logs.
"""

import json
import logging
import os
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, RenderableType
from rich.status import Status
from rich.table import Table
from rich.text import Text

from records import formatting
from records.batch import shortened
from records.record import Record

LABEL = 12
"""Width of the column that names what a line is about."""
ON_A_PIPE = 1000
SELDOM = 10.0
"""Seconds between two messages of progress on a pipe."""
OFTEN = 1.0
"""Seconds between two in a terminal."""
MOVING = logging.getLogger("retain.moving")
"""Progress that comes so often that only a terminal shows it; the log of a night, and of Prefect, would drown in it."""
MOVING.propagate = False


def paper(error: bool = False) -> Console:
    """Standard output, or standard error, as it is now."""
    console = Console(stderr=error, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = ON_A_PIPE
    return console


def visible(text: str) -> str:
    """Text on one line; what cannot be printed stands as in Python (`\\n`, `\\x1b`). Ids of batches are shortened."""
    return shortened("".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text))


def say(sentence: str = "", style: str = "") -> None:
    """A line of text, broken between words where the terminal ends."""
    draw(Text(visible(sentence), style=style))


def draw(what: RenderableType) -> None:
    """A table, or text in several styles."""
    console = paper()
    console.print(what, soft_wrap=isinstance(what, Text) and not console.is_terminal)


def print_field(label: str, value: str | Text, style: str = "") -> None:
    """A line that begins with what it is about; further lines of the same value stand under its first."""
    text = value if isinstance(value, Text) else Text(visible(value), style=style)
    if not paper().is_terminal:
        draw(Text(f"{label:{LABEL}} ").append_text(text))
        return
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=LABEL, style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(label, text)
    draw(grid)


def fail(sentence: str) -> None:
    """A line on standard error."""
    console = paper(error=True)
    console.print(Text(visible(sentence), style="red"), soft_wrap=not console.is_terminal)


def print_json(content: Record | Sequence[Record] | dict[str, object]) -> None:
    """One document on standard output; all but ASCII is escaped, so that it survives any terminal and pipe."""
    if isinstance(content, Record):
        plain: object = content.model_dump(mode="json", by_alias=True)
    else:
        plain = [r.model_dump(mode="json") for r in content] if isinstance(content, Sequence) else content
    print(json.dumps(plain, indent=2))


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names with commas between them, `nothing` if there are none; of many, the first ones and how many more."""
    return formatting.listed(names, most) or "nothing"


def count(number: int, what: str, several: str = "") -> str:
    """`1 batch`, `2 batches`; `several` is the plural, if it is not made with an s."""
    return f"{number:,} {what if number == 1 else several or f'{what}s'}"


def place(path: Path) -> str:
    """A path as it is typed here: relative if it lies below the working directory."""
    path = path.absolute()
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def command(words: str, workspace: Path) -> str:
    """A command of retain for a workspace, as it is typed here."""
    here = workspace.absolute() == Path.cwd()
    return f"retain {words}" if here else f"retain {words} -w {shlex.quote(place(workspace))}"


class StatusLine(logging.Handler):
    """Shows the latest message of the steps in the status line, after the chapter that it belongs to.

    What is worth keeping (`lasting`) stays on a line of its own, unless there are chapters: then there is a table.
    """

    def __init__(self, status: Status) -> None:
        super().__init__()
        self.status, self.chapter = status, ""

    def emit(self, record: logging.LogRecord) -> None:
        """Replace the status line."""
        message = visible(record.getMessage())
        if getattr(record, "lasting", False) and not self.chapter:
            self.status.console.print(Text(message))
            return
        if getattr(record, "chapter", False):
            self.chapter = f"{message}: "
        line = Text(message if self.chapter == f"{message}: " else self.chapter + message)
        line.truncate(self.status.console.width - len("⠋ "), overflow="ellipsis")
        self.status.update(line)


class StepLines(logging.Handler):
    """A line for each step; a message that the next one replaces (`fleeting`) only if nothing was said for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.console, self.last = paper(error=True), time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message."""
        now = time.monotonic()
        if not getattr(record, "fleeting", False) or now - self.last >= SELDOM:
            self.last = now
            self.console.print(Text(visible(record.getMessage())), soft_wrap=True)


@contextmanager
def at_work(what: str) -> Iterator[None]:
    """Show what is being done: in a terminal on one line that is gone at the end, on a pipe a line for each step."""
    log = logging.getLogger("retain")
    log.setLevel(logging.INFO)
    log.propagate = False
    console = paper(error=True)
    if not console.is_terminal:
        with _attached(log, StepLines()):
            yield
        return
    MOVING.setLevel(logging.INFO)
    with console.status(Text(visible(what))) as status:
        handler = StatusLine(status)
        with _attached(log, handler), _attached(MOVING, handler):
            yield


@contextmanager
def _attached(log: logging.Logger, handler: logging.Handler) -> Iterator[None]:
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
