"""What became of a candidate in the registry, and what became of a night."""

from datetime import date
from enum import StrEnum
from typing import Literal

from records.batch import Arrival, called
from records.experience import Report
from records.record import Record
from records.scores import ScoreMatrix
from records.verdict import Verdict

APPROVAL = "approval.json"
"""File beside the score matrix of a version that a person let in, see `Approval`."""


class RunFile(Record):
    """`run.json`: which batches are learned on top of which version. Both runners, Prefect and DVC, read it."""

    parent: int = 0
    batches: tuple[str, ...] = ()
    attempt: int = 1
    """How many candidates were judged on these data and this parent, this one included. All but the first must be surer
    to be accepted."""
    overrides: dict[str, object] = {}
    """Values that replace some of params.yaml for this run alone, by dotted name (`update.strategy.name`)."""


class Approval(Record):
    """Kept with the evaluation of a candidate that a person let in although the gate did not: what it lost is granted.

    Later nights are compared with this version, on all that it had learned, and with the classes that it knew.
    """

    by: str
    note: str
    classes: int
    """How many classes the version knew."""


class Registration(Record):
    """Where a judged candidate is kept."""

    run: str
    """Id of the MLflow run."""
    model: str
    version: int | None
    """Registered version; None if it was not registered."""
    champion: bool
    """True if the alias `champion` points to it."""


class Beginning(Record):
    """What a first version waits for."""

    batches: int
    """That wait."""
    tests: int
    """Test images in them."""
    wanted: int
    """Test images that a first version should have."""
    more: int
    """Images of all kinds that would do."""

    def sentence(self) -> str:
        """What it waits for, in one sentence."""
        held = f"{self.batches} pending batch{' holds' if self.batches == 1 else 'es hold'} {self.tests} test images"
        return (
            f"{held}, and a first version waits for {self.wanted}, as later ones are judged by them: about {self.more} "
            "images more will do (ingest.min_test_images)."
        )


class Concern(StrEnum):
    """What may come of a night that somebody wants to hear of."""

    refused = "refused"
    inconclusive = "inconclusive"
    held = "held"
    nothing = "nothing"
    quarantine = "quarantine"
    unreadable = "unreadable"


OUTCOMES = {
    "refuse": Concern.refused,
    "inconclusive": Concern.inconclusive,
    "held": Concern.held,
    "nothing to learn": Concern.nothing,
}


class Night(Record):
    """What a night did, for people and programs."""

    outcome: Literal["accept", "refuse", "inconclusive", "held", "nothing to learn"]
    """The verdict's decision; `held` if it was accepted but waits for a person, who wished so or rolled it back."""
    day: date | None = None
    arrivals: tuple[Arrival, ...] = ()
    unreadable: dict[str, str] = {}
    """Deliveries that could not become a batch, or be removed after they did, by name, with the reason. They stay in
    the inbox."""
    waiting: dict[str, str] = {}
    """Deliveries that are not ready, by name, with what was seen and what they wait for. The next night takes them."""
    quarantined: tuple[Report, ...] = ()
    refusals: tuple[Report, ...] = ()
    """Of batches that were admitted, but not with all their images."""
    beginning: Beginning | None = None
    """What a first version waits for, if it does."""
    learned: tuple[str, ...] = ()
    """Experiences that the candidate learned."""
    parent: int = 0
    scores: ScoreMatrix | None = None
    deliveries: dict[str, str] = {}
    """Experience in `scores` to the name of its delivery."""
    verdict: Verdict | None = None
    registration: Registration | None = None
    seconds: float = 0

    def concerns(self) -> tuple[Concern, ...]:
        """What came of it besides a new champion."""
        return (
            *((OUTCOMES[self.outcome],) if self.outcome in OUTCOMES else ()),
            *((Concern.quarantine,) if self.quarantined or self.refusals else ()),
            *((Concern.unreadable,) if self.unreadable else ()),
        )

    def sentence(self) -> str:
        """What happened, in one sentence."""
        if self.verdict is not None:
            held = "Held for a person. " if self.outcome == "held" else ""
            return f"{held}{called(self.verdict.reason, self.deliveries)} {self._kept()}"
        if self.beginning is not None:
            return f"Nothing to learn yet: {self.beginning.sentence()}"
        if self.quarantined:
            return f"Nothing to learn: {len(self.quarantined)} batch(es) went to quarantine."
        if self.waiting:
            return "Nothing to learn: no batch is pending, and what is in the inbox still waits."
        return "Nothing to learn: no batch is pending."

    def _kept(self) -> str:
        kept = self.registration
        if kept is None or self.outcome not in ("accept", "held"):
            return "Its data stay pending."
        if kept.champion:
            return f"Registered as v{kept.version}."
        if kept.version is None:
            return (
                f"It becomes a version, and its data are learned, once a person says so: `retain approve {kept.run}`."
            )
        return (
            f"But it is v{kept.version}, which was rolled back, so it does not become the champion by "
            f"itself: `retain rollback {kept.version}` makes it so, and with other data or parameters it is another."
        )
