"""The questions that the data gate asks of every image: name, what is expected, what it means, what can be done.

To add one, write it into a list here; how they are asked and what follows is in `validate.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from adapters.expectations import Between, Expectation, NoneOf, OneOf
from records.experience import Severity
from records.record import Record

Format = Literal["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"]

FINE = ("",)
"""The one value that is expected of a column that says in words what is wrong."""


class ValidateParams(Record):
    """Limits of the data gate."""

    refused_share: float = Field(default=0.05, ge=0, le=1)
    """Largest share of a batch's images that may be refused; above it the whole batch is quarantined."""
    formats: tuple[Format, ...] = Field(default=("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"), min_length=1)
    """Image formats that are allowed."""
    min_side: int = Field(default=8, ge=1)
    """Shortest side that is allowed, in pixels."""
    max_side: int = Field(default=20_000, ge=1)
    """Longest side that is allowed, in pixels."""
    max_aspect: float = Field(default=10.0, ge=1)
    """Largest ratio of the longer side to the shorter one that is allowed."""
    min_train: int = Field(default=10, ge=1)
    """Fewest images that must be left for training."""
    min_test: int = Field(default=5, ge=1)
    """Fewest images that must be left for testing."""
    min_test_per_class: int = Field(default=5, ge=0)
    """Fewest images for testing that a class should have; fewer are reported."""
    allowed_classes: tuple[str, ...] | None = Field(default=None, min_length=1)
    """If set, images with any other label are refused."""
    new_classes: Literal["allow", "refuse"] = "allow"
    """Whether labels that the current model does not know are learned. While it knows none, all are."""
    near_side: int = Field(default=32, ge=16)
    """Near duplicates are looked for among images of at least this shortest side; smaller ones look alike by chance."""


@dataclass(frozen=True)
class ImageCheck:
    """A question that is asked of every image."""

    name: str
    words: str
    """What stands after a number of such images: `truncated`, or `not an image|not images`."""
    meaning: str
    remedy: str
    expectation: Expectation
    detail: str = "{detail}"
    """What is told of one image, with names of columns in braces."""
    severity: Severity = "refuse image"

    def count(self, number: int) -> str:
        """The number with its words."""
        one, _, many = self.words.partition("|")
        return f"{number} {many if many and number != 1 else one}"


FAULTS: tuple[tuple[str, str, str, str], ...] = (
    (
        "path-outside",
        "leading out of the delivery",
        "A path that leaves the delivery, a link or a device is never followed: a batch must not read other files.",
        "Copy the image itself into the delivery, into its class folder or beside the manifest.",
    ),
    (
        "file-missing",
        "missing",
        "Every path of a manifest must lead to a file, or its label stands for nothing.",
        "Deliver the missing file, or take its line out of the manifest.",
    ),
    (
        "file-empty",
        "empty",
        "A file of zero bytes holds no image; most often a copy was interrupted or a disk was full.",
        "Copy the file again from its source.",
    ),
    (
        "file-truncated",
        "truncated",
        "The image must be complete: a file that ends early shows only a part of what was labelled.",
        "Copy the file again from its source; if it is cut short there too, leave it out.",
    ),
    (
        "not-an-image",
        "not an image|not images",
        "What the file holds must be an image, whatever its name says.",
        "Leave the file out or export it as an image; a file is not converted by renaming it.",
    ),
    (
        "file-unreadable",
        "unreadable",
        "The image must be decoded without an error, or nobody knows what would be learned.",
        "Open the image in a viewer and save it again, or leave it out.",
    ),
    (
        "file-too-large",
        "too large to open",
        "Bytes and pixels are counted before decoding, so that no single file can take all the memory.",
        "Scale the image down, or raise the limits in params.ingest.",
    ),
    (
        "format-unknown",
        "of an unsupported format",
        "Only widely used formats are decoded: each further decoder is one more way in for a hostile file.",
        "Convert the image to PNG or JPEG.",
    ),
    (
        "label-unusable",
        "without a usable label",
        "A label becomes the name of a class, so it must be a plain name: not empty, no slash, no control character.",
        "Give the image a plain class name: in the folder's name, in the column `label`, or in the text beside it.",
    ),
)
"""What ingestion may have found: name, words, meaning, remedy."""

FAULT_OF = {
    "": "",
    "outside": "path-outside",
    "link": "path-outside",
    "not-a-file": "path-outside",
    "missing": "file-missing",
    "empty": "file-empty",
    "truncated": "file-truncated",
    "not-an-image": "not-an-image",
    "too-large": "file-too-large",
    "too-many-pixels": "file-too-large",
    "format": "format-unknown",
}
"""Problem, as ingestion calls it, to check. Those that begin with `label` are not listed; all others are unreadable."""

