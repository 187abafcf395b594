"""A batch: images that arrived together, immutable from then on."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from records.record import Record

Split = Literal["train", "validation", "test"]
Annotation = Literal["", "mask"]
"""What images come with besides a label: nothing, or a mask that says of every pixel which class it belongs to."""
BACKGROUND, IGNORED = "background", 255
"""The class of a pixel that belongs to none of those looked for, and the value of one that nobody can tell."""

ID_DIGITS, FEWEST = 32, 8
"""Of the digest in an id, and in what a person is shown of it."""
DAY = len("2026-01-05-")
OF_MASKS = ("annotation", "mask_classes")
LONG_ID = re.compile(rf"(?<![\w/.-])\d{{4}}-\d\d-\d\d-[0-9a-f]{{{ID_DIGITS}}}(?![\w/-])")


class Shard(Record):
    """One Parquet file of a batch."""

    name: str
    """File name inside the batch's folder."""
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str


class Batch(Record):
    """What `data/batches/<id>/batch.json` says. The shards beside it hold one row an image: its bytes and facts."""

    id: str
    """The day it arrived and the first 32 digits of its digest; eight of batches that an earlier retain wrote. A person
    reads and writes its beginning, such as 2026-01-05-3f2a9c1b."""
    digest: str
    """SHA-256 over every image's path, label, further columns and bytes, and its mask if it has one, in the order of
    the paths.

    Of a correction also over what it corrects and what was accepted: the same images, judged otherwise, are another
    batch.
    """
    arrived: date
    number: int = Field(default=0, ge=0)
    """How many batches of that day there were before it: those of one day are asked and learned as they arrived."""
    source: str
    """Name of the folder or manifest it was delivered as."""
    images: int = Field(ge=1)
    """Number of rows, unreadable files included."""
    classes: tuple[str, ...]
    """Every label that was delivered, sorted, or every class that occurs in a mask; validation may refuse some."""
    columns: tuple[str, ...] = ()
    """Further columns of the user's manifest; they stand in the shards as `user.<name>`."""
    shards: tuple[Shard, ...]
    annotation: Annotation = ""
    mask_classes: tuple[str, ...] = ()
    """Names of the values in its masks: value i is the i-th of them, the first is always the background."""
    corrects: str = ""
    """Id of the batch in quarantine whose images these are, corrected by a person; empty for a delivery."""
    replaces: bool = False
    """True if nothing of the batch that it corrects was admitted: that one is never learned, this one stands for it."""
    accepted: tuple[str, ...] = ()
    """Names of checks that a person has looked at and accepted for these images; they only warn."""
    note: str = ""
    """Who released the images from quarantine, and why."""

    @model_serializer(mode="wrap")
    def _without_masks_if_there_are_none(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A batch without them is written as before there were masks: its bytes are in the digest of all data."""
        written = dict(plain(self))
        return written if self.annotation else {k: v for k, v in written.items() if k not in OF_MASKS}


def classes_in(label: str) -> tuple[str, ...]:
    """The classes that a label names. Of an image with a mask they are several, with a slash between them."""
    return tuple(label.split("/"))


def classes_of(labels: Collection[str], annotation: Annotation) -> tuple[str, ...]:
    """Every class that the labels of a batch name, sorted; the background of masks is none."""
    if not annotation:
        return tuple(sorted({label for label in labels if label}))
    return tuple(sorted({name for label in labels if label for name in classes_in(label)} - {BACKGROUND}))


def id_of(arrived: date, digest: str) -> str:
    """The id of a batch. So long that nobody can make another delivery that gets the same one (2^64 tries)."""
    return f"{arrived.isoformat()}-{digest[:ID_DIGITS]}"


def shortened(text: str) -> str:
    """A text for people, with ids of batches cut to eight digits, or to as many as tell those in it apart.

    A beginning is all that commands need. In paths, ids stay as they are.
    """
    ids = sorted({found[0] for found in LONG_ID.finditer(text)})
    shown: dict[str, str] = {}
    for one in ids:
        digits = FEWEST
        while any(other != one and other.startswith(one[: DAY + digits]) for other in ids):
            digits += 1
        shown[one] = one[: DAY + digits]
    return LONG_ID.sub(lambda found: shown[found[0]], text)


def titles(names: Mapping[str, str]) -> dict[str, str]:
    """Id of a batch to the name of its delivery; where several were called so, with the day, and a digit or two."""
    shown: dict[str, str] = {}
    for parts in (slice(0, 0), slice(5, DAY - 1), slice(5, DAY + 4), slice(0, None)):
        trial = {one: " ".join(filter(None, (name, one[parts]))) for one, name in names.items() if one not in shown}
        often = Counter(trial.values())
        shown |= {one: title for one, title in trial.items() if often[title] == 1}
    return {one: shown[one] for one in names}


def called(text: str, names: Mapping[str, str]) -> str:
    """A text for people, with deliveries called by name and day where the name is known: `monday (2026-03-02)`.

    Several of one name and day get some digits more, so that they differ.
    """
    days = Counter((name, one[: DAY - 1]) for one, name in names.items())

    def name_of(found: re.Match[str]) -> str:
        one, day = found[0], found[0][: DAY - 1]
        name = names.get(one)
        return f"{name} ({day if days[name, day] == 1 else one})" if name else one

    return shortened(LONG_ID.sub(name_of, text))


class Arrival(Record):
    """What became of a delivery."""

    batch: Batch
    known: bool
    """True if the same content had been ingested before; then nothing was written."""
    delivery: str = ""
    """Name of what was delivered now; a batch that was known may have come under another one."""
