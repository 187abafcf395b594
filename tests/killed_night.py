"""A night that is killed, as by a power cut: `NIGHT` is run up to the call number `CALL` of the function `POINT`.

Run by `test_night.py` in a process of its own, with these names set. Nothing of the night is replaced but that one call.
"""

import os
import pkgutil
import signal
from datetime import date
from typing import Any


def fatal(function: Any, call: int) -> Any:
    """`function`, whose call of that number kills the process before anything is done."""
    calls = 0

    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return called


def run(workspace: str, day: date, point: str, call: int) -> None:
    """A night in `workspace` that ends before the given call."""
    from flows.night import Request, night

    owner, name = point.rsplit(".", 1)
    holder = pkgutil.resolve_name(owner)
    setattr(holder, name, fatal(getattr(holder, name), call))
    night(Request(), workspace, day)


if __name__ == "__main__":
    run(*globals()["ORDER"])
