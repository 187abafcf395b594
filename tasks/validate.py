"""The step `validate`: which images of a batch may be learned, and whether the batch may be learned at all.

Every image is asked every question. All that is wrong with it is told, and it is counted once, by its main reason: the
first check that refuses it. Bad images are left out; with too many of them, or too few good ones, the whole batch is.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import pandas as pd
from pydantic import Field

from adapters.expectations import Between, Expectation, Finding, MeanBetween, NoneOf, OneOf, Rule, SumBetween, run
from records.batch import Batch
from records.errors import DamagedState, RejectedBatch
from records.experience import Check, Complaint, Experience, Report, Severity
from records.record import Record
from tasks.report import count_of, percent, plain, summary

Format = Literal["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"]

NEEDED = ("image", "path", "label", "split", "problem", "detail", "format", "width", "height", "frames", "phash")
"""The columns of the facts that are looked at; none may have missing values."""

SAYS_NOTHING = ("0" * 16, "f" * 16)
"""Difference hashes of plain surfaces and smooth gradients: equal hashes of these are no sign of equal images."""

FINE = ("",)
"""The one value that is expected of a column that says in words what is wrong."""


class ValidateParams(Record):
    """Limits of the data gate."""

    refused_share: float = Field(default=0.05, ge=0, le=1)
    """Largest share of a batch's images that may be refused; above it the whole batch is quarantined."""
    formats: tuple[Format, ...] = Field(default=("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"), min_length=1)
    """Image formats that are allowed."""
    min_side: int = Field(default=8, ge=1)
    """Shortest side that is allowed, in pixels."""
    max_side: int = Field(default=20_000, ge=1)
    """Longest side that is allowed, in pixels."""
    max_aspect: float = Field(default=10.0, ge=1)
    """Largest ratio of the longer side to the shorter one that is allowed."""
    min_train: int = Field(default=10, ge=1)
    """Fewest images that must be left for training."""
    min_test: int = Field(default=5, ge=1)
    """Fewest images that must be left for testing."""
    min_test_per_class: int = Field(default=5, ge=0)
    """Fewest images for testing that a class should have; fewer are reported."""
    allowed_classes: tuple[str, ...] | None = Field(default=None, min_length=1)
    """If set, images with any other label are refused."""
    new_classes: Literal["allow", "refuse"] = "allow"
    """Whether labels that the current model does not know are learned. While it knows none, all are."""
    near_side: int = Field(default=32, ge=16)
    """Near duplicates are looked for among images of at least this shortest side; smaller ones look alike by chance."""


@dataclass(frozen=True, eq=False)
class EarlierImages:
    """What was admitted before, for looking up an image by its content. Made once a night."""

    images: pd.DataFrame
    """Index: content id, each once. Columns `label`, `split`, `phash`, `side` (shorter side, pixels), `experience`."""

    @classmethod
    def of(cls, learned: Iterable[tuple[Experience, pd.DataFrame]]) -> Self:
        """Take the admitted rows of earlier experiences, each with the facts of its whole batch (index 0..n-1).

        The batch that is to be validated must not be among them: all its images would be known.
        """
        columns = ["image", "label", "split", "phash"]
        nothing = pd.DataFrame(columns=[*columns, "experience"], dtype=str).assign(side=pd.Series(dtype="int64"))
        tables = [nothing]
        for experience, facts in learned:
            admitted = facts.drop(index=list(experience.left_out))
            side = admitted[["width", "height"]].min(axis=1)
            tables.append(admitted[columns].assign(side=side, experience=experience.batch))
        images = pd.concat(tables[1:] or tables, ignore_index=True)
        # Should an image have come twice, what matters is that it has been tested on.
        images = images.sort_values("split", key=lambda s: s != "test", kind="stable").drop_duplicates("image")
        return cls(images.set_index("image"))

    def tests_like(self, looks: Iterable[str], side: int) -> Mapping[str, str]:
        """Of the given perceptual hashes, those of test images with a shorter side of at least `side` pixels.

        Each is mapped to the experience of one such image.
        """
        like = self.images[self.images["phash"].isin(set(looks))]
        like = like[(like["split"] == "test") & (like["side"] >= side)]
        return dict(zip(like["phash"], like["experience"], strict=True))


