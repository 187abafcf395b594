"""A night that is killed, as by a power cut: at the call of a function, before anything of that call is done.

`test_night.py` runs it in a process of its own, with ORDER = (workspace, day, function, number of the call,
settings of Prefect). Nothing of the night is replaced but that one call.
"""

import os
import pkgutil
import signal
from datetime import date
from pathlib import Path
from typing import Any


def fatal(function: Any, call: int) -> Any:
    """`function`, whose call of that number kills the process."""
    calls = 0

    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return called


def run(workspace: str, day: date, point: str, call: int, settings: dict[str, str]) -> None:
    """A night in `workspace`, up to a call of `point`, with the Prefect server that `settings` name."""
    # This process has the environment of the one that it was forked from, which may be older than the server.
    os.environ |= settings
    from flows.night import Request, night
    from flows.servers.processes import prefect_api
    from tasks.workspace.workspace import Workspace

    owner, name = point.rsplit(".", 1)
    holder = pkgutil.resolve_name(owner)
    setattr(holder, name, fatal(getattr(holder, name), call))
    with prefect_api(Workspace(Path(workspace))):
        night(Request(), workspace, day)


if __name__ == "__main__":
    run(*globals()["ORDER"])