IDENTITY_CHECKS = (
    ImageCheck(
        "labels-conflict",
        "with two labels",
        "The same pixels under two labels contradict each other, so none of the copies is learned.",
        "Decide which label is right and deliver the image once, with that label.",
        OneOf(column="conflict", values=FINE),
        "{conflict}",
    ),
    ImageCheck(
        "test-leak",
        "copied from an earlier test split",
        "Models are judged on earlier test images; one that comes again must not find its way into training.",
        "Take the image out of the batch; it has been learned or tested on already.",
        OneOf(column="leak", values=FINE),
        "{leak}",
    ),
    ImageCheck(
        "label-correction",
        "labelled otherwise than before",
        "The same pixels came before under another label: a correction perhaps, but never one to make in silence.",
        "Have a person look at both labels: correct the earlier batch, or take the image out of this one.",
        OneOf(column="correction", values=FINE),
        "{correction}",
    ),
    ImageCheck(
        "duplicate-earlier",
        "already known",
        "An image that was delivered before, with the same label, teaches nothing new.",
        "Nothing needs to be done: the earlier image stays, this copy is left out.",
        OneOf(column="known", values=FINE),
        "{known}",
        "drop",
    ),
    ImageCheck(
        "duplicate",
        "delivered twice",
        "Of several files with the same pixels only the first is learned, or it would count more than others.",
        "Nothing needs to be done: one copy stays, the others are left out.",
        OneOf(column="repeat", values=FINE),
        "{repeat}",
        "drop",
    ),
    ImageCheck(
        "near-test",
        "nearly the same as a test image",
        "An image that looks the same as a test image makes the test easier than it should be.",
        "Look at both; if they show the same scene at the same moment, leave this one out.",
        OneOf(column="near", values=FINE),
        "{near}",
        "warn",
    ),
)
"""Whether an image has been seen before, here or earlier."""


def image_checks(params: ValidateParams, known_classes: Sequence[str]) -> tuple[ImageCheck, ...]:
    """Every question that is asked of each image, in the order in which a main reason is looked for."""
    faults = tuple(
        ImageCheck(name, words, meaning, remedy, NoneOf(column="fault", values=(name,)))
        for name, words, meaning, remedy in FAULTS
    )
    return (*faults, *_picture_checks(params), *_label_checks(params, known_classes), *IDENTITY_CHECKS)


def _picture_checks(params: ValidateParams) -> tuple[ImageCheck, ...]:
    size = "{width} x {height} pixels"
    return (
        ImageCheck(
            "format",
            "of a format that is not allowed",
            f"The image must be one of {', '.join(params.formats)}.",
            "Convert the image, or allow its format in params.validate.formats.",
            OneOf(column="format", values=params.formats, where="readable"),
            "a {format} file",
        ),
        ImageCheck(
            "size-small",
            "too small",
            f"The shorter side must have at least {params.min_side} pixels, or there is too little to see.",
            "Deliver the image in its original size, or lower params.validate.min_side.",
            Between(column="shorter", least=params.min_side, where="readable"),
            size,
        ),
        ImageCheck(
            "size-large",
            "too large",
            f"The longer side may have at most {params.max_side} pixels.",
            "Scale the image down, or raise params.validate.max_side.",
            Between(column="longer", most=params.max_side, where="readable"),
            size,
        ),
        ImageCheck(
            "aspect",
            "too elongated",
            f"The longer side may be at most {params.max_aspect:g} times the shorter one: the rest would be cut off.",
            "Crop the image to what its label names, or raise params.validate.max_aspect.",
            Between(column="aspect", most=params.max_aspect, where="readable"),
            size,
        ),
        ImageCheck(
            "animation",
            "animated",
            "Of an image with several frames or pages only the first is learned.",
            "Deliver the frames that matter as images of their own.",
            Between(column="frames", most=1, where="readable"),
            "{frames} frames",
            "warn",
        ),
    )


def _label_checks(params: ValidateParams, known_classes: Sequence[str]) -> tuple[ImageCheck, ...]:
    checks = []
    if params.allowed_classes is not None:
        check = ImageCheck(
            "label-not-allowed",
            "with a label that is not allowed",
            "Only labels listed in params.validate.allowed_classes are learned, so that a slip makes no class.",
            "Correct the label, or add it to params.validate.allowed_classes.",
            OneOf(column="label", values=params.allowed_classes, where="readable"),
            "labelled {label}",
        )
        checks.append(check)
    if params.new_classes == "refuse" and known_classes:
        check = ImageCheck(
            "class-new",
            "of a new class",
            "Only classes that the current model knows are learned, because params.validate.new_classes is `refuse`.",
            "Correct the label, or set params.validate.new_classes to `allow`.",
            OneOf(column="label", values=tuple(known_classes), where="readable"),
            "labelled {label}",
        )
        checks.append(check)
    return tuple(checks)
