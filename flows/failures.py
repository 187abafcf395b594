"""What goes wrong, as a person hears of it: one sentence and an exit code, never a traceback.

2    something that a person can mend: wrong input, an outside system that does not answer, a full disk
1    a defect of retain; RETAIN_DEBUG=1 shows its traceback
130  Ctrl-C
"""

import errno
import logging
import os
import traceback

from typer import TyperException

from flows.terminal.screen import visible
from records.errors import RetainError

MEND, DEFECT, INTERRUPTED = 2, 1, 130

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EMFILE)
"""What the system does not let a program do, whatever the program."""


def explain(error: Exception) -> tuple[str, int]:
    """The sentence and the exit code for an exception."""
    if isinstance(error, RetainError):
        return str(error), MEND
    if isinstance(error, TyperException):
        return _usage(error), MEND
    if isinstance(error, OSError) and error.errno in FULL + REFUSED:
        return _system(error), MEND
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"This is a defect of retain, not of your input: {type(error).__name__}: {error} "
        f"({frame.filename}, line {frame.lineno}). Set RETAIN_DEBUG=1 to see the whole traceback.",
        DEFECT,
    )


class Sentences(logging.Filter):
    """Prefect's log tells an error of retain once, as its sentence. Other errors keep their tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self.reported: RetainError | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """False for an error that was reported: the step, the night that it ended and the process each log it."""
        error = _error_of(record)
        if os.environ.get("RETAIN_DEBUG"):
            return True
        if error is None:
            return self.reported is None or str(self.reported) not in record.getMessage()
        if error is self.reported or record.levelno < logging.ERROR:
            return False
        self.reported = error
        record.msg, record.args, record.exc_info, record.exc_text = str(error), (), None, None
        return True


def _error_of(record: logging.LogRecord) -> RetainError | None:
    given = record.args if isinstance(record.args, tuple) else ()
    raised = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    return next((error for error in (raised, *given) if isinstance(error, RetainError)), None)


SENTENCES = Sentences()


def tell_in_sentences() -> None:
    """What retain raises from here on is a sentence in the log of its night, too."""
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
        logging.getLogger(name).addFilter(SENTENCES)


def _usage(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "retain"
    message = " ".join(error.format_message().split())
    end = "" if message.endswith(("?", ".")) else "."
    return f"{message}{end} `{command} --help` shows how it is used."


def _system(error: OSError) -> str:
    where = f" for {visible(os.fsdecode(error.filename))}" if error.filename else ""
    if error.errno in FULL:
        return f"There is no space left on the disk{where}. Free some and try again."
    return f"Operating system error{where}: {error.strerror}."
