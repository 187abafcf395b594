"""The step `validate`: which images of a batch may be learned, and whether the batch may be learned at all.

Every image is asked every question. All that is wrong with it is told, and it is counted once, by its main reason: the
first check that refuses it. Bad images are left out; with too many of them, or too few good ones, the whole batch is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from adapters.expectations import Finding, MeanBetween, OneOf, Rule, SumBetween, run
from records.batch import Batch
from records.errors import DamagedState
from records.experience import Check, Complaint, Experience, RejectedBatch, Report
from tasks.gate.checks import FAULT_OF, FINE, ImageCheck, ValidateParams, image_checks
from tasks.gate.earlier import EarlierImages
from tasks.gate.report import count_of, percent, plain, summary

NEEDED = ("image", "path", "label", "split", "problem", "detail", "format", "width", "height", "frames", "phash")
"""The columns of the facts that are looked at; none may have missing values."""

SAYS_NOTHING = ("0" * 16, "f" * 16)
"""Difference hashes of plain surfaces and smooth gradients: equal hashes of these are no sign of equal images."""


def validate(
    facts: pd.DataFrame,
    batch: Batch,
    earlier: EarlierImages,
    known_classes: tuple[str, ...],
    params: ValidateParams,
) -> tuple[Experience, Report]:
    """Ask every question of the batch; give what may be learned, and the report.

    `facts` are the batch's shards without the column `encoded`: one row an image, index 0..n-1. `known_classes` are
    those of the current model. Raises `RejectedBatch`, with the report, if the batch is quarantined; `DamagedState` if
    the facts are not those of the batch. Same arguments, same answer.
    """
    _refuse_foreign_facts(facts, batch)
    table = _prepare(facts, earlier, params)
    asked = image_checks(params, known_classes)
    findings = run(table, [Rule(name=check.name, expectation=check.expectation) for check in asked])
    reasons = _main_reasons(asked, findings)
    told = [_told(c, _rows(c, finding, reasons), table) for c, finding in zip(asked, findings, strict=True)]
    whole = _whole_checks(_with_outcome(table, reasons, params), params)
    report = Report(
        batch=batch.id,
        source=plain(batch.source),
        images=batch.images,
        admitted=all(check.passed for check in whole if check.severity == "refuse batch"),
        summary=_sentence(asked, reasons, whole, batch, params),
        checks=(*whole, *told),
    )
    if not report.admitted:
        raise RejectedBatch(report)
    return _experience(table.drop(index=list(report.refused_rows())), batch, report), report


def _refuse_foreign_facts(facts: pd.DataFrame, batch: Batch) -> None:
    lacking = [column for column in NEEDED if column not in facts.columns or facts[column].isna().any()]
    wrong = [f"no values, or missing ones, in {', '.join(lacking)}"] if lacking else []
    if len(facts) != batch.images:
        wrong.append(f"{len(facts)} rows, not {batch.images}")
    if wrong:
        raise DamagedState(f"The shards of batch {batch.id} have {wrong[0]}. Get them again: `dvc pull`.")


def _prepare(facts: pd.DataFrame, earlier: EarlierImages, params: ValidateParams) -> pd.DataFrame:
    """The facts, and columns that follow from them and from what came earlier."""
    table = facts.loc[:, list(NEEDED)].assign(conflict="", leak="", correction="", known="", repeat="", near="")
    table["fault"] = [_fault(problem) for problem in table["problem"]]
    table["readable"] = table["fault"] == ""
    table["format"] = table["format"].str.upper()
    table["shorter"] = table[["width", "height"]].min(axis=1)
    table["longer"] = table[["width", "height"]].max(axis=1)
    table["aspect"] = table["longer"] / table["shorter"].clip(lower=1)
    # A copy in a format that is refused anyway must not stand in the way of one that is not.
    identified = table[table["readable"] & table["format"].isin(params.formats)]
    _compare_within(table, identified)
    _compare_with_earlier(table, identified, earlier)
    _compare_looks(table, identified[identified["shorter"] >= params.near_side], earlier, params)
    return table


def _fault(problem: str) -> str:
    return "label-unusable" if problem.startswith("label") else FAULT_OF.get(problem, "file-unreadable")


def _compare_within(table: pd.DataFrame, identified: pd.DataFrame) -> None:
    """Fill `conflict` and `repeat`."""
    copies = identified[identified.duplicated("image", keep=False)]
    differ = copies.groupby("image")["label"].transform("nunique") > 1
    labels = copies[differ].groupby("image")["label"].agg(_listed)
    table.loc[copies.index[differ], "conflict"] = "the same pixels are labelled " + copies["image"][differ].map(labels)
    first = copies.groupby("image")["path"].transform("first")
    repeat = ~differ & copies.duplicated("image")
    table.loc[copies.index[repeat], "repeat"] = "the same pixels as " + first[repeat]


def _compare_with_earlier(table: pd.DataFrame, identified: pd.DataFrame, earlier: EarlierImages) -> None:
    """Fill `leak`, `correction` and `known`."""
    images = earlier.images.rename(columns={"label": "label_before"})
    met = identified[["image", "label"]].join(images, on="image", how="inner")
    before = "in " + met["experience"] + " as " + met["label_before"]
    tested, same = met["split"] == "test", met["label"] == met["label_before"]
    for column, concerned, text in (
        ("leak", tested, "a test image " + before),
        ("correction", ~same, "labelled " + met["label"] + ", but " + before),
        ("known", same & ~tested, "delivered before " + before),
    ):
        table.loc[met.index[concerned], column] = text[concerned]


def _compare_looks(
    table: pd.DataFrame, identified: pd.DataFrame, earlier: EarlierImages, params: ValidateParams
) -> None:
    """Fill `near` for images that are no test images themselves."""
    telling = identified[~identified["phash"].isin(SAYS_NOTHING)]
    own, others = telling[telling["split"] == "test"], telling[telling["split"] != "test"]
    before = earlier.tests_like(others["phash"], params.near_side)
    looks = {look: f"looks like a test image of {where}" for look, where in before.items()}
    looks |= {look: f"looks like the test image {path}" for look, path in own[["phash", "path"]].to_numpy()}
    near = others[others["phash"].isin(looks.keys())]
    table.loc[near.index, "near"] = near["phash"].map(looks)


def _rows(check: ImageCheck, finding: Finding, reasons: Mapping[int, ImageCheck]) -> tuple[int, ...]:
    """The rows to tell of: an image that is refused anyway is not told of as dropped too."""
    return tuple(row for row in finding.rows if check.severity != "drop" or reasons[row] is check)


def _told(check: ImageCheck, rows: tuple[int, ...], table: pd.DataFrame) -> Check:
    told = rows[:20] if check.severity == "warn" else rows
    shown = ["path", *(column for column in table.columns if f"{{{column}}}" in check.detail)]
    values = table.loc[list(told), shown].astype(str).map(plain).to_dict("records")
    return Check(
        name=check.name,
        severity=check.severity,
        meaning=check.meaning,
        remedy=check.remedy,
        passed=not rows,
        found=len(rows),
        complaints=tuple(
            Complaint(row=row, path=of["path"], detail=check.detail.format_map(of))
            for row, of in zip(told, values, strict=True)
        ),
    )


def _main_reasons(asked: Sequence[ImageCheck], findings: Sequence[Finding]) -> dict[int, ImageCheck]:
    """Row to the check that leaves it out: the first that refuses it, else the first that drops it."""
    reasons: dict[int, ImageCheck] = {}
    for severity in ("refuse image", "drop"):
        for check, finding in zip(asked, findings, strict=True):
            if check.severity == severity:
                reasons = {**dict.fromkeys(finding.rows, check), **reasons}
    return reasons


def _with_outcome(table: pd.DataFrame, reasons: Mapping[int, ImageCheck], params: ValidateParams) -> pd.DataFrame:
    """The table with what became of each image, and with the classes that can hardly be tested."""
    refused = [row for row, check in reasons.items() if check.severity == "refuse image"]
    learned = ~table.index.isin(list(reasons))
    table = table.assign(refused=table.index.isin(refused), lack="")
    for split in ("train", "test"):
        table[split] = learned & (table["split"] == split)
    tests = table[learned].groupby("label")["test"].sum()
    first = table["label"][learned].drop_duplicates()
    few = first[first.map(tests) < params.min_test_per_class]
    wanted = f" of the {params.min_test_per_class} test images wanted for "
    table.loc[few.index, "lack"] = few.map(tests).astype(str) + wanted + few
    return table


def _whole_checks(table: pd.DataFrame, params: ValidateParams) -> tuple[Check, ...]:
    """What is asked of the batch as a whole, once it is known which images are left."""
    share, train, test, classes = run(
        table,
        [
            Rule(name="refused-share", expectation=MeanBetween(column="refused", most=params.refused_share)),
            Rule(name="least-train", expectation=SumBetween(column="train", least=params.min_train)),
            Rule(name="least-test", expectation=SumBetween(column="test", least=params.min_test)),
            Rule(name="least-test-per-class", expectation=OneOf(column="lack", values=FINE)),
        ],
    )
    refused = int(table["refused"].sum())
    per_class = ImageCheck(
        classes.rule,
        "",
        "A class with few test images can be forgotten without anyone noticing.",
        "Send more images of the class.",
        OneOf(column="lack", values=FINE),
        "{lack}",
        "warn",
    )
    return (
        Check(
            name=share.rule,
            severity="refuse batch",
            meaning="If too many images are bad, the batch was probably made in a wrong way, and the rest is in doubt.",
            remedy="Mend or leave out the images listed below and deliver the batch again.",
            passed=share.passed,
            found=0 if share.passed else refused,
            note=f"{refused} of {count_of(len(table))} ({percent(refused / len(table), params.refused_share)}), "
            f"at most {100 * params.refused_share:.4g}% allowed",
        ),
        _least(train, "train", "training", params.min_train),
        _least(test, "test", "testing", params.min_test),
        _told(per_class, classes.rows, table),
    )


def _least(finding: Finding, split: str, purpose: str, least: int) -> Check:
    left = int(finding.observed)
    return Check(
        name=finding.rule,
        severity="refuse batch",
        meaning=f"Enough images must be left for {purpose} once others are left out.",
        remedy=f"Send a larger batch, or lower params.validate.min_{split}.",
        passed=finding.passed,
        found=0 if finding.passed else least - left,
        note=f"{count_of(left)} left for {purpose}, at least {least} needed",
    )


def _sentence(
    asked: Sequence[ImageCheck],
    reasons: Mapping[int, ImageCheck],
    whole: Sequence[Check],
    batch: Batch,
    params: ValidateParams,
) -> str:
    counts = Counter(reasons.values())
    refused = {c.count(counts[c]): counts[c] for c in asked if counts[c] and c.severity == "refuse image"}
    dropped = {c.count(counts[c]): counts[c] for c in asked if counts[c] and c.severity == "drop"}
    failed = [check for check in whole if not check.passed and check.severity == "refuse batch"]
    if "refused-share" in {check.name for check in failed}:
        return summary(batch.images, refused, {}, limit=params.refused_share)
    return summary(batch.images, refused, dropped, lacks=[check.note for check in failed])


def _experience(learned: pd.DataFrame, batch: Batch, report: Report) -> Experience:
    splits = learned["split"].value_counts()
    return Experience(
        batch=batch.id,
        digest=batch.digest,
        left_out=report.refused_rows(),
        classes=tuple(sorted(set(learned["label"]))),
        train=int(splits.get("train", 0)),
        validation=int(splits.get("validation", 0)),
        test=int(splits.get("test", 0)),
    )


def _listed(labels: "pd.Series[str]") -> str:
    """The labels, sorted; only the first few of many, as this is repeated for each image that bears one."""
    names = sorted(set(labels))
    last = names[-1] if len(names) <= 4 else f"{len(names) - 3} others"
    return f"{', '.join(names[: min(len(names) - 1, 3)])} and {last}"