NOTHING_EARLIER = EarlierImages.of(())
"""Before the first experience."""


@dataclass(frozen=True)
class ImageCheck:
    """A question that is asked of every image."""

    name: str
    words: str
    """What stands after a number of such images: `truncated`, or `not an image|not images`."""
    meaning: str
    remedy: str
    expectation: Expectation
    detail: str = "{detail}"
    """What is told of one image, with names of columns in braces."""
    severity: Severity = "refuse image"

    def count(self, number: int) -> str:
        """The number with its words."""
        one, _, many = self.words.partition("|")
        return f"{number} {many if many and number != 1 else one}"


FAULTS: tuple[tuple[str, str, str, str], ...] = (
    (
        "path-outside",
        "leading out of the delivery",
        "A path that leaves the delivery, a link or a device is never followed: a batch must not read other files.",
        "Copy the image itself into the delivery, into its class folder or beside the manifest.",
    ),
    (
        "file-missing",
        "missing",
        "Every path of a manifest must lead to a file, or its label stands for nothing.",
        "Deliver the missing file, or take its line out of the manifest.",
    ),
    (
        "file-empty",
        "empty",
        "A file of zero bytes holds no image; most often a copy was interrupted or a disk was full.",
        "Copy the file again from its source.",
    ),
    (
        "file-truncated",
        "truncated",
        "The image must be complete: a file that ends early shows only a part of what was labelled.",
        "Copy the file again from its source; if it is cut short there too, leave it out.",
    ),
    (
        "not-an-image",
        "not an image|not images",
        "What the file holds must be an image, whatever its name says.",
        "Leave the file out or export it as an image; a file is not converted by renaming it.",
    ),
    (
        "file-unreadable",
        "unreadable",
        "The image must be decoded without an error, or nobody knows what would be learned.",
        "Open the image in a viewer and save it again, or leave it out.",
    ),
    (
        "file-too-large",
        "too large to open",
        "Bytes and pixels are counted before decoding, so that no single file can take all the memory.",
        "Scale the image down, or raise the limits in params.ingest.",
    ),
    (
        "format-unknown",
        "of an unsupported format",
        "Only widely used formats are decoded: each further decoder is one more way in for a hostile file.",
        "Convert the image to PNG or JPEG.",
    ),
    (
        "label-unusable",
        "without a usable label",
        "A label becomes the name of a class, so it must be a plain name: not empty, no slash, no control character.",
        "Give the image a plain class name, in the folder's name or in the manifest's column `label`.",
    ),
)
"""What ingestion may have found: name, words, meaning, remedy."""

FAULT_OF = {
    "": "",
    "outside": "path-outside",
    "link": "path-outside",
    "not-a-file": "path-outside",
    "missing": "file-missing",
    "empty": "file-empty",
    "truncated": "file-truncated",
    "not-an-image": "not-an-image",
    "too-large": "file-too-large",
    "too-many-pixels": "file-too-large",
    "format": "format-unknown",
}
"""Problem, as ingestion calls it, to check. Those that begin with `label` are not listed; all others are unreadable."""

