"""An experience: a batch that passed validation. The report says what was looked at and what was found."""

from typing import Literal

from pydantic import AliasChoices, Field, field_validator

from records.errors import RetainError
from records.record import Record
from records.rows import unpacked

Severity = Literal["refuse batch", "refuse image", "drop", "warn"]
"""`drop` leaves an image out and does not count against its batch: a duplicate is no fault."""


class Violation(Record):
    """One image that a check found fault with."""

    row: int = Field(ge=0)
    """Row in the batch, counted through its shards in order."""
    path: str
    """Where the image lay in the delivery, as text (control characters escaped)."""
    detail: str
    """What was found, for this image."""
    like: str = ""
    """The image that it resembles or contradicts, as `<batch id>#<row>`: an earlier one, or one of the same batch."""


class Distributions(Record):
    """How something is distributed in the batch and in what was learned before: what a check of drift looked at."""

    of: str
    """What is counted, with its unit: `brightness`, `longer side in pixels`, `class`."""
    bins: tuple[str, ...]
    """A name for each part: a class, or the range of a number such as `0.25 to 0.31`."""
    before: tuple[float, ...]
    """Share of the images learned before that lie in each part, 0..1."""
    now: tuple[float, ...]
    """Share of the batch's images."""


class Check(Record):
    """One check of validation and what it found."""

    name: str
    severity: Severity
    meaning: str
    """One sentence: what is looked for, and why."""
    remedy: str
    """One sentence: what the person who sent the batch can do."""
    passed: bool
    found: int = Field(ge=0)
    """How many images (or classes) it complains of."""
    violations: tuple[Violation, ...] = Field(default=(), validation_alias=AliasChoices("violations", "complaints"))
    """The images in words, row by row, the first of many: reports are committed to Git. In reports of before they are
    called `complaints`."""
    rows: str = ""
    """All rows, as `records.rows` packs them, if `violations` names only the first."""
    note: str = ""
    """What was found, for checks that look at the batch as a whole: how much, and in which direction."""
    comparison: Distributions | None = None
    """For checks of drift: the two distributions."""

    @field_validator("rows")
    @classmethod
    def _can_be_unpacked(cls, rows: str) -> str:
        return rows if not rows or unpacked(rows) else ""

    def all_rows(self) -> tuple[int, ...]:
        """Rows of the images that it complains of, in words or not."""
        return unpacked(self.rows) if self.rows else tuple(violation.row for violation in self.violations)


class Hold(Record):
    """A batch waits although no check refused it. It delays no other, and is learned once it is released."""

    by: str
    """Who says so; `retain` itself, if validation could not look at the batch."""
    why: str
    """In words, on one line."""

    def sentence(self) -> str:
        """For the report's summary."""
        why = f": {self.why}" if self.why else ""
        return f"Held by {self.by}{why}" if why.endswith((".", "!", "?")) else f"Held by {self.by}{why}."


class Report(Record):
    """What validation says of one batch."""

    batch: str
    source: str
    images: int
    admitted: bool
    summary: str
    """One sentence: admitted or not, and why."""
    checks: tuple[Check, ...]
    held: Hold | None = None
    """If it is not admitted although no check stops it."""

    @property
    def misfit(self) -> bool:
        """Whether its images came with something else than the problem needs: no choice among them mends that."""
        return any(check.name == "annotation" and not check.passed for check in self.checks)

    def refused_rows(self) -> tuple[int, ...]:
        """Rows that are not learned, sorted, each once."""
        leaving_out = ("refuse image", "drop")
        return tuple(
            sorted({row for check in self.checks if check.severity in leaving_out for row in check.all_rows()})
        )

    def faulty_rows(self) -> tuple[int, ...]:
        """Rows that a check refused, sorted, each once; a copy that was merely dropped is none of them."""
        return tuple(sorted({row for c in self.checks if c.severity == "refuse image" for row in c.all_rows()}))


class RejectedBatch(RetainError):
    """A batch that did not pass validation. `report` says which images, why and what to do."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.summary)
        self.report = report


class Experience(Record):
    """A batch as it is learned: which rows count, and what they hold."""

    batch: str
    """Id of the batch, and of the experience."""
    digest: str
    """Digest of the batch."""
    left_out: tuple[int, ...] = ()
    """Rows of the batch that are not learned, sorted."""
    classes: tuple[str, ...]
    """Labels among the admitted images, sorted."""
    train: int = Field(ge=1)
    validation: int = Field(ge=0)
    test: int = Field(ge=1)
    """Number of admitted images of each split."""
