"""How long a training takes, measured on its own first steps."""

import logging
import time
from collections.abc import Callable

from records.formatting import duration
from records.pace import Pace

log = logging.getLogger("retain")
MEASURED = 3.0
"""Seconds of steps that a forecast is made from, or `SHARE` of all steps if they are over sooner."""
SHARE = 0.1


class Forecast:
    """A progress function that says once how many steps are to come, how many epochs that is, and how long it takes."""

    def __init__(
        self,
        epochs_a_step: float,
        onward: Callable[[int, int], None],
        exact: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`onward` is called after every step, as this is. `exact`: no clock decides how many steps there are."""
        self.epochs_a_step, self.onward, self.exact = epochs_a_step, onward, exact
        self.pace, self.before, self.announced = Pace(clock), 0, False

    def begin(self, done: int) -> None:
        """So many steps were taken before an interruption, and are no part of what is to come."""
        self.before = done

    def __call__(self, done: int, total: int) -> None:
        """A step was taken."""
        left = self.pace.left(done, total)
        over = self.pace.seconds >= MEASURED or done - self.before >= SHARE * (total - self.before)
        if not self.announced and left is not None and over:
            self.announced = True
            log.info(self.sentence(total - self.before, self.pace.seconds + left), extra={"lasting": True})
        self.onward(done, total)

    def sentence(self, steps: int, seconds: float) -> str:
        """`150 steps, about 48 epochs, about 4 min`."""
        epochs = self.epochs_a_step * steps
        number = f"{epochs:.0f}" if epochs >= 10 else f"{epochs:.1f}".removesuffix(".0")
        more = "more " if self.before else ""
        return (
            f"{'' if self.exact else 'about '}{steps:,} {more}{'step' if steps == 1 else 'steps'}, "
            f"about {number} {'epoch' if number == '1' else 'epochs'}, about {duration(seconds)}"
        )
