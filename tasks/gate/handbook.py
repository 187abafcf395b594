"""docs/checks.md: every check of the data gate, from the catalogue, so that the page cannot say anything else."""

from tasks.gate.catalogue import CHECKS
from tasks.gate.checks.base import Check, ImageCheck
from tasks.gate.settings import ValidateParams
from tasks.gate.validate import with_limits

GROUPS = {
    "file": "File: is there a whole image in it, of a kind that is allowed?",
    "labels": "Labels: are they what they seem?",
    "quality": "Quality: is there something to see?",
    "identity": "Identity: has it been seen before?",
    "batch": "Batch: is enough left?",
    "drift": "Drift: is it like what was learned before?",
}

HEAD = """# What the data gate asks

Every image of a batch is asked every question below, then the batch as a whole. What follows from an answer is the
severity of the check:

- `refuse image`: the image is left out and counts against its batch (`refused-share`);
- `drop`: the image is left out without blame;
- `refuse batch`: the whole batch waits in quarantine;
- `warn`: it is told in the report and nothing follows.

`params.validate.severity` changes it, for example `severity: {blurry: refuse image, dark: "off"}`; checks of the
batch can be `refuse batch`, `warn` or `off`. A limit is a value in `params.validate` unless it says `ingest.`. `retain
checks` prints this list with the values of a workspace.

This page is made from the code: `make docs`.
"""


def handbook() -> str:
    """The page, in Markdown, with the default limits."""
    parts = [HEAD]
    for group, title in GROUPS.items():
        parts.append(f"\n## {title}\n")
        parts.extend(_entry(check) for check in CHECKS if check.group == group)
    return "".join(parts)


def limits_of(check: Check, params: ValidateParams) -> dict[str, str]:
    """Name of a limit to its value as text; those of other sections have no value here."""
    values = params.model_dump(mode="json")
    return {name: str(values[name]) if name in values else "" for name in check.limits}


def _entry(check: Check) -> str:
    params = ValidateParams()
    limits = ", ".join(
        f"`{name}`" + (f" ({value})" if value else "") for name, value in limits_of(check, params).items()
    )
    asked = "every image" if isinstance(check, ImageCheck) else "the batch"
    told = f"`{check.severity}`, asked of {asked}" + (f"; limit: {limits}" if limits else "")
    return f"\n### {check.name}\n\n{told}\n\n{with_limits(check.meaning, params)}\n*What to do:* {check.remedy}\n"


if __name__ == "__main__":
    print(handbook(), end="")
