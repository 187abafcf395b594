"""Checks of labels: the policy on classes, names that are likely slips, and labels that a classifier doubts."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from adapters.expectations import OneOf
from records.formatting import listed
from tasks.validate.checks.base import (
    FINE,
    BatchCheck,
    CheckGroup,
    Columns,
    FilteredBatch,
    ImageCheck,
    Measurement,
    ValidationInput,
)
from tasks.validate.checks.label_issues import label_issues


def columns(arriving: ValidationInput, table: pd.DataFrame) -> Columns:
    """`new`, `not_allowed`: a class that the model does not know, that is not allowed; `respelled`, `similar`: what a
    class is likely to be a slip of. Empty of images of which that is not so."""
    readable = table[table["readable"]]
    counts = Counter(arriving.by_class(readable)["label"])
    respelled, similar = slips(counts, arriving.named)
    allowed = arriving.params.allowed_classes
    found = {
        "new": {label: label for label in counts if label not in arriving.known},
        "not_allowed": {label: label for label in counts if allowed is not None and label not in allowed},
        "respelled": respelled,
        "similar": similar,
    }
    columns = {name: arriving.of_images(readable, details) for name, details in found.items()}
    return {name: column.reindex(table.index, fill_value="") for name, column in columns.items()}


def slips(counts: Counter[str], known: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """New labels that differ from another only in spelling, and those within few edits, each with a sentence.

    Compared with the classes that are known and with those that more images of the batch bear. `counts`: label to its
    number of images. Of more than `MOST_NEW` new labels none is compared letter by letter: those are no classes.
    """
    known = tuple(known)
    new = sorted(set(counts) - set(known), key=lambda label: (-counts[label], label))
    respelled: dict[str, str] = {}
    similar: dict[str, str] = {}
    standing = [_Name.of(label) for label in known]
    plain = {name.key: name.label for name in reversed(standing)}
    for name in map(_Name.of, new):
        if (twin := plain.get(name.key)) is not None:
            respelled[name.label] = f"labelled {name.label}, but there is a class {twin}"
            continue
        if len(new) <= MOST_NEW and (near := next((other for other in standing if name.nearly(other)), None)):
            similar[name.label] = f"labelled {name.label}, which is nearly {near.label}"
        standing.append(name)
        plain[name.key] = name.label
    return respelled, similar


MOST_NEW = 1000


class _Name(NamedTuple):
    """A label, made ready to be compared with many."""

    label: str
    plain: str
    numbers: tuple[str, ...]
    """`part 1` and `part 2`, `1.5 mm` and `15 mm` are no slips of each other."""
    letters: int
    """A bit for each kind of letter, as far as 64 bits tell them apart."""

    @classmethod
    def of(cls, label: str) -> "_Name":
        plain = plain_name(label)
        numbers = tuple(re.findall(r"[-+]?\d+(?:[.,]\d+)*", unicodedata.normalize("NFKC", label)))
        letters = 0
        for letter in plain:
            letters |= 1 << (ord(letter) % 64)
        return cls(label, plain, numbers, letters)

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        """Equal for labels that are spelled in two ways. Single letters are classes of their own, large and small."""
        return (self.plain if len(self.plain) > 1 else self.label, self.numbers)

    def nearly(self, other: "_Name") -> bool:
        """True if the names are so few edits apart that one may be a slip of the other; short names are never."""
        length = max(len(self.plain), len(other.plain))
        allowed = 2 if length >= 9 else 1 if length >= 5 else 0
        if not allowed or abs(len(self.plain) - len(other.plain)) > allowed or self.numbers != other.numbers:
            return False
        if (self.letters ^ other.letters).bit_count() > 2 * allowed:
            return False  # An edit changes two kinds of letters at most; this is much quicker than to count edits.
        return edit_distance(self.plain, other.plain, allowed) <= allowed


def spelling(label: str) -> tuple[str, tuple[str, ...]]:
    """Equal for labels that are one label in two spellings."""
    return _Name.of(label).key


def plain_name(label: str) -> str:
    """A label without what people vary by accident: case, encoding of accents, width of letters, spaces, hyphens."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", label).casefold())
    # Once more, since letters may meet whose accents were apart before.
    bare = unicodedata.normalize("NFKC", re.sub(r"[\s\-_.,;:!?'\"()]+", "", folded))
    return bare or folded


