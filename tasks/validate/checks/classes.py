"""Checks of new classes: are their names what they seem, and are there images enough to learn them from?

Both are asked once the other checks have refused what they refuse: a class is what is left of it.
"""

from collections import Counter

import pandas as pd

from adapters.expectations import OneOf
from tasks.validate.checks.base import (
    FINE,
    BatchCheck,
    CheckGroup,
    Columns,
    FilteredBatch,
    ImageCheck,
    Measurement,
    ValidationInput,
    always,
)
from tasks.validate.checks.labels import spelling
from tasks.validate.similar_names import described, foreign, shape, unseen


def columns(arriving: ValidationInput, table: pd.DataFrame) -> Columns:
    """`disguised`, `lookalike`, `scarce`: what is wrong with the class of each image, in words; empty if nothing is."""
    standing = table[table["standing"]]
    images, known = arriving.by_class(standing), arriving.named
    labels = images["label"]
    new = [label for label in labels.unique() if label not in known]
    counts = Counter(labels[labels.isin(new)])
    found = {
        "disguised": {label: why for label in new if (why := disguise(label))},
        "lookalike": lookalikes(counts, known),
        "scarce": _scarce(images[labels.isin(new)], arriving.params.min_train_new_class),
    }
    columns = {name: arriving.of_images(standing, details) for name, details in found.items()}
    return {name: column.reindex(table.index, fill_value="") for name, column in columns.items()}


def disguise(label: str) -> str:
    """A sentence about a label with invisible characters, or with letters that pass for others; else empty."""
    parts = [f"{described(letters)}, which cannot be seen" for letters in (unseen(label),) if letters]
    parts += [f"{described(letters)} among Latin letters" for letters in (foreign(label),) if letters]
    return f"labelled {label} with {' and '.join(parts)}" if parts else ""


def lookalikes(counts: Counter[str], known: tuple[str, ...]) -> dict[str, str]:
    """New labels that look the same as another, known or of more images of the batch, and are no respelling of it."""
    details: dict[str, str] = {}
    standing = {shape_key(label): label for label in reversed(known)}
    for label in sorted(counts, key=lambda label: (bool(disguise(label)), -counts[label], label)):
        twin = standing.setdefault(shape_key(label), label)
        if twin != label and spelling(label) != spelling(twin):
            odd = described(unseen(label) + foreign(label)) or "letters of another alphabet"
            details[label] = f"labelled {label} with {odd}, which looks like the class {twin}"
    return details


def shape_key(label: str) -> tuple[object, ...]:
    """Equal for labels that look alike, whatever people vary by accident."""
    return spelling(shape(label) or label)


def _scarce(images: pd.DataFrame, least: int) -> dict[str, str]:
    """New labels with fewer than `least` different training images."""
    different = images.drop_duplicates(["image", "label"])
    train = different["split"].eq("train").groupby(different["label"]).sum()
    return {
        str(label): f"labelled {label}, a new class with {number} of the {least} images for training that it needs"
        for label, number in train.items()
        if number < least
    }


def _many_scarce(filtered: FilteredBatch) -> Measurement | None:
    """How many new classes have hardly anything to learn from."""
    params, named = filtered.arriving.params, filtered.arriving.named
    different = filtered.learned_by_class.drop_duplicates(["image", "label"])
    train = different["split"].eq("train").groupby(different["label"]).sum()
    few = train[(train < params.min_train_per_class) & ~train.index.isin(named)]
    note = f"{len(few):,} new classes with fewer than {params.min_train_per_class} training images each"
    return Measurement(len(few), f"{note}, at most {params.max_scarce_classes} allowed", len(few))


CLASSES = CheckGroup(
    (
        ImageCheck(
            "class-disguised",
            "labels",
            "refuse image",
            "The name of a new class holds characters that cannot be seen, or letters of two alphabets in one word: "
            "who types what is seen names another class.",
            "Relabel the images (`retain quarantine release --relabel OLD=NEW`), or accept the name.",
            words="with a label that is not what it seems",
            expectation=always(OneOf(column="disguised", values=FINE)),
            detail="{disguised}",
        ),
        ImageCheck(
            "class-lookalike",
            "labels",
            "refuse image",
            "The name of a new class looks the same as another's and is written with other characters.",
            "Relabel the images (`retain quarantine release --relabel OLD=NEW`), or accept the name.",
            words="with a label that looks like another",
            expectation=always(OneOf(column="lookalike", values=FINE)),
            detail="{lookalike}",
        ),
        ImageCheck(
            "class-scarce",
            "labels",
            "refuse image",
            "Of a new class at least {min_train_new_class} of the images must be for training, copies not counted: one "
            "that cannot be learned has the whole night refused, again and again.",
            "Send more images of the class and release these with them, or lower params.validate.min_train_new_class.",
            ("min_train_new_class",),
            words="of a new class with too few images",
            expectation=always(OneOf(column="scarce", values=FINE)),
            detail="{scarce}",
        ),
        BatchCheck(
            "classes-scarce",
            "labels",
            "refuse batch",
            "At most {max_scarce_classes} new classes may have fewer than {min_train_per_class} training images each: "
            "so many are not learned from so little, and the night is refused again and again.",
            "Look whether the labels are classes, not names of files or numbers of objects; send more images of each, "
            "or raise params.validate.max_scarce_classes.",
            ("max_scarce_classes", "min_train_per_class"),
            measure=_many_scarce,
            most=lambda params: params.max_scarce_classes,
        ),
    ),
    columns,
    of_the_standing=True,
)
