"""Section `ingest` of params.yaml, and what the environment says of ingesting."""

import math
import os

from pydantic import Field, model_validator

from dataset.deliveries.allowance import USUAL, Caps
from records.errors import WrongInput
from records.record import Record
from records.registration import Beginning


class IngestParams(Record):
    """Section `ingest` of params.yaml."""

    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of all images that are only ever used to test; of the first deliveries more, see `enough_test_images`."""
    enough_test_images: int = Field(default=300, ge=0)
    """As long as earlier batches hold fewer test images, up to half of a delivery is for tests: a verdict on few is
    none. 0: `test_share` from the beginning."""
    min_test_images: int = Field(default=200, ge=0)
    """Test images that a first version waits for: with fewer, those that follow could be compared with it only by
    chance. Until then deliveries wait for each other, and are learned together. 0: it waits for none."""
    validation_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of all images that are kept for choosing settings."""
    max_pixels: int = Field(default=50_000_000, ge=1)
    """Images with more pixels, by their header, are not decoded."""
    max_bytes: int = Field(default=64 * 2**20, ge=1, le=2**30)
    """Larger files are not read."""
    image_seconds: float = Field(default=10, ge=1, le=3600)
    """Processor time that one image may take; more ends the process at work on it, and the image is refused."""
    image_memory: int = Field(default=2**30, ge=2**27)
    """Bytes that one image may take while it is decoded. Fewer processes decode at a time where all would not fit."""
    max_rows: int = Field(default=USUAL.rows, ge=1)
    """Of a delivery, or files. What goes beyond this, or one of the five that follow, is not taken as a whole."""
    max_columns: int = Field(default=USUAL.columns, ge=2)
    """Of a manifest, or of a Parquet file; each becomes a column of every shard."""
    max_row_text: int = Field(default=USUAL.row_text, ge=1)
    """Bytes of text that a row may take: its path, its label, its further columns, and 8 bytes for each of them."""
    max_text: int = Field(default=USUAL.text, ge=1)
    """Bytes of text that all rows together may take."""
    max_missing: int = Field(default=USUAL.missing, ge=0)
    """Rows that may name what is not there, must not be read, or was named before: each takes room in the report."""
    max_expansion: float = Field(default=USUAL.expansion, ge=1)
    """So many times as many bytes as its files have a delivery's images may have, in all its rows."""
    max_crashes: int = Field(default=20, ge=0)
    """A delivery with more images at which their decoder fails, or goes beyond these two, is not taken."""
    settle_seconds: float = Field(default=10, ge=0, le=3600)
    """A delivery in the inbox is taken once nothing in it has changed for so long, or once it is marked; 0: at once."""
    shard_bytes: int = Field(default=128 * 2**20, ge=1)
    """A shard ends with the row group that reaches this size."""

    @property
    def caps(self) -> Caps:
        """What a delivery may hold."""
        return Caps(
            self.max_rows, self.max_columns, self.max_row_text, self.max_text, self.max_missing, self.max_expansion
        )

    @model_validator(mode="after")
    def _leaves_images_to_learn(self) -> "IngestParams":
        if self.test_share + self.validation_share >= 1:
            raise ValueError("test_share and validation_share together must be less than 1")
        return self

    def share_of_tests(self, images: int, held: int) -> float:
        """The share of a delivery of so many images that is for tests; `held`: test images of earlier batches."""
        most = (1 - self.validation_share) / 2
        return max(self.test_share, min((self.enough_test_images - held) / images, most))

    def beginning(self, batches: int, tests: int) -> Beginning | None:
        """What a first version still waits for if so many batches hold so many test images; None if for nothing."""
        missing = self.min_test_images - tests
        if missing <= 0:
            return None
        more = math.ceil(missing / self.share_of_tests(missing, tests))
        return Beginning(batches=batches, tests=tests, wanted=self.min_test_images, more=more)


def workers() -> int:
    """Processes that ingest may use: RETAIN_WORKERS, or the number of cores. Raises `WrongInput` for no number."""
    given = os.environ.get("RETAIN_WORKERS")
    if not given:
        return os.cpu_count() or 1
    if not given.isdecimal() or int(given) == 0:
        raise WrongInput(f"RETAIN_WORKERS is `{given}`; it must be a whole number of processes, 1 or more.")
    return int(given)
