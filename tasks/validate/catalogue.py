"""Every check of new images, in the order in which the main reason of an image is looked for.

A new check is a group in a file of its own below `checks/` and a line here; docs/checks.md is made from this list.
"""

from collections.abc import Mapping

from tasks.validate.checks.base import BatchCheck, Check, CheckGroup, ImageCheck
from tasks.validate.checks.classes import CLASSES
from tasks.validate.checks.drift import DRIFT
from tasks.validate.checks.files import FILES
from tasks.validate.checks.identity import IDENTITY
from tasks.validate.checks.labels import LABELS
from tasks.validate.checks.masks import MASKS
from tasks.validate.checks.quality import QUALITY
from tasks.validate.checks.whole import WHOLE

GROUPS: tuple[CheckGroup, ...] = (WHOLE, FILES, LABELS, MASKS, QUALITY, IDENTITY, CLASSES, DRIFT)

CHECKS: tuple[Check, ...] = tuple(check for group in GROUPS for check in group.checks)
IMAGE_CHECKS = tuple(check for check in CHECKS if isinstance(check, ImageCheck))
BATCH_CHECKS = tuple(check for check in CHECKS if isinstance(check, BatchCheck))


def problem_with(severity: Mapping[str, str]) -> str:
    """What is wrong with `params.validate.severity`, in words; nothing if it is right."""
    kinds = {check.name: check for check in CHECKS}
    for name, chosen in severity.items():
        if name not in kinds:
            return f"`{name}` is no check; docs/checks.md and `retain checks` list them"
        allowed = allowed_for(kinds[name])
        if chosen not in allowed:
            return f"`{name}` can be {', '.join(allowed)}, not `{chosen}`"
    return ""


def allowed_for(check: Check) -> tuple[str, ...]:
    """What may follow from a check."""
    if isinstance(check, BatchCheck):
        return "refuse batch", "warn", "off"
    if check.final:
        return "refuse batch", "refuse image", "drop"
    return "refuse batch", "refuse image", "drop", "warn", "off"
