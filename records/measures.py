"""What a candidate's answers say beyond the score: each class, calibration, and what flipped against the parent."""

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from records.record import Record


class Measures(Record):
    """Taken over the test images of all experiences together, each image counted once, all classes competing."""

    per_class: dict[str, float] = {}
    """Class to the share of its test images that are answered rightly, 0..1, or to its IoU; classes without test images
    are absent."""
    further: dict[str, float] = {}
    """What else people expect to read of such a problem, by name: `pixel_accuracy`, `mean_dice`; and `iou_old` and
    `iou_new`, the mean over the classes known before this night and over those that are new with it."""
    macro_f1: float | None = Field(default=None, ge=0, le=1)
    """Mean over the classes that have test images of F1, the harmonic mean of precision and recall. None where an image
    has more than one class."""
    calibration_error: float | None = Field(default=None, ge=0, le=1)
    """Expected calibration error: how far confidence and accuracy lie apart, see `models.measures`. None likewise."""
    negative_flips: float | None = Field(default=None, ge=0, le=1)
    """Share of the past experiences' test images that the parent answered better than the candidate: for
    classification, right before and wrong now. None without a past."""
    positive_flips: float | None = Field(default=None, ge=0, le=1)
    """Share of them that the candidate answers better. None without a past."""

    @model_serializer(mode="wrap")
    def _without_empty(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in plain(self).items() if name != "further" or value}

    def numbers(self) -> dict[str, float]:
        """All of it by name, but that of each class."""
        plain = self.model_dump(exclude={"per_class", "further"}, exclude_none=True)
        return plain | self.further