def edit_distance(one: str, other: str, most: int) -> int:
    """Insertions, deletions, replacements and swaps of neighbours that lead from one to the other; `most` + 1 if more.

    Optimal string alignment, after Damerau (1964).
    """
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, start=1):
        line = [row]
        for column, its in enumerate(other, start=1):
            cost = min(last[column] + 1, line[column - 1] + 1, last[column - 1] + (letter != its))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == its:
                cost = min(cost, before[column - 2] + 1)
            line.append(cost)
        if min(line) > most:
            return most + 1
        before, last = last, line
    return min(last[-1], most + 1)


def _few(split: str, purpose: str, filtered: FilteredBatch) -> Measurement:
    params = filtered.arriving.params
    wanted = params.min_train_per_class if split == "train" else params.min_test_per_class
    learned = filtered.learned_by_class
    have = learned["split"].eq(split).groupby(learned["label"]).sum()
    few = have[have < wanted]
    first = learned["label"].drop_duplicates()
    text = " of the " + str(wanted) + f" {purpose} images wanted for "
    details = {
        row: f"{few[label]}{text}{label}"
        for row, label in zip(first.index.tolist(), first, strict=True)
        if label in few.index
    }
    return Measurement(len(few), _few_note(few, split, wanted), len(few), details)


def _few_note(few: "pd.Series[Any]", split: str, wanted: int) -> str:
    if few.empty:
        return f"every class has at least {wanted} {split} images" if wanted else "not limited"
    named = listed([f"{label} ({number})" for label, number in few.items()], 5)
    return f"fewer than {wanted} {split} images: {named}"


def _missing(filtered: FilteredBatch) -> Measurement | None:
    required = filtered.arriving.params.required_classes
    if not required:
        return None
    missing = sorted(set(required) - set(filtered.learned_by_class["label"]))
    return Measurement(len(missing), f"missing: {', '.join(missing)}" if missing else "all are there", len(missing))


def _imbalance(filtered: FilteredBatch) -> Measurement | None:
    learned = filtered.learned_by_class
    train = learned["split"].eq("train").groupby(learned["label"]).sum().sort_values(ascending=False, kind="stable")
    if len(train) < 2:
        return None
    ratio = float(train.iloc[0] / max(train.iloc[-1], 0.5))
    most, least = f"{train.index[0]} has {train.iloc[0]:,}", f"{train.index[-1]} {train.iloc[-1]:,}"
    note = f"{most} training images, {least}: {ratio:.3g} to 1"
    return Measurement(ratio, note, 1)


def _issues(filtered: FilteredBatch) -> Measurement | None:
    found = filtered.once(label_issues)
    if found is None or not found.able:
        return None
    cross_val_proba = f"cross-validated accuracy: {found.right:.0%}"
    note = f"{len(found.details)} of {found.looked_at:,} labels looked at; {cross_val_proba}"
    return Measurement(float(len(found.details)), note, len(found.details), found.details)


def _issue_share(filtered: FilteredBatch) -> Measurement | None:
    found = filtered.once(label_issues)
    if found is None:
        return None
    note = f"{100 * found.share:.1f}% of {found.looked_at:,} labels"
    if not found.able:
        note = (
            f"a classifier is right on only {found.right:.0%} of {found.looked_at:,} labels: they may be mixed up, or "
            "the pictures are beyond it"
        )
    return Measurement(found.share, note, 1)


