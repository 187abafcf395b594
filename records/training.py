"""How a training went."""

from pydantic import ConfigDict

from records.record import Record


class TrainingLog(Record):
    """`losses` holds each named part, averaged over a tenth of the steps at a time."""

    # A training that diverged has infinite losses; they are logged, too.
    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="constants")

    identity: str = ""
    """The night's."""
    steps: int = 0
    images: int = 0
    """Images that went through a forward and backward pass in this process, replayed ones included."""
    cpu_seconds: float = 0.0
    """Of this process, all threads together; after an interruption, since then."""
    environment: dict[str, str] = {}
    """What it was computed with, as far as the bits of the weights depend on it: threads, device, version of torch."""
    losses: dict[str, tuple[float, ...]] = {}
