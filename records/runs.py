"""What is written into the registry of a night, and what is read back of judged nights and registered versions."""

from datetime import date, datetime

from pydantic import ConfigDict, Field

from records.record import Record
from records.score_names import ACCURACY
from records.verdict import Decision


class NightFacts(Record):
    """How a candidate came to be: everything that is kept beside its scores and its verdict."""

    # A training that diverged has infinite losses; they are logged, too.
    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="constants")

    identity: str
    """Digest of parent version, experiences, parameters and code."""
    day: date
    parent: int = Field(ge=0)
    """Version that the update started from."""
    batches: tuple[str, ...]
    """What it learned."""
    deliveries: dict[str, str] = {}
    """Batch to the name of its delivery, of all that the candidate has learned."""
    images: int = Field(ge=0)
    """New training images."""
    new_classes: tuple[str, ...] = ()
    """Classes that no version before knew."""
    data_revision: str
    """DVC's digest of all data, as `data.dvc` has it."""
    commit: str
    """Git commit of the workspace."""
    code: str
    """Digest of the code that made it."""
    params: dict[str, str] = {}
    """Dotted name to value, as in params.yaml: what differs from the defaults, and what is always asked for."""
    seconds: dict[str, float] = {}
    """Step to its duration, since the night began."""
    losses: dict[str, tuple[float, ...]] = {}
    """Named part of the loss to its course, oldest first."""
    costs: dict[str, float] = {}
    """What it took: steps, images trained on, CPU seconds, bytes."""
    system: dict[str, str] = {}
    """Versions, device and machine."""


class Rollback(Record):
    """The alias `champion` was moved away from a version, on a person's word."""

    at: datetime
    left: int
    """The version that was the champion."""
    to: int
    """The one that became it; 0 if that was not written down."""
    by: str = ""
    note: str = ""
    """Why."""

    def sentence(self) -> str:
        """Who made what champion, when and why."""
        who = f" by {self.by}" if self.by else ""
        why = f": {self.note}" if self.note else ""
        to = f" to v{self.to}" if self.to else ""
        return f"rolled back from v{self.left}{to} on {self.at:%Y-%m-%d} at {self.at:%H:%M} UTC{who}{why}"


class RunFacts(Record):
    """A judged night, as the registry has it."""

    run: str
    """Id of the MLflow run."""
    number: int = 0
    """Which judged night of the model it was; 0 if that was not written down."""
    day: date | None = None
    """That its deliveries were filed under."""
    identity: str
    ended: datetime
    decision: Decision
    reason: str
    held: bool = False
    """Accepted, but told to wait for a person."""
    parent: int
    batches: tuple[str, ...]
    deliveries: tuple[str, ...] = ()
    """Names that the batches were delivered under, in their order; of old nights nothing, of many the first."""
    data_revision: str
    commit: str
    approved_by: str = ""
    """Who let it in although it was refused, inconclusive or held."""
    approval_note: str = ""
    version: int | None = None
    """The version it became; None if it was not registered."""
    left: Rollback | None = None
    """If its version, or one that it builds on, was rolled back: when and why."""
    score_name: str = ACCURACY
    """Which score its model has: `average_<name>` is the mean over all that it learned."""
    metrics: dict[str, float] = {}

    @property
    def average(self) -> float | None:
        """Mean score over all experiences; of some old nights it is not known."""
        return self.metrics.get(f"average_{self.score_name}")

    @property
    def names(self) -> dict[str, str]:
        """Batch to the name that it was delivered under, as far as these were written down."""
        return dict(zip(self.batches, self.deliveries, strict=False))

    @property
    def waits(self) -> bool:
        """A person may let it in, as far as it goes by itself: it is held or inconclusive, and no version yet."""
        return self.version is None and (self.decision == "inconclusive" or (self.held and self.decision == "accept"))


class VersionFacts(Record):
    """A registered version."""

    number: int
    created: datetime
    aliases: tuple[str, ...]
    """`champion`, `previous`, or names that a person gave."""
    rolled_back: bool = False
    """A person moved the alias `champion` away from it, or from a version that builds on it."""
    run: RunFacts
