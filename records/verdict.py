"""A verdict: may the candidate become the champion? A value, whatever it says."""

from typing import Literal

from pydantic import Field

from records.record import Record

Decision = Literal["accept", "refuse", "inconclusive"]
Question = Literal["forgotten", "taken", "learned"]
"""`forgotten`: lost though only the classes known before compete. `taken`: lost to new classes. `learned`: score."""


class Finding(Record):
    """One question, answered with confidence for one experience or for the mean over all past ones."""

    question: Question
    subject: str
    """Id of the experience; `<first> to <last>` of small ones judged together; or `mean`."""
    estimate: float
    lower: float
    upper: float
    """One-sided confidence bounds of the same quantity (a share of images, -1..1)."""
    limit: float
    """`forgotten` and `taken` must be below it, `learned` above it."""
    images: int = Field(ge=1)
    decision: Decision
    images_to_settle: int | None = None
    """If inconclusive: how many test images would settle it, should the rates stay as they are."""


class Verdict(Record):
    """What the gate says, and why."""

    decision: Decision
    reason: str
    """One sentence for a person."""
    gate: str
    confidence: float = Field(gt=0.5, lt=1)
    findings: tuple[Finding, ...]

    def find(self, question: Question, subject: str = "mean") -> Finding | None:
        """The finding on `question` for `subject`, or None if it was not asked."""
        return next((f for f in self.findings if (f.question, f.subject) == (question, subject)), None)
