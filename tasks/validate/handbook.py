"""docs/checks.md: every check of new images, from the catalogue, so that the page cannot say anything else."""

from records.record import Record
from tasks.validate.catalogue import CHECKS
from tasks.validate.checks.base import ImageCheck
from tasks.validate.settings import ValidateParams
from tasks.validate.validate import with_limits

TOPICS = {
    "file": "File: is there a whole image in it, of a kind that is allowed?",
    "labels": "Labels: are they what they seem?",
    "masks": "Masks: do they say of every pixel what it shows?",
    "quality": "Quality: is there something to see?",
    "identity": "Identity: has it been seen before?",
    "batch": "Batch: is enough left?",
    "drift": "Drift: is it like what was learned before?",
}

HEAD = """# What validation asks

Every image of a batch is asked every question below, then the batch as a whole. What follows from an answer is the
severity of the check:

- `refuse image`: the image is left out and counts against its batch (`refused-share`);
- `drop`: the image is left out and does not count against its batch;
- `refuse batch`: the whole batch waits in quarantine;
- `warn`: the report names it and nothing follows.

`params.validate.severity` changes it, for example `severity: {blurry: refuse image, dark: "off"}`; checks of the
batch can be `refuse batch`, `warn` or `off`. A limit is a value in `params.validate` unless it says `ingest.`. `retain
checks` prints this list with the values of a workspace.

This page is made from the code: `make reference`.
"""


def handbook() -> str:
    """The page, in Markdown, with the default limits."""
    parts, default = [HEAD], configured_checks(ValidateParams())
    for topic, title in TOPICS.items():
        parts.append(f"\n## {title}\n")
        parts.extend(
            _entry(configured) for check, configured in zip(CHECKS, default, strict=True) if check.topic == topic
        )
    return "".join(parts)


class ConfiguredCheck(Record):
    """A check, as a workspace has it."""

    name: str
    of: str
    """`every image` or `the batch`."""
    severity: str
    changed: bool
    """True if params.yaml sets another severity than the check's own."""
    limits: dict[str, str]
    """Name to value; those of other sections of params.yaml have no value here."""
    meaning: str
    remedy: str


def configured_checks(params: ValidateParams) -> tuple[ConfiguredCheck, ...]:
    """Every check of the catalogue, with these parameters."""
    values = params.model_dump(mode="json")
    return tuple(
        ConfiguredCheck(
            name=check.name,
            of="every image" if isinstance(check, ImageCheck) else "the batch",
            severity=params.severity.get(check.name, check.severity),
            changed=check.name in params.severity,
            limits={name: _text(values[name]) if name in values else "" for name in check.limits},
            meaning=with_limits(check.meaning, params),
            remedy=check.remedy,
        )
        for check in CHECKS
    )


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "not set" if value is None else str(value)


def _entry(check: ConfiguredCheck) -> str:
    limits = ", ".join(f"`{name}`" + (f" ({value})" if value else "") for name, value in check.limits.items())
    facts = f"`{check.severity}`, asked of {check.of}" + (f"; limit: {limits}" if limits else "")
    return f"\n### {check.name}\n\n{facts}\n\n{check.meaning}\n*What to do:* {check.remedy}\n"


if __name__ == "__main__":
    print(handbook(), end="")
