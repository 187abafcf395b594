"""Checks of the file: is there a whole image in it, of a kind that is allowed? Ingestion found out; this judges."""

import pandas as pd

from adapters.expectations import Between, NoneOf, OneOf
from records.experience import Severity
from tasks.validate.checks.base import CheckGroup, Columns, ImageCheck, Topic, ValidationInput, always

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
    "repeated": "row-repeated",
}
"""Problem, as ingestion calls it, to check. Those that begin with `label` are not listed, and those of masks are called
as their checks; all others are unreadable."""
OF_MASKS = ("mask-missing", "mask-unreadable", "mask-size", "mask-mode", "mask-index")


def columns(arriving: ValidationInput, table: pd.DataFrame) -> Columns:
    """`fault`: the check that ingestion's problem belongs to, or nothing; `readable`; sides and their ratio."""
    # Ingestion looks at the label after the file, so what it says of a label is said of a readable image.
    fault = table["problem"].map(_fault)
    shorter, longer = table[["width", "height"]].min(axis=1), table[["width", "height"]].max(axis=1)
    return {
        "fault": fault,
        "readable": fault == "",
        "format": table["format"].str.upper(),
        "shorter": shorter,
        "longer": longer,
        "aspect": longer / shorter.clip(lower=1),
    }


def _fault(problem: str) -> str:
    if problem in OF_MASKS:
        return problem
    return "label-unusable" if problem.startswith("label") else FAULT_OF.get(problem, "file-unreadable")


def _fault_check(
    name: str,
    words: str,
    meaning: str,
    remedy: str,
    limits: tuple[str, ...] = (),
    topic: Topic = "file",
    severity: Severity = "refuse image",
) -> ImageCheck:
    expectation = NoneOf(column="fault", values=(name,))
    return ImageCheck(
        name, topic, severity, meaning, remedy, limits, words=words, expectation=always(expectation), final=True
    )


FAULTS = (
    _fault_check(
        "path-outside",
        "leading out of the delivery",
        "A path that leaves the delivery, a link or a device is never followed: a batch must not read other files.",
        "Copy the image itself into the delivery, into its class folder or beside the manifest.",
    ),
    _fault_check(
        "file-missing",
        "missing",
        "Every path of a manifest must lead to a file, or its label stands for nothing.",
        "Deliver the missing file, or take its line out of the manifest.",
    ),
    _fault_check(
        "file-empty",
        "empty",
        "A file of zero bytes holds no image; most often a copy was interrupted or a disk was full.",
        "Copy the file again from its source.",
    ),
    _fault_check(
        "file-truncated",
        "truncated",
        "The image must be complete: a file that ends early shows only a part of what was labelled.",
        "Copy the file again from its source; if it is cut short there too, leave it out.",
    ),
    _fault_check(
        "not-an-image",
        "not an image|not images",
        "What the file holds must be an image, whatever its name says.",
        "Leave the file out or export it as an image; a file is not converted by renaming it.",
    ),
    _fault_check(
        "file-unreadable",
        "unreadable",
        "The image must be decoded without an error and within limits of time and memory, or nobody knows what "
        "would be learned.",
        "Open the image in a viewer and save it again, or leave it out.",
        ("ingest.image_seconds", "ingest.image_memory"),
    ),
    _fault_check(
        "file-too-large",
        "too large to open",
        "Bytes and pixels are counted before decoding, so that no single file can take all the memory.",
        "Scale the image down, or raise the limits in params.ingest.",
        ("ingest.max_bytes", "ingest.max_pixels"),
    ),
    _fault_check(
        "format-unknown",
        "of an unsupported format",
        "Only widely used formats are decoded: each further decoder is one more way in for a hostile file.",
        "Convert the image to PNG or JPEG.",
    ),
    _fault_check(
        "label-unusable",
        "without a usable label",
        "A label becomes the name of a class, so it must be a plain name: not empty, no slash, no control character.",
        "Give the image a plain class name: in the folder's name, in the column `label`, or in the text beside it.",
        topic="labels",
    ),
    _fault_check(
        "row-repeated",
        "named twice",
        "A row that names the same file, or holds the same bytes, as another one with the same label says nothing new; "
        "it is neither read nor stored.",
        "Nothing needs to be done: the image stays once.",
        topic="identity",
        severity="drop",
    ),
)

