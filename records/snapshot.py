"""A snapshot: a learner at rest. The record lies beside the files that it names."""

from pydantic import Field

from records.experience import Experience
from records.record import Record


class InputSpec(Record):
    """What the network sees: every image is brought to this size and these channels, then normalised."""

    channels: int = Field(ge=1, le=4)
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Per channel, of pixel values scaled to 0..1, over the first experiences' training images."""


class Snapshot(Record):
    """What a version knows and how it came to be. `version` 0 is the fresh network: it knows nothing."""

    identity: str
    """Digest of parent version, experiences, parameters and code; equal identity means equal weights on CPU."""
    parent: int = Field(ge=0)
    """Registered version that the update started from."""
    classes: tuple[str, ...] = ()
    """Index to name, append-only: a name never changes its index."""
    experiences: tuple[Experience, ...] = ()
    """Everything learned so far, in the order in which it was learned."""
    known_at: dict[str, int] = {}
    """Experience to the number of classes that were known once it had been learned."""
    spec: InputSpec | None = None
    files: dict[str, str] = {}
    """File name to SHA-256 of what lies beside this record."""


FRESH = Snapshot(identity="fresh", parent=0)
"""Version 0."""
