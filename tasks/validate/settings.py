"""Section `validate` of params.yaml: the limits of validation, and what follows when one is broken."""

import unicodedata
from typing import Literal

from pydantic import Field, field_validator

from records.experience import Severity
from records.record import Record

Format = Literal["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"]
Consequence = Severity | Literal["off"]


class ValidateParams(Record):
    """Limits of validation. docs/checks.md says which check asks for which."""

    severity: dict[str, Consequence] = {}
    """Name of a check to what follows from it, where that is not the check's own: `refuse batch`, `refuse image`,
    `drop` (left out, not counted against the batch), `warn` or `off`."""

    refused_share: float = Field(default=0.05, ge=0, le=1)
    """Largest share of a batch's images that may be refused; above it the whole batch is quarantined."""
    min_train: int = Field(default=10, ge=1)
    """Fewest images that must be left for training."""
    min_test: int = Field(default=5, ge=1)
    """Fewest images that must be left for testing."""

    formats: tuple[Format, ...] = Field(default=("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"), min_length=1)
    """Image formats that are allowed."""
    modes: tuple[str, ...] | None = Field(default=None, min_length=1)
    """If set, the colour modes that are allowed, by Pillow's names: L is grey, RGB, P a palette, CMYK, ..."""
    min_side: int = Field(default=8, ge=1)
    """Shortest side that is allowed, in pixels."""
    max_side: int = Field(default=20_000, ge=1)
    """Longest side that is allowed, in pixels."""
    max_aspect: float = Field(default=10.0, ge=1)
    """Largest ratio of the longer side to the shorter one that is allowed."""

    near_distance: int = Field(default=2, ge=0, le=3)
    """Bits of 64 in which the perceptual hashes of two images may differ for them to count as nearly the same."""
    near_side: int = Field(default=32, ge=16)
    """Near duplicates are looked for among images of at least this shortest side; smaller ones look alike by chance."""

    allowed_classes: tuple[str, ...] | None = Field(default=None, min_length=1)
    """If set, images with any other label are refused."""
    required_classes: tuple[str, ...] = ()
    """Classes of which every batch should hold images."""
    new_classes: Literal["allow", "ask", "refuse"] = "allow"
    """What happens to labels that the current model does not know: they are learned; a person is asked, and the batch
    waits in quarantine; or their images are refused. While it knows none, all are learned."""
    min_train_new_class: int = Field(default=1, ge=0)
    """Fewest different images for training with which a class may begin; the images of a class with fewer wait."""
    max_scarce_classes: int = Field(default=200, ge=0)
    """Most new classes of a batch that may have fewer than `min_train_per_class` for training; with more it waits."""
    min_train_per_class: int = Field(default=5, ge=0)
    """Fewest images for training that a class should have; fewer are reported."""
    min_test_per_class: int = Field(default=5, ge=0)
    """Fewest images for testing that a class should have; fewer are reported."""
    max_imbalance: float = Field(default=20.0, ge=1)
    """Largest ratio of the training images of the largest class in a batch to those of the smallest."""
    label_images: int = Field(default=10_000, ge=0)
    """Images of a batch, drawn by their content, whose labels are doubted by a classifier; 0 doubts none."""
    label_issue_share: float = Field(default=0.1, ge=0, le=1)
    """Largest share of them whose label may look wrong."""

    mask_ignored_share: float = Field(default=0.1, ge=0, le=1)
    """By how much the mean share of ignored pixels of an image may exceed that of the batches learned last."""

    dark: float = Field(default=0.15, ge=0, le=1)
    """An image whose 95th percentile of grey levels (0..1) lies below is dark."""
    bright: float = Field(default=0.95, ge=0, le=1)
    """An image whose 5th percentile of grey levels (0..1) lies above is bright."""
    blurry: float = Field(default=10.0, ge=0)
    """An image whose variance of the Laplacian (of grey levels 0..255) lies below is blurred."""
    low_information: float = Field(default=0.5, ge=0, le=8)
    """An image whose grey levels have less entropy, in bits, shows next to nothing."""
    odd_size: float = Field(default=5.0, ge=1)
    """An image is of odd size if its pixels are so many times more, or fewer, than those of the batch's median one."""

    drift_distance: float = Field(default=0.15, ge=0, le=1)
    """Largest Kolmogorov-Smirnov distance of a fact's distribution from that of the images learned before."""
    drift_classes: float = Field(default=0.3, ge=0, le=1)
    """Largest total variation distance of the shares of the known classes from those learned before."""
    drift_auc: float = Field(default=0.75, ge=0.5, le=1)
    """Largest area under the curve with which a classifier may tell new images from earlier ones of the same classes
    by the champion's features; 0.5 is chance."""
    drift_champion: float = Field(default=0.1, ge=0, le=1)
    """Largest share of images, over that of earlier test images, that the champion may answer wrongly."""
    drift_batches: int = Field(default=30, ge=1)
    """How many of the batches learned last the new one is compared with."""

    @field_validator("allowed_classes", "required_classes")
    @classmethod
    def _composed_as_labels_are(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return classes and tuple(unicodedata.normalize("NFC", name) for name in classes)
