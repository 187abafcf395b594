"""Work shared among processes: results in the order of the work, and only a little of it on its way at any time.

A decoder of images that crashes takes its whole process with it, and so does the system when memory runs out. Then the
parts that were under way are done again one after another, and one that ends its process once more, having it for
itself, is given to the caller to deal with; everything else goes on.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import connection
from typing import Any, TypeVar

from records.errors import Unavailable

Part = TypeVar("Part")
Result = TypeVar("Result")
Work = Callable[[Part], Result]


def in_order(
    function: Work[Part, Result], parts: Iterable[Part], workers: int, instead: Work[Part, Result]
) -> Generator[Result, None, None]:
    """`function` of each part, computed by `workers` processes. At most two parts a process wait in memory.

    `instead`, called in this process, gives the result of a part that ends the process which computes it. Raises
    `Unavailable` if no process can be started.
    """
    coming = iter(parts)
    while lost := (yield from _until_one_dies(function, coming, workers)):
        yield from one_by_one(function, lost, instead)


def one_by_one(
    function: Work[Part, Result], parts: Iterable[Part], instead: Work[Part, Result]
) -> Generator[Result, None, None]:
    """`function` of each part in another process, which is started anew, for the part to be alone in, if it dies."""
    pool, fresh = _pool(1, function), True
    try:
        for part in parts:
            future = _submit(pool, function, part)
            if _died(future) and not fresh:
                pool.shutdown()
                pool = _pool(1, function)
                future = _submit(pool, function, part)
            fresh = _died(future)
            if fresh:
                pool.shutdown()
                pool = _pool(1, function)
            yield instead(part) if fresh else future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _until_one_dies(
    function: Work[Part, Result], coming: Iterator[Part], workers: int
) -> Generator[Result, None, list[Part]]:
    """Results in order. Gives the parts that were under way when a process died; none if all is done."""
    under_way: deque[tuple[Part, Future[Result]]] = deque()
    pool = _pool(workers, function)
    try:
        for part in coming:
            under_way.append((part, _submit(pool, function, part)))
            if len(under_way) > 2 * workers:
                if _died(under_way[0][1]):
                    break
                yield under_way.popleft()[1].result()
        while under_way and not _died(under_way[0][1]):
            yield under_way.popleft()[1].result()
        return [part for part, _ in under_way]
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, function: Work[Part, Result], part: Part) -> "Future[Result]":
    try:
        return pool.submit(function, part)
    except BrokenProcessPool as broken:
        future: Future[Result] = Future()
        future.set_exception(broken)
        return future


def _died(future: "Future[Any]") -> bool:
    """Wait for the result; True if there is none because a process was killed."""
    return isinstance(future.exception(), BrokenProcessPool)


def _pool(workers: int, function: Callable[..., Any]) -> ProcessPoolExecutor:
    """Processes that are forked from a server which has imported what they need: to start one takes some 10 ms.

    They are not forked from this process: it may have threads (a flow has), and a forked copy of their locks can hang.
    """
    context = multiprocessing.get_context("forkserver")
    worked = function.func if isinstance(function, partial) else function
    context.set_forkserver_preload([worked.__module__])
    try:
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent)
        if not _died(pool.submit(os.getpid)):
            return pool
        reason = "it was killed as soon as it began"
    except (OSError, EOFError) as error:
        reason = " ".join(str(error).split()) or "what starts it was killed"
    raise Unavailable(f"No process to examine images in can be started ({reason}). Free memory, or close programs.")


def _follow_parent() -> None:
    """Leave Ctrl-C to the process that started this one, and end when that one is killed: a pool by itself lives on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
