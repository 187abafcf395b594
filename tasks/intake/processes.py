"""Work shared among processes: results in the order of the work, and only a little of it on its way at any time.

A decoder of images that crashes takes its whole process with it, and so does the system when memory runs out. Here that
costs the one part at which the process was; a new process takes its place. The executor of the standard library gives
up everything under way, and in Python 3.11 may wait for ever when it is given work at the moment that a process dies.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from functools import partial
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from records.errors import Unavailable

Part = TypeVar("Part")
Result = TypeVar("Result")
Work = Callable[[Part], Result]


def in_order(
    function: Work[Part, Result], parts: Iterable[Part], workers: int, instead: Work[Part, Result]
) -> Generator[Result, None, None]:
    """`function` of each part, computed by `workers` processes. At most two parts a process wait in memory.

    `instead`, called in this process, gives the result of a part that ended the process at work on it. What `function`
    raises is raised. Raises `Unavailable` if no process can be started.
    """
    coming = iter(parts)
    idle: list[_Helper[Part, Result]] = []
    busy: dict[Connection, tuple[_Helper[Part, Result], int, Part]] = {}
    done: dict[int, Result] = {}
    given = told = 0
    try:
        while True:
            while len(busy) < workers and given - told < 2 * workers:
                try:
                    part = next(coming)
                except StopIteration:
                    break
                helper = idle.pop() if idle else _Helper(function)
                helper.give(part)
                busy[helper.line] = helper, given, part
                given += 1
            if told == given:
                return
            if told in done:
                yield done.pop(told)
                told += 1
                continue
            for line in connection.wait(list(busy)):
                helper, number, part = busy.pop(line)  # type: ignore[call-overload]
                try:
                    done[number] = helper.take()
                    idle.append(helper)
                except _Died:
                    helper.end()
                    done[number] = instead(part)
    finally:
        for helper in (*idle, *(helper for helper, _, _ in busy.values())):
            helper.end()


def one_by_one(
    function: Work[Part, Result], parts: Iterable[Part], instead: Work[Part, Result]
) -> Generator[Result, None, None]:
    """`function` of each part in one other process.

    A part that ends it is given to a new one, and to `instead` if it ends that, too, though nothing went before it.
    """
    helper: _Helper[Part, Result] = _Helper(function)
    try:
        for part in parts:
            for last in (helper.fresh, True):
                try:
                    helper.give(part)
                    result = helper.take()
                    break
                except _Died:
                    helper.end()
                    helper = _Helper(function)
                    if last:
                        result = instead(part)
                        break
            yield result
    finally:
        helper.end()


class _Died(Exception):
    """The process ended before it gave a result."""


class _Helper(Generic[Part, Result]):
    """A process that computes a function of one part after another.

    It is forked from a server that has imported what it needs, which takes some 10 ms, and not from this process: this
    one may have threads (a flow has), and a forked copy of their locks can hang.
    """

    def __init__(self, function: Work[Part, Result]) -> None:
        context = multiprocessing.get_context("forkserver")
        worked = function.func if isinstance(function, partial) else function
        context.set_forkserver_preload([worked.__module__])
        try:
            self.line, its = context.Pipe()
            self._process = context.Process(target=_serve, args=(function, its), daemon=True)
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

    def give(self, part: Part) -> None:
        """Hand over a part. That the process has died is found when its result is taken."""
        try:
            self.line.send(part)
        except OSError:
            return

    def take(self) -> Result:
        """Wait for the result. Raises `_Died`, or what the function raised."""
        try:
            result, error = self.line.recv()
        except (EOFError, OSError):
            raise _Died from None
        self.fresh = False
        if error is not None:
            raise error
        answer: Result = result
        return answer

    def end(self) -> None:
        """End the process, whatever it is at."""
        self.line.close()
        self._process.kill()
        self._process.join()


def _serve(function: Callable[[Any], Any], line: Connection) -> None:
    _follow_parent()
    line.send("ready")
    while True:
        try:
            part = line.recv()
        except (EOFError, OSError):
            return
        try:
            line.send((function(part), None))
        except Exception as error:  # whatever it is, it is raised where the result is awaited
            line.send((None, error))


def _follow_parent() -> None:
    """Leave Ctrl-C to the process that started this one, and end when that one is killed, even in the midst of work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
