"""The step `validate`: which images of a batch may be learned, and whether the batch may be learned at all.

Every image goes through every check. All that is wrong with it is reported, and it is counted once, by its main reason:
the first check that refuses it. Bad images are left out; with too many of them, or too few good ones, the whole batch
is rejected. The checks are listed in `catalogue.py`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from adapters.expectations import Expectation, Rule, RuleResult, run
from dataset.shards import KNOWN, KNOWN_OF_MASKS
from records.batch import Annotation, Batch
from records.errors import DamagedState
from records.experience import Check, Experience, RejectedBatch, Report, Severity, Violation
from records.formatting import plain, summary
from records.rows import packed
from tasks.validate import catalogue
from tasks.validate.checks.base import (
    BatchCheck,
    FilteredBatch,
    ImageCheck,
    MasksIn,
    Measurement,
    ValidationInput,
    no_masks,
    severity_of,
)
from tasks.validate.earlier import EarlierImages
from tasks.validate.embeddings import Champion, NullModel
from tasks.validate.mask_shares import MaskShares
from tasks.validate.settings import ValidateParams

NEEDED = tuple(name for name in KNOWN if name != "sha256")
"""Columns of the facts that are looked at; none may have missing values."""

SHOWN, SHOWN_IF_LEFT_OUT = 20, 100
"""Images that the report names for a check: if it leaves none out, and if it does."""
SHOWN_BYTES = 16 * 2**10
"""Bytes of their paths and details: fewer images are named if these are longer."""

NO_CHAMPION = NullModel()


def validate(
    facts: pd.DataFrame,
    batch: Batch,
    earlier: EarlierImages,
    known_classes: tuple[str, ...],
    params: ValidateParams,
    champion: Champion = NO_CHAMPION,
    tonight: tuple[str, ...] = (),
    annotation: Annotation = "",
    masks_before: Callable[[], MaskShares] = MaskShares,
    masks_in: MasksIn = no_masks,
) -> tuple[Experience, Report]:
    """Ask every question of the batch; give what may be learned, and the report.

    `facts` are the batch's shards without the columns of files: one row an image, index 0..n-1. `known_classes` are
    those of the current model, `champion` is how it sees images, and `tonight` are the classes of batches that were
    admitted before this one in the same night; `annotation` is what images must come with, `masks_before` reads the
    masks that were learned last, if a check asks, and `masks_in` those of one earlier batch. Raises `RejectedBatch`,
    with the report, if the batch is quarantined; `DamagedState` if the facts are not those of the batch. Same
    arguments, same answer.
    """
    _refuse_foreign_facts(facts, batch)
    named = tuple(sorted({*known_classes, *tonight}))
    # A model that knows no class yet learns all that come, in whatever number of batches.
    arriving = ValidationInput(
        batch, params, named if known_classes else (), earlier, champion, named, annotation, masks_before, masks_in
    )
    table, found = _ask_the_images(arriving, facts.loc[:, list(_needed(batch))])
    reasons = _main_reasons(found)
    filtered = FilteredBatch(arriving, _with_outcome(table, reasons, _refused(found)))
    batch_checks = _ask_the_batch(filtered)
    image_checks = [
        _image_check(check, severity, _rows(check, severity, finding, reasons), filtered)
        for check, severity, finding in found
    ]
    checks = (*batch_checks, *image_checks)
    failed = [check for check in checks if not check.passed and check.severity == "refuse batch"]
    report = Report(
        batch=batch.id,
        source=plain(batch.source),
        images=batch.images,
        admitted=not failed,
        summary=_sentence(found, reasons, failed, batch, params),
        checks=checks,
    )
    if failed:
        raise RejectedBatch(report)
    return _experience(filtered, report), report


def _needed(batch: Batch) -> tuple[str, ...]:
    return (*NEEDED, *KNOWN_OF_MASKS) if batch.annotation else NEEDED


def _refuse_foreign_facts(facts: pd.DataFrame, batch: Batch) -> None:
    lacking = [column for column in _needed(batch) if column not in facts.columns or facts[column].isna().any()]
    wrong = [f"no values, or missing ones, in {', '.join(lacking)}"] if lacking else []
    if len(facts) != batch.images:
        wrong.append(f"{len(facts)} rows, not {batch.images}")
    if wrong:
        raise DamagedState(f"The shards of batch {batch.id} have {wrong[0]}. Get them again: `dvc pull`.")


def _ask_the_images(
    arriving: ValidationInput, table: pd.DataFrame
) -> tuple[pd.DataFrame, list[tuple[ImageCheck, Severity, RuleResult]]]:
    """The table with every column, and what each check of images found."""
    found: list[tuple[ImageCheck, Severity, RuleResult]] = []
    waiting: list[tuple[ImageCheck, Expectation, Severity]] = []
    for group in catalogue.GROUPS:
        if group.of_the_standing:
            found += _answers(table, waiting)
            table, waiting = table.assign(standing=table["readable"] & ~table.index.isin(_refused(found))), []
        table = table.assign(**group.columns(arriving, table))
        for check in group.checks:
            severity = severity_of(check, arriving)
            if isinstance(check, ImageCheck) and severity != "off":
                expectation = check.expectation(arriving)
                waiting += [(check, expectation, severity)] if expectation is not None else []
    return table, [*found, *_answers(table, waiting)]


def _answers(
    table: pd.DataFrame, expected: Sequence[tuple[ImageCheck, Expectation, Severity]]
) -> list[tuple[ImageCheck, Severity, RuleResult]]:
    findings = run(table, [Rule(name=check.name, expectation=expectation) for check, expectation, _ in expected])
    return [(check, severity, finding) for (check, _, severity), finding in zip(expected, findings, strict=True)]


def _refused(found: Sequence[tuple[ImageCheck, Severity, RuleResult]]) -> list[int]:
    return [row for _, severity, finding in found if severity == "refuse image" for row in finding.rows]


def _main_reasons(found: Sequence[tuple[ImageCheck, Severity, RuleResult]]) -> dict[int, ImageCheck]:
    """Row to the check that leaves it out: the first that refuses it, else the first that drops it."""
    reasons: dict[int, ImageCheck] = {}
    for wanted in ("refuse image", "drop"):
        for check, severity, finding in found:
            if severity == wanted:
                reasons = {**dict.fromkeys(finding.rows, check), **reasons}
    return reasons


def _rows(
    check: ImageCheck, severity: Severity, finding: RuleResult, reasons: Mapping[int, ImageCheck]
) -> tuple[int, ...]:
    """The rows to report: an image that is refused anyway is not reported as dropped too."""
    return tuple(row for row in finding.rows if severity != "drop" or reasons[row] is check)


def _image_check(check: ImageCheck, severity: Severity, rows: tuple[int, ...], filtered: FilteredBatch) -> Check:
    shown_rows = list(rows[: SHOWN_IF_LEFT_OUT if severity in ("refuse image", "drop") else SHOWN])
    table, params = filtered.table, filtered.arriving.params
    shown = ["path", *(column for column in table.columns if f"{{{column}}}" in check.detail)]
    values = table.loc[shown_rows, shown].map(_shown).to_dict("records")
    like = table.loc[shown_rows, check.like].tolist() if check.like else [""] * len(shown_rows)
    violations = _first_of(
        Violation(row=row, path=of["path"], detail=check.detail.format_map(of), like=other)
        for row, of, other in zip(shown_rows, values, like, strict=True)
    )
    return Check(
        name=check.name,
        severity=severity,
        meaning=with_limits(check.meaning, params),
        remedy=check.remedy,
        passed=not rows,
        found=len(rows),
        violations=violations,
        rows=packed(rows) if len(violations) < len(rows) else "",
    )


def _first_of(violations: Iterable[Violation]) -> tuple[Violation, ...]:
    """As many as `SHOWN_BYTES` allows, one at the least."""
    first: list[Violation] = []
    room = SHOWN_BYTES
    for violation in violations:
        room -= len(violation.path.encode()) + len(violation.detail.encode())
        if first and room < 0:
            break
        first.append(violation)
    return tuple(first)


def with_limits(text: str, params: ValidateParams) -> str:
    """The text with the limits that stand in braces."""
    limits = {name: _limit(value) for name, value in params}
    return text.format_map(limits)


def _limit(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else plain(str(value))


def _with_outcome(table: pd.DataFrame, reasons: Mapping[int, ImageCheck], refusing: Sequence[int]) -> pd.DataFrame:
    """The table with what became of each image."""
    return table.assign(learned=~table.index.isin(list(reasons)), refused=table.index.isin(refusing))


def _ask_the_batch(filtered: FilteredBatch) -> tuple[Check, ...]:
    """What is asked of the batch as a whole, over a table with a row and a column for each check."""
    params = filtered.arriving.params
    measured: list[tuple[BatchCheck, Severity, Measurement]] = []
    for check in catalogue.BATCH_CHECKS:
        severity = severity_of(check, filtered.arriving)
        answer = check.measure(filtered) if severity != "off" else None
        if answer is not None and severity != "off":
            measured.append((check, "refuse batch" if answer.final else severity, answer))
    table = pd.DataFrame({check.name: [answer.value] for check, _, answer in measured}, dtype=float)
    findings = run(table, [Rule(name=check.name, expectation=check.expectation(params)) for check, _, _ in measured])
    return tuple(
        _batch_check(check, severity, answer, finding, filtered)
        for (check, severity, answer), finding in zip(measured, findings, strict=True)
    )


def _batch_check(
    check: BatchCheck, severity: Severity, answer: Measurement, finding: RuleResult, filtered: FilteredBatch
) -> Check:
    paths = filtered.table["path"]
    return Check(
        name=check.name,
        severity=severity,
        meaning=with_limits(check.meaning, filtered.arriving.params),
        remedy=answer.remedy or check.remedy,
        passed=finding.passed,
        found=0 if finding.passed else answer.found,
        note=plain(answer.note),
        violations=tuple(
            Violation(row=row, path=plain(paths[row]), detail=plain(text))
            for row, text in list(answer.details.items())[:SHOWN]
        ),
        comparison=answer.comparison,
    )


def _sentence(
    found: Sequence[tuple[ImageCheck, Severity, RuleResult]],
    reasons: Mapping[int, ImageCheck],
    failed: Sequence[Check],
    batch: Batch,
    params: ValidateParams,
) -> str:
    counts = Counter(reasons.values())
    refused = {c.count(counts[c]): counts[c] for c, severity, _ in found if counts[c] and severity == "refuse image"}
    dropped = {c.count(counts[c]): counts[c] for c, severity, _ in found if counts[c] and severity == "drop"}
    if "refused-share" in {check.name for check in failed}:
        return summary(batch.images, refused, {}, limit=params.refused_share)
    words = {check.name: check for check, _, _ in found}
    lacks = [plain(check.note or words[check.name].count(check.found)) for check in failed]
    return summary(batch.images, refused, dropped, lacks=lacks)


def _experience(filtered: FilteredBatch, report: Report) -> Experience:
    batch, splits = filtered.arriving.batch, filtered.learned["split"].value_counts()
    return Experience(
        batch=batch.id,
        digest=batch.digest,
        left_out=report.refused_rows(),
        classes=tuple(sorted(set(filtered.learned_by_class["label"]))),
        train=int(splits.get("train", 0)),
        validation=int(splits.get("validation", 0)),
        test=int(splits.get("test", 0)),
    )
