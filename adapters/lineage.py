"""Which versions the champion builds on, and what is known of those that were left, from the tags of the versions."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from records.runs import Rollback

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def line_of(versions: "Mapping[int, ModelVersion]", number: int) -> set[int]:
    """A version, the one that it was learned on top of, and so on, as far as they are known."""
    line: set[int] = set()
    while number in versions and number not in line:
        line.add(number)
        number = int(versions[number].tags["parent"])
    return line


def overruled(version: "ModelVersion", current: int) -> Rollback:
    """Who approves what does not build on the champion goes back from it."""
    tags = version.tags
    by, note = tags.get("approved_by", ""), tags.get("approval_note", "")
    return Rollback(at=datetime.now(UTC), left=current, to=int(version.version), by=by, note=note)


def was_champion(version: "ModelVersion") -> bool:
    """The alias was moved to it once."""
    # A night may be killed after the alias moved and before the mark; who goes back from that version says it as well.
    return "champion_since" in version.tags or bool(version.tags.get("rolled_back"))