LABELS = CheckGroup(
    (
        ImageCheck(
            "label-not-allowed",
            "labels",
            "refuse image",
            "Only labels listed in params.validate.allowed_classes are learned, so that a slip makes no class.",
            "Correct the label, or add it to params.validate.allowed_classes.",
            ("allowed_classes",),
            words="with a label that is not allowed",
            expectation=lambda a: (
                None if a.params.allowed_classes is None else OneOf(column="not_allowed", values=FINE)
            ),
            detail="labelled {not_allowed}",
        ),
        ImageCheck(
            "class-new",
            "labels",
            "refuse image",
            "Only classes that the current model knows are learned, because params.validate.new_classes is `refuse`.",
            "Correct the label, or set params.validate.new_classes to `allow`.",
            ("new_classes",),
            words="of a new class",
            expectation=lambda a: (
                OneOf(column="new", values=FINE) if a.params.new_classes == "refuse" and a.known else None
            ),
            detail="labelled {new}",
        ),
        ImageCheck(
            "class-unconfirmed",
            "labels",
            "refuse batch",
            "A class, once learned, stays for ever, so a person says whether new ones are meant: new_classes is `ask`.",
            "Release the batch with `--accept class-unconfirmed` if they are meant, or relabel their images.",
            ("new_classes",),
            words="of a class that nobody has confirmed",
            expectation=lambda a: (
                OneOf(column="new", values=FINE) if a.params.new_classes == "ask" and a.known else None
            ),
            detail="labelled {new}",
        ),
        ImageCheck(
            "class-respelled",
            "labels",
            "refuse image",
            "A new label that differs from another only in case, spaces, hyphens or encoding is a slip, not a class.",
            "Relabel the images (`retain quarantine release --relabel OLD=NEW`), or accept the label as a class.",
            words="with a respelled label",
            expectation=lambda a: OneOf(column="respelled", values=FINE),
            detail="{respelled}",
        ),
        ImageCheck(
            "class-similar",
            "labels",
            "warn",
            "A new label that is one or two letters away from another may be a slip; a class, once learned, stays.",
            "Look whether it is a class of its own; relabel its images if not.",
            words="with a label that is nearly another",
            expectation=lambda a: OneOf(column="similar", values=FINE),
            detail="{similar}",
        ),
        BatchCheck(
            "class-missing",
            "labels",
            "warn",
            "Classes that every batch should hold, as params.validate.required_classes says, are there.",
            "Look why there are none of them; send them, or change params.validate.required_classes.",
            ("required_classes",),
            measure=_missing,
            most=lambda params: 0,
        ),
        BatchCheck(
            "least-train-per-class",
            "labels",
            "warn",
            "A class of which there are hardly any training images is hardly learned.",
            "Send more images of the class.",
            ("min_train_per_class",),
            measure=lambda filtered: _few("train", "training", filtered),
            most=lambda params: 0,
        ),
        BatchCheck(
            "least-test-per-class",
            "labels",
            "warn",
            "A class with few test images can be forgotten without anyone noticing.",
            "Send more images of the class.",
            ("min_test_per_class",),
            measure=lambda filtered: _few("test", "test", filtered),
            most=lambda params: 0,
        ),
        BatchCheck(
            "imbalance",
            "labels",
            "warn",
            "The largest class should have at most {max_imbalance} times the training images of the smallest.",
            "Send more of the small classes, or set params.update.imbalance.",
            ("max_imbalance",),
            measure=_imbalance,
            most=lambda params: params.max_imbalance,
        ),
        BatchCheck(
            "label-issue",
            "labels",
            "warn",
            "A classifier on the model's features, trained on the rest of the batch, is sure of another label "
            "(confident learning, Northcutt et al. 2021, by cleanlab).",
            "Look at the images; correct the labels that are wrong.",
            ("label_images",),
            measure=_issues,
            most=lambda params: 0,
        ),
        BatchCheck(
            "label-issue-share",
            "labels",
            "warn",
            "At most {label_issue_share} of the labels may look wrong; more, and they were probably mixed up.",
            "Look whether labels and images belong together; a manifest may be shifted by a row.",
            ("label_issue_share",),
            measure=_issue_share,
            most=lambda params: params.label_issue_share,
        ),
    ),
    columns,
)