IDENTITY_CHECKS = (
    ImageCheck(
        "labels-conflict",
        "with two labels",
        "The same pixels under two labels contradict each other, so none of the copies is learned.",
        "Decide which label is right and deliver the image once, with that label.",
        OneOf(column="conflict", values=FINE),
        "{conflict}",
    ),
    ImageCheck(
        "test-leak",
        "copied from an earlier test split",
        "Models are judged on earlier test images; one that comes again must not find its way into training.",
        "Take the image out of the batch; it has been learned or tested on already.",
        OneOf(column="leak", values=FINE),
        "{leak}",
    ),
    ImageCheck(
        "label-correction",
        "labelled otherwise than before",
        "The same pixels came before under another label: a correction perhaps, but never one to make in silence.",
        "Have a person look at both labels: correct the earlier batch, or take the image out of this one.",
        OneOf(column="correction", values=FINE),
        "{correction}",
    ),
    ImageCheck(
        "duplicate-earlier",
        "already known",
        "An image that was delivered before, with the same label, teaches nothing new.",
        "Nothing needs to be done: the earlier image stays, this copy is left out.",
        OneOf(column="known", values=FINE),
        "{known}",
        "drop",
    ),
    ImageCheck(
        "duplicate",
        "delivered twice",
        "Of several files with the same pixels only the first is learned, or it would count more than others.",
        "Nothing needs to be done: one copy stays, the others are left out.",
        OneOf(column="repeat", values=FINE),
        "{repeat}",
        "drop",
    ),
    ImageCheck(
        "near-test",
        "nearly the same as a test image",
        "An image that looks the same as a test image makes the test easier than it should be.",
        "Look at both; if they show the same scene at the same moment, leave this one out.",
        OneOf(column="near", values=FINE),
        "{near}",
        "warn",
    ),
)
"""Whether an image has been seen before, here or earlier."""


def image_checks(params: ValidateParams, known_classes: Sequence[str]) -> tuple[ImageCheck, ...]:
    """Every question that is asked of each image, in the order in which a main reason is looked for."""
    faults = tuple(
        ImageCheck(name, words, meaning, remedy, NoneOf(column="fault", values=(name,)))
        for name, words, meaning, remedy in FAULTS
    )
    return (*faults, *_picture_checks(params), *_label_checks(params, known_classes), *IDENTITY_CHECKS)


def _picture_checks(params: ValidateParams) -> tuple[ImageCheck, ...]:
    size = "{width} x {height} pixels"
    return (
        ImageCheck(
            "format",
            "of a format that is not allowed",
            f"The image must be one of {', '.join(params.formats)}.",
            "Convert the image, or allow its format in params.validate.formats.",
            OneOf(column="format", values=params.formats, where="readable"),
            "a {format} file",
        ),
        ImageCheck(
            "size-small",
            "too small",
            f"The shorter side must have at least {params.min_side} pixels, or there is too little to see.",
            "Deliver the image in its original size, or lower params.validate.min_side.",
            Between(column="shorter", least=params.min_side, where="readable"),
            size,
        ),
        ImageCheck(
            "size-large",
            "too large",
            f"The longer side may have at most {params.max_side} pixels.",
            "Scale the image down, or raise params.validate.max_side.",
            Between(column="longer", most=params.max_side, where="readable"),
            size,
        ),
        ImageCheck(
            "aspect",
            "too elongated",
            f"The longer side may be at most {params.max_aspect:g} times the shorter one: the rest would be cut off.",
            "Crop the image to what its label names, or raise params.validate.max_aspect.",
            Between(column="aspect", most=params.max_aspect, where="readable"),
            size,
        ),
        ImageCheck(
            "animation",
            "animated",
            "Of an image with several frames or pages only the first is learned.",
            "Deliver the frames that matter as images of their own.",
            Between(column="frames", most=1, where="readable"),
            "{frames} frames",
            "warn",
        ),
    )


def _label_checks(params: ValidateParams, known_classes: Sequence[str]) -> tuple[ImageCheck, ...]:
    checks = []
    if params.allowed_classes is not None:
        check = ImageCheck(
            "label-not-allowed",
            "with a label that is not allowed",
            "Only labels listed in params.validate.allowed_classes are learned, so that a slip makes no class.",
            "Correct the label, or add it to params.validate.allowed_classes.",
            OneOf(column="label", values=params.allowed_classes, where="readable"),
            "labelled {label}",
        )
        checks.append(check)
    if params.new_classes == "refuse" and known_classes:
        check = ImageCheck(
            "class-new",
            "of a new class",
            "Only classes that the current model knows are learned, because params.validate.new_classes is `refuse`.",
            "Correct the label, or set params.validate.new_classes to `allow`.",
            OneOf(column="label", values=tuple(known_classes), where="readable"),
            "labelled {label}",
        )
        checks.append(check)
    return tuple(checks)


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
