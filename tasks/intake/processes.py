"""Work shared among processes: results in the order of the work, and only a little of it on its way at any time."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import TypeVar

from records.errors import Unavailable

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_order(function: Callable[[Part], Result], parts: Iterable[Part], workers: int) -> Generator[Result, None, None]:
    """`function` of each part, computed by `workers` processes. At most two parts a process wait in memory.

    Raises `Unavailable` if a process was killed, as the system does when memory runs out.
    """
    # Spawned, not forked: this process may have threads (a flow has), and a forked copy of their locks can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent)
    try:
        under_way: deque[Future[Result]] = deque()
        for part in parts:
            under_way.append(pool.submit(function, part))
            if len(under_way) > 2 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool:
        raise Unavailable(
            "A process that examines images was killed, most likely for lack of memory. "
            "Use fewer workers, or lower ingest.max_pixels. Nothing was taken."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """Leave Ctrl-C to the process that started this one, and end when that one is killed: a pool by itself lives on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
