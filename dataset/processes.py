"""Work on what strangers send, in processes with limits: results in the order of the work, little of it under way.

A decoder of images that crashes takes its whole process with it, one that a file keeps busy would never end, and one
that a file makes large takes the memory of all others. Here that costs the one part at which the process was; a new
process takes its place. The executor of the standard library gives up everything under way, and in Python 3.11 may wait
for ever when it is given work at the moment that a process dies.

The system ends what takes too much processor time (RLIMIT_CPU) and refuses more memory (RLIMIT_DATA, on Linux alone);
what only waits, as for a disk that hangs, is ended from here.
"""

import math
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from records.errors import RetainError, Unavailable

Part = TypeVar("Part")
Result = TypeVar("Result")
Work = Callable[[Part], Result]
Instead = Callable[[Part, str], Result]
"""Gives a result for a part at which a process failed; the text says why, as what follows `its decoder`."""

PATIENCE = 20
"""So many times as long as the processor may be busy, a part may take by the clock: other programs are at work too."""
FIRST = ("dataset.sparing", "tasks.ingest.ingest")
"""What the server of processes imports, whatever it is first asked for: it is started once."""
SAFE_PATH = "PYTHONSAFEPATH"
"""Environment variable that makes Python look for modules in the installation alone."""
STATM, MEMORY = Path("/proc/self/statm"), Path("/proc/meminfo")
CONTAINER = Path("/sys/fs/cgroup")
"""What limits all programs in a container, seen from within (cgroup, version 2)."""


class Limits(NamedTuple):
    """What one part may cost."""

    memory: int
    """Bytes, on top of what its process has when it begins with the part."""
    seconds: float
    """Of processor time."""


