"""What a check is: a question with a name, a consequence, a meaning and a remedy.

A check of images is asked of every image; a check of the batch is asked once it is known which images are left. Both
are expectations over a table of facts. Checks that need further columns come as a group with a function that makes
them. To add a check, write a group in a file of its own and name it in `catalogue.py`; docs/checks.md is made from
there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

import pandas as pd

from adapters.expectations import Between, Expectation
from records.batch import BACKGROUND, Annotation, Batch, classes_in
from records.experience import Distributions, Severity
from tasks.validate.earlier import EarlierImages
from tasks.validate.embeddings import Champion
from tasks.validate.mask_shares import MaskShares
from tasks.validate.settings import ValidateParams

FINE = ("",)
"""The one value that is expected of a column that says in words what is wrong."""

MasksIn = Callable[[str], "pd.Series[str]"]
"""Reads the `annotation_id` of each row of an earlier batch, by its id; of a batch without masks, nothing."""

Made = TypeVar("Made")
Topic = Literal["file", "identity", "labels", "masks", "quality", "batch", "drift"]


def no_masks(batch: str) -> "pd.Series[str]":
    """Of a batch without masks."""
    return pd.Series(dtype=str)


@dataclass(frozen=True, eq=False)
class ValidationInput:
    """A batch in validation, and what it is compared with."""

    batch: Batch
    params: ValidateParams
    known: tuple[str, ...]
    """Classes of the current model, and those that came with earlier batches of the same night; none before the first
    night."""
    earlier: EarlierImages
    champion: Champion
    named: tuple[str, ...] = ()
    """The same, those of the first night's earlier batches included: what a new label may be a slip of."""
    annotation: Annotation = ""
    """What images must come with, for the problem that they are learned for."""
    masks_before: Callable[[], MaskShares] = MaskShares
    """Reads the masks of the batches that were learned last."""
    masks_in: MasksIn = no_masks
    """Reads the masks of one earlier batch."""

    def by_class(self, images: pd.DataFrame) -> pd.DataFrame:
        """A row for each image and class: those of an image with a mask are several, or none."""
        if not self.batch.annotation:
            return images
        labels = images["label"].map(classes_in)
        rows = images.assign(label=labels).explode("label")
        return rows[rows["label"] != BACKGROUND]

    def of_images(self, images: pd.DataFrame, details: Mapping[str, str]) -> "pd.Series[str]":
        """What is said of the classes of each image, of the first of which there is anything to say; else empty."""
        if not self.batch.annotation:
            found = [details.get(label, "") for label in images["label"]]
        else:
            told = ((details.get(one, "") for one in classes_in(label)) for label in images["label"])
            found = [next(filter(None, texts), "") for texts in told]
        return pd.Series(found, index=images.index, dtype=str)


@dataclass(frozen=True, eq=False)
class FilteredBatch:
    """A batch of which every image has been checked, and which of them may be learned."""

    arriving: ValidationInput
    table: pd.DataFrame
    """One row an image with all columns, `learned` and `refused` (both bool) included; neither means dropped."""
    _made: dict[Callable[..., object], object] = field(default_factory=dict)

    @property
    def learned(self) -> pd.DataFrame:
        """The images that will be learned if the batch is admitted."""
        return self.table[self.table["learned"]]

    @property
    def learned_by_class(self) -> pd.DataFrame:
        """The same with a row for each class that an image shows."""
        return self.arriving.by_class(self.learned)

    def once(self, make: "Callable[[FilteredBatch], Made]") -> "Made":
        """The result of the function `make` for this batch, computed once however many checks ask for it."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast("Made", self._made[make])


@dataclass(frozen=True)
class Measurement:
    """What a check of the batch found."""

    value: float
    """What is held against the limit."""
    note: str
    """What was found, in words: how much, and in which direction."""
    found: int = 0
    """How many images or classes that concerns, if the check does not pass."""
    details: Mapping[int, str] = field(default_factory=dict)
    """Row to a sentence about that image."""
    comparison: Distributions | None = None
    final: bool = False
    """True if nobody can accept it: there is nothing to learn with, or nothing to judge by."""
    remedy: str = ""
    """What to do about what was found, if that is more than the check itself can say."""


@dataclass(frozen=True)
class _CheckBase:
    name: str
    topic: Topic
    severity: Severity
    meaning: str
    """One sentence: what is looked for, and why. Limits stand in braces, by their name in `ValidateParams`."""
    remedy: str
    """One sentence: what the person who sent the batch can do."""
    limits: tuple[str, ...] = ()
    """Names in `ValidateParams` (dotted names: in params.yaml) that decide."""


@dataclass(frozen=True, kw_only=True)
class ImageCheck(_CheckBase):
    """A check of every image by itself."""

    words: str
    """What stands after a number of such images: `truncated`, or `not an image|not images`."""
    expectation: Callable[[ValidationInput], Expectation | None]
    """None: this check does not apply."""
    detail: str = "{detail}"
    """The sentence about one image, with names of columns in braces."""
    like: str = ""
    """Column that names another image, `<batch>#<row>`, to be shown beside this one."""
    final: bool = False
    """True if nobody can accept it: there is no image to learn."""

    def count(self, number: int) -> str:
        """The number with its words."""
        one, _, many = self.words.partition("|")
        return f"{number} {many if many and number != 1 else one}"


@dataclass(frozen=True, kw_only=True)
class BatchCheck(_CheckBase):
    """A check of the batch as a whole, once images were left out."""

    measure: Callable[[FilteredBatch], Measurement | None]
    """None: this check does not apply."""
    least: Callable[[ValidateParams], float] | None = None
    most: Callable[[ValidateParams], float] | None = None

    def expectation(self, params: ValidateParams) -> Between:
        """Over a table with a column for each check of the batch."""
        return Between(
            column=self.name,
            least=self.least(params) if self.least else None,
            most=self.most(params) if self.most else None,
        )


Check = ImageCheck | BatchCheck
Columns = Mapping[str, "pd.Series | str | bool | float"]


def no_columns(arriving: ValidationInput, table: pd.DataFrame) -> Columns:
    """For checks that ask the facts as they are."""
    return {}


@dataclass(frozen=True)
class CheckGroup:
    """Checks that go together, and the columns that they ask beside the facts and those of groups before."""

    checks: tuple[Check, ...]
    columns: Callable[[ValidationInput, pd.DataFrame], Columns] = no_columns
    of_the_standing: bool = False
    """True if its columns depend on which images the groups before have refused: the column `standing` tells."""


def always(expectation: Expectation) -> Callable[[ValidationInput], Expectation | None]:
    """The same expectation, whatever the parameters."""
    return lambda arriving: expectation


def severity_of(check: Check, arriving: ValidationInput) -> Severity | Literal["off"]:
    """What follows from a check: as set in params.validate.severity, and never more than a warning once accepted."""
    chosen = arriving.params.severity.get(check.name, check.severity)
    if isinstance(check, ImageCheck) and check.final:
        return chosen
    return "warn" if check.name in arriving.batch.accepted and chosen != "off" else chosen
