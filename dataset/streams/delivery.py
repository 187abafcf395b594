"""A delivery of a stream: what arrives on one day, and how the night that takes it is run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from records.pace import Progress

FIRST_DAY = date(2026, 3, 2)
"""The day on which a stream's first delivery arrives; the others follow daily, so ids are the same for everybody."""

Writer = Callable[[Path, Progress], None]


@dataclass(frozen=True)
class StreamDelivery:
    """What arrives on one day, and how the night that takes it is run."""

    name: str
    day: date
    write: Writer
    """Writes the delivery's files below a folder that does not exist yet."""
    story: str
    """What this night shows, for a person who watches."""
    request: Mapping[str, object]
    """What this night does differently, as the manual form would ask."""
    pure: bool = True
    """False for a delivery that is bad on purpose."""