def affordable(workers: int, limits: Limits) -> int:
    """How many of these processes, one at the least, the machine's free memory is enough for if each takes its most."""
    return max(1, min(workers, _free_memory() // limits.memory))


def in_order(
    function: Work[Part, Result],
    parts: Iterable[Part],
    workers: int,
    instead: Instead[Part, Result],
    limits: Limits | None = None,
) -> Generator[Result, None, None]:
    """`function` of each part, computed by `workers` processes. At most two parts a process wait in memory.

    `instead`, called in this process, gives the result of a part that ended the process at work on it, went beyond
    `limits`, or for which `function` raised anything but a `RetainError`; such an error is raised. Raises `Unavailable`
    if no process can be started.
    """
    coming = iter(parts)
    idle: list[_Helper[Part, Result]] = []
    busy: dict[Connection, tuple[_Helper[Part, Result], int, Part]] = {}
    done: dict[int, Result] = {}
    submitted = returned = 0
    try:
        while True:
            while len(busy) < workers and submitted - returned < 2 * workers:
                try:
                    part = next(coming)
                except StopIteration:
                    break
                helper = idle.pop() if idle else _Helper(function, limits)
                helper.give(part)
                busy[helper.line] = helper, submitted, part
                submitted += 1
            if returned == submitted:
                return
            if returned in done:
                yield done.pop(returned)
                returned += 1
                continue
            for line in _answered([helper for helper, _, _ in busy.values()]):
                helper, number, part = busy.pop(line)
                try:
                    done[number] = helper.take()
                    idle.append(helper)
                except _Failed as failed:
                    helper.end()
                    done[number] = instead(part, failed.why)
    finally:
        for helper in (*idle, *(helper for helper, _, _ in busy.values())):
            helper.end()


def one_by_one(
    function: Work[Part, Result], parts: Iterable[Part], instead: Instead[Part, Result], limits: Limits | None = None
) -> Generator[Result, None, None]:
    """`function` of each part in one other process.

    A part at which it fails is given to a new one, and to `instead` if that fails, too, though nothing went before it.
    """
    helper: _Helper[Part, Result] = _Helper(function, limits)
    try:
        for part in parts:
            for last in (helper.fresh, True):
                try:
                    helper.give(part)
                    result = helper.take()
                    break
                except _Failed as failed:
                    helper.end()
                    helper = _Helper(function, limits)
                    if last:
                        result = instead(part, failed.why)
                        break
            yield result
    finally:
        helper.end()


def guarded(
    function: Work[Part, Result], part: Part, instead: Instead[Part, Result], limits: Limits | None = None
) -> Result:
    """`function` of a part in another process; `instead` of it if that fails."""
    return next(one_by_one(function, [part], instead, limits))


def _answered(helpers: "list[_Helper[Part, Result]]") -> list[Connection]:
    """Lines of those that have something to say, or that have had their time; waits until there is one."""
    overdue = min(helper.deadline for helper in helpers)
    pause = None if overdue == math.inf else max(0, overdue - time.monotonic())
    if found := connection.wait([helper.line for helper in helpers], pause):
        return [line for line in found if isinstance(line, Connection)]
    return [helper.line for helper in helpers if helper.deadline <= time.monotonic()]


class _Failed(Exception):
    """No result came of a part; the process is of no more use."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@contextmanager
def _no_modules_of_the_working_directory() -> Iterator[None]:
    """The server would look there first: a `records.py` that anybody put there is not ours."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        os.environ.pop(SAFE_PATH) if before is None else os.environ.update({SAFE_PATH: before})


class _Helper(Generic[Part, Result]):
    """A process that computes a function of one part after another.

    It is forked from a server that has imported what it needs, which takes some 10 ms, and not from this process: this
    one may have threads (a flow has), and a forked copy of their locks can hang.
    """

    def __init__(self, function: Work[Part, Result], limits: Limits | None) -> None:
        context = multiprocessing.get_context("forkserver")
        worked = function.func if isinstance(function, partial) else function
        context.set_forkserver_preload([*FIRST, worked.__module__])
        self._limits = limits
        try:
            self.line, its = context.Pipe()
            self._process = context.Process(target=_serve, args=(function, limits, its), daemon=True)
            with _no_modules_of_the_working_directory():
                self._process.start()
            its.close()
            self.line.recv()
        except (OSError, EOFError) as error:
            reason = " ".join(str(error).split()) or "it was killed as soon as it began"
            raise Unavailable(
                f"No process to examine images in can be started ({reason}). Free memory, or close other programs."
            ) from None
        self.fresh = True
        """Whether nothing has been computed yet."""
        self.deadline = math.inf
        """When the part under way must be done, by the monotonic clock."""

    def give(self, part: Part) -> None:
        """Hand over a part. That the process has died is found when its result is taken."""
        if self._limits:
            self.deadline = time.monotonic() + PATIENCE * self._limits.seconds
        try:
            self.line.send(part)
        except OSError:
            return

    def take(self) -> Result:
        """Wait for the result. Raises `_Failed`, or a `RetainError` that the function raised."""
        try:
            if not self.line.poll(None if self.deadline == math.inf else max(0, self.deadline - time.monotonic())):
                raise _Failed(f"took more than {PATIENCE * self._limits.seconds:g} s" if self._limits else "hangs")
            result, error = self.line.recv()
        except (EOFError, OSError):
            raise _Failed(self._why_it_ended()) from None
        self.fresh = False
        if isinstance(error, str):
            raise _Failed(error)
        if error is not None:
            raise error
        answer: Result = result
        return answer

    def end(self) -> None:
        """End the process, whatever it is at."""
        self.line.close()
        self._process.kill()
        self._process.join()

    def _why_it_ended(self) -> str:
        self._process.join(timeout=10)
        code = self._process.exitcode
        if code == -signal.SIGXCPU and self._limits:
            return f"took more than {self._limits.seconds:g} s of processor time"
        if code == -signal.SIGKILL:
            return "was killed, as happens when memory runs out"
        return f"crashed ({signal.Signals(-code).name})" if code and code < 0 else f"crashed (exit code {code})"


def _serve(function: Callable[[Any], Any], limits: Limits | None, line: Connection) -> None:
    _follow_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    line.send("ready")
    while True:
        try:
            part = line.recv()
        except (EOFError, OSError):
            return
        try:
            if limits:
                _begin(limits)
            line.send((function(part), None))
        except RetainError as error:
            line.send((None, error))
        except MemoryError:
            most = f"{limits.memory / 2**20:,.0f} MiB" if limits else "there is"
            line.send((None, f"took more memory than {most}"))
        except Exception as error:  # a stranger's bytes can make a library raise anything: that concerns this part
            line.send((None, f"failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})"))


def _free_memory() -> int:
    """Bytes that the machine, or the container that this process runs in, can give away; 2^62 where it is not told."""
    limits = [2**62]
    if MEMORY.exists():
        meminfo = dict(line.split(":") for line in MEMORY.read_text().splitlines())
        limits.append(1024 * int(meminfo["MemAvailable"].split()[0]))
    if (CONTAINER / "memory.max").exists() and (most := (CONTAINER / "memory.max").read_text().strip()) != "max":
        limits.append(int(most) - int((CONTAINER / "memory.current").read_text()))
    return min(limits)


def _begin(limits: Limits) -> None:
    """From now on this process may take as much as `limits` say, on top of what it has taken."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _restrict(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + limits.seconds))
    if sys.platform == "linux":
        pages = int(STATM.read_text().split()[5])
        _restrict(resource.RLIMIT_DATA, pages * resource.getpagesize() + limits.memory)


def _restrict(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _follow_parent() -> None:
    """Leave Ctrl-C to the process that started this one, and end when that one is killed, even in the midst of work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
