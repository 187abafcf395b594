"""A batch: images that arrived together, immutable from then on."""

from datetime import date
from typing import Literal

from pydantic import Field

from records.record import Record

Split = Literal["train", "validation", "test"]


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
    """The day it arrived and the first eight digits of its digest, for example 2026-01-05-3f2a9c1b."""
    digest: str
    """SHA-256 over every image's path, label, further columns and bytes, in the order of the paths.

    Of a correction also over what it corrects and what was accepted: the same images, judged otherwise, are another
    batch.
    """
    arrived: date
    source: str
    """Name of the folder or manifest it was delivered as."""
    images: int = Field(ge=1)
    """Number of rows, unreadable files included."""
    classes: tuple[str, ...]
    """Every label that was delivered, sorted; validation may refuse some."""
    columns: tuple[str, ...] = ()
    """Further columns of the user's manifest; they stand in the shards as `user.<name>`."""
    shards: tuple[Shard, ...]
    corrects: str = ""
    """Id of the batch in quarantine whose images these are, corrected by a person; empty for a delivery."""
    replaces: bool = False
    """True if nothing of the batch that it corrects was admitted: that one is never learned, this one stands for it."""
    accepted: tuple[str, ...] = ()
    """Names of checks that a person has looked at and accepted for these images; they only warn."""
    note: str = ""
    """Who released the images from quarantine, and why."""


class Arrival(Record):
    """What became of a delivery."""

    batch: Batch
    known: bool
    """True if the same content had been ingested before; then nothing was written."""
    delivery: str = ""
    """Name of what was delivered now; a batch that was known may have come under another one."""
