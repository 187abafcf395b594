"""What a night may cost: epochs, steps or seconds. It does not depend on how many nights came before."""

from pydantic import Field

from records.record import Record


class Budget(Record):
    """Steps follow from the new images; with `max_seconds` the clock ends the night instead."""

    epochs: float = Field(default=1.0, gt=0, le=1000)
    """Times that the new images are gone through."""
    min_steps: int = Field(default=150, ge=1)
    """A small batch gets at least so many steps."""
    max_steps: int | None = Field(default=None, ge=1)
    """A large batch gets at most so many steps."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Train for so long, whatever the number of steps. Faster machines learn more then, and no night can be repeated
    bit for bit."""
    batch_size: int = Field(default=64, ge=1, le=65536)
    """New images a step."""
    replay_batch_size: int = Field(default=64, ge=0, le=65536)
    """Replayed images a step."""

    def steps(self, images: int) -> int:
        """Steps for a night with `images` new images, if the clock does not decide."""
        wanted = max(round(self.epochs * images / self.batch_size), self.min_steps)
        return min(wanted, self.max_steps or wanted)