FAULTS_OF_MASKS = (
    _fault_check(
        "mask-missing",
        "without a mask",
        "Every image of a delivery with masks must have one, or nobody knows what it shows.",
        "Deliver the mask, under the image's name; a mask that is all background says that there is nothing.",
        topic="masks",
    ),
    _fault_check(
        "mask-unreadable",
        "with an unreadable mask",
        "The mask must be decoded without an error and within limits of time and memory.",
        "Open the mask in a viewer and save it again.",
        topic="masks",
    ),
    _fault_check(
        "mask-size",
        "with a mask of another size",
        "A mask says of every pixel what it shows, so it has the image's width and height.",
        "Make the mask from the image as it is delivered; do not scale or crop one of them alone.",
        topic="masks",
    ),
    _fault_check(
        "mask-mode",
        "with a mask that holds no indices",
        "The pixels of a mask are whole numbers below 256, or colours that the list of classes names.",
        "Save the mask as a grey or palette PNG of class indices, without anti-aliasing or lossy compression.",
        topic="masks",
    ),
    _fault_check(
        "mask-index",
        "with a mask that names no class",
        "Every index in a mask stands for a class; 255 is what nobody can tell.",
        "Add the class to the list of classes, or correct the mask.",
        topic="masks",
    ),
)

SIZE = "{width} x {height} pixels"

PICTURES = (
    ImageCheck(
        "format",
        "file",
        "refuse image",
        "The image must be one of {formats}.",
        "Convert the image, or allow its format in params.validate.formats.",
        ("formats",),
        words="of a format that is not allowed",
        expectation=lambda a: OneOf(column="format", values=a.params.formats, where="readable"),
        detail="a {format} file",
    ),
    ImageCheck(
        "colour-mode",
        "file",
        "refuse image",
        "The image must store its pixels in an allowed way, such as grey (L) or colour (RGB).",
        "Convert the image, or allow its mode in params.validate.modes.",
        ("modes",),
        words="of a colour mode that is not allowed",
        expectation=lambda a: OneOf(column="mode", values=a.params.modes, where="readable") if a.params.modes else None,
        detail="stored as {mode}",
    ),
    ImageCheck(
        "size-small",
        "file",
        "refuse image",
        "The shorter side must have at least {min_side} pixels, or there is too little to see.",
        "Deliver the image in its original size, or lower params.validate.min_side.",
        ("min_side",),
        words="too small",
        expectation=lambda a: Between(column="shorter", least=a.params.min_side, where="readable"),
        detail=SIZE,
    ),
    ImageCheck(
        "size-large",
        "file",
        "refuse image",
        "The longer side may have at most {max_side} pixels.",
        "Scale the image down, or raise params.validate.max_side.",
        ("max_side",),
        words="too large",
        expectation=lambda a: Between(column="longer", most=a.params.max_side, where="readable"),
        detail=SIZE,
    ),
    ImageCheck(
        "aspect",
        "file",
        "refuse image",
        "The longer side may be at most {max_aspect} times the shorter one: the rest would be cut off.",
        "Crop the image to what its label names, or raise params.validate.max_aspect.",
        ("max_aspect",),
        words="too elongated",
        expectation=lambda a: Between(column="aspect", most=a.params.max_aspect, where="readable"),
        detail=SIZE,
    ),
    ImageCheck(
        "animation",
        "file",
        "warn",
        "Of an image with several frames or pages only the first is learned.",
        "Deliver the frames that matter as images of their own.",
        words="animated",
        expectation=lambda a: Between(column="frames", most=1, where="readable"),
        detail="{frames} frames",
    ),
)

FILES = CheckGroup((*FAULTS, *FAULTS_OF_MASKS, *PICTURES), columns)
