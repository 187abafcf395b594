"""A verdict: may the candidate become the champion? A value, whatever it says."""

from typing import Literal

from pydantic import Field

from records.record import Record

Decision = Literal["accept", "refuse", "inconclusive"]
Question = Literal["forgotten", "taken", "learned"]
"""`forgotten`: lost even when only the classes known then are considered. `taken`: lost to new classes. `learned`: the
score."""


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
    too_few: bool = False
    """Inconclusive for want of test images, and nothing speaks against it: this alone holds no candidate up."""
    images_to_settle: int | None = None
    """If inconclusive: how many test images would settle it the next time, should the rates stay as they are."""
    worst: str = ""
    """Of several experiences the one that lost most."""
    worst_estimate: float = 0.0
    """What that one lost."""


class ClassFinding(Record):
    """What a class lost of what the best versions so far had right, over the test images of all past experiences."""

    label: str
    images: int = Field(ge=1)
    right: float
    """Test images that were right."""
    kept: float
    """Test images that are right now, with all classes competing."""
    lower: float
    upper: float
    """One-sided confidence bounds of the share lost, 1 - kept / right."""
    limit: float
    """What the share must stay below."""
    decision: Literal["accept", "refuse", "inconclusive", "too few"]
    """`too few`: it had too little right to say, but some of that is still there."""
    unlabelled: bool = False
    """Asked of tonight's images, in which nobody looked for the class and the champion is sure to see it; `right` is
    what the champion sees."""

    @property
    def estimate(self) -> float:
        """The share lost, 0..1."""
        return max(1 - self.kept / self.right, 0.0)


class Verdict(Record):
    """What the gate says, and why."""

    decision: Decision
    reason: str
    """One sentence for a person."""
    gate: str
    confidence: float = Field(gt=0.5, lt=1)
    attempt: int = Field(default=1, ge=1)
    """How many candidates were judged on these data and this parent, this one included."""
    findings: tuple[Finding, ...]
    classes: tuple[ClassFinding, ...] = ()
    """The classes of which it is not certain that they kept enough, those that lost most first."""

    def find(self, question: Question, subject: str = "mean") -> Finding | None:
        """The finding on `question` for `subject`, or None if it was not asked."""
        return next((f for f in self.findings if (f.question, f.subject) == (question, subject)), None)
