"""`retain`: the command line. The commands are in a file for each group beside this one,
each a few lines; what it does is in `tasks/` and `flows/`.

Heavy libraries are imported inside the commands that need them, so that `--help` answers at once.
"""

import multiprocessing.util
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version as installed
from typing import Annotated

import typer
import typer.rich_utils

from flows.cli import begin, decide, look, nights, quarantine
from flows.failures import INTERRUPTED, explain
from flows.servers.processes import STEADY, switch_off_telemetry
from flows.terminal import screen

app = typer.Typer(
    name="retain",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
# Typer prints all but the first paragraph faintly; examples are what people look for.
typer.rich_utils.STYLE_HELPTEXT = ""

BEGIN, WORK, LOOK, DECIDE = "Begin", "Work", "Look", "Decide"


@app.callback(invoke_without_command=True)
def retain(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", metavar=" ")] = False,
) -> None:
    """Keeps an image model learning.

    Each night it takes the images that arrived, checks them, teaches them to
    the current model, measures what was forgotten, and registers the new
    version only if that is little.

    See it work:         retain demo
    On your own images:  retain init shop
                         cp -r monday shop/inbox/     (monday/<class>/<image>)
                         retain night -w shop
                         retain status -w shop

    Exit codes: 0 done, 2 something to mend (one sentence says what),
    3 a night came to what its --fail-on names, 1 a defect of retain,
    130 stopped by Ctrl-C.
    """
    if version:
        print(installed("retain"))
    elif context.invoked_subcommand is None:
        print(context.get_help())


for panel, command in (
    (BEGIN, begin.demo),
    (BEGIN, begin.init),
    (WORK, nights.ingest),
    (WORK, nights.night),
    (WORK, begin.stream),
    (LOOK, look.status),
    (LOOK, look.history),
    (LOOK, look.compare),
    (LOOK, look.params),
    (LOOK, look.checks),
    (LOOK, nights.ui),
    (DECIDE, decide.approve),
    (DECIDE, decide.rollback),
):
    app.command(rich_help_panel=panel)(command)
app.add_typer(quarantine.app, name="quarantine", rich_help_panel=DECIDE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; `arguments` are those of the process if left out."""
    switch_off_telemetry()
    for name, value in STEADY.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "retain")
    # What is said before and between the nights is for the terminal alone.
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    # Threads of a small network that wait for each other by spinning stand still on a machine that is busy otherwise.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    for output in (sys.stdout, sys.stderr):
        # A name that this terminal has no characters for is no reason to end.
        getattr(output, "reconfigure", dict)(errors="backslashreplace")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = app(arguments, prog_name="retain", standalone_mode=False) or 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # The last line of defence: no traceback reaches a person who did not ask for it.
        if os.environ.get("RETAIN_DEBUG"):
            raise
        sentence, code = explain(error)
        screen.fail(sentence)
    finally:
        signal.signal(signal.SIGTERM, before)
    if code == INTERRUPTED:
        screen.fail("Stopped.")
        if arguments is None:
            # Python's tidying up can take minutes: libraries still tell a server that has stopped, threads still wait.
            for output in (sys.stdout, sys.stderr):
                output.flush()
            # All but one thing: the folder of the sockets by which images are handed to other processes.
            multiprocessing.util._run_finalizers()  # type: ignore[attr-defined]
            os._exit(INTERRUPTED)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
