"""Section `evaluate` of params.yaml."""

from pydantic import Field

from records.record import Record


class EvaluateParams(Record):
    """Section `evaluate` of params.yaml."""

    reference_confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence with which a version must beat the best one so far on an experience to take its place. The error is
    spread over all versions that try, see `certainly_better`."""
    max_images: int = Field(default=100_000, ge=1)
    """Test images that a version answers at most. With more in the archive each experience is asked for as many as the
    others, or for all that it has if it has fewer."""
