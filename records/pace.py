"""How fast something goes on, and how long it takes until it is done."""

import time
from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with how many are done, and of how many, as often as something was done."""


class Pace:
    """Measured from the first thing that was done to the last: the first one also starts threads and fills caches."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.first: tuple[int, float] | None = None
        self.seconds = 0.0
        """Between the first that was done and the last."""

    def left(self, done: int, total: int) -> float | None:
        """Seconds until all are done, after `done` of `total`; None as long as there is nothing to tell it from."""
        now = self.clock()
        if self.first is None:
            self.first = done, now
        before, began = self.first
        self.seconds = now - began
        return None if done == before else self.seconds / (done - before) * (total - done)
