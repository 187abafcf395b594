"""Checks of identity: has an image been seen before, in this batch or earlier, exactly or nearly?

Exactly means the same decoded pixels; nearly means that the perceptual hashes differ in few bits. No image that a model
is tested on may be trained on, so of two near copies on both sides of that border the one that came later is left out;
within a batch, the one for training. Near copies on the same side are both kept, with a warning.
"""

from typing import Any

import pandas as pd

from adapters.expectations import OneOf
from records.experience import Severity
from tasks.validate.checks.base import FINE, CheckGroup, Columns, ImageCheck, MasksIn, ValidationInput, always
from tasks.validate.near_duplicates import are_informative, looks_within


def columns(arriving: ValidationInput, table: pd.DataFrame) -> Columns:
    """A column for each check, with a sentence where it applies; `<check>_like` names the other image."""
    found = {name: pd.Series("", index=table.index) for name in COLUMNS}
    found |= {f"{name}_like": pd.Series("", index=table.index) for name in COLUMNS}
    # A copy that is refused anyway must not stand in the way of one that is not.
    identified = table[table["standing"]]
    _compare_within(found, identified, arriving.batch.id)
    _compare_with_earlier(found, identified, arriving)
    informative = identified[are_informative(identified["phash"])]
    _compare_looks(found, informative[informative["shorter"] >= arriving.params.near_side], arriving)
    return found


def _compare_within(found: dict[str, Any], identified: pd.DataFrame, batch: str) -> None:
    copies = identified[identified.duplicated("image", keep=False)]
    if copies.empty:
        return
    groups = copies.groupby("image")
    differ = groups["label"].transform("nunique") > 1
    labels = copies[differ].groupby("image")["label"].agg(_in_words)
    found["conflict"].update("the same pixels are labelled " + copies["image"][differ].map(labels))
    if "annotation_id" in copies:
        redrawn = ~differ & (groups["annotation_id"].transform("nunique") > 1)
        found["conflict"].update(("the same pixels come with another mask, of " + copies["label"])[redrawn])
        differ |= redrawn
    first = groups["path"].transform("first")
    repeat = ~differ & copies.duplicated("image")
    found["repeat"].update("the same pixels as " + first[repeat])
    row = copies.index.to_series().groupby(copies["image"]).transform("first")
    found["repeat_like"].update(batch + "#" + row[repeat].astype(str))
    # The first image of a conflict is shown beside the next one, every other beside the first.
    other = copies.index.to_series().groupby(copies["image"]).transform("last").where(row == copies.index, row)
    found["conflict_like"].update(batch + "#" + other[differ].astype(str))


def _compare_with_earlier(found: dict[str, Any], identified: pd.DataFrame, arriving: ValidationInput) -> None:
    met = arriving.earlier.met(identified["image"])
    if met.empty:
        return
    label = identified["label"].loc[met.index]
    before, same = "in " + met["batch"] + " as " + met["label"], label == met["label"]
    redrawn = pd.Series(False, index=met.index)
    if "annotation_id" in identified:
        redrawn = same & _masks_differ(identified["annotation_id"], met, arriving.masks_in)
    for column, concerned, text in (
        ("leak", met["test"], "a test image " + before),
        ("correction", ~same, "labelled " + label + ", but " + before),
        ("correction", redrawn, "with another mask than " + before),
        ("known", same & ~redrawn & ~met["test"], "delivered before " + before),
    ):
        found[column].update(text[concerned])
        found[f"{column}_like"].update((met["batch"] + "#" + met["row"].astype(str))[concerned])


def _masks_differ(masks: "pd.Series[str]", met: pd.DataFrame, masks_in: MasksIn) -> "pd.Series[bool]":
    """Which of the images that were met before had another mask there, also if none."""
    before = pd.Series("", index=met.index)
    for batch, rows in met["row"].groupby(met["batch"]):
        before[rows.index] = masks_in(str(batch)).reindex(rows, fill_value="").to_numpy()
    return masks.loc[met.index] != before


def _compare_looks(found: dict[str, Any], informative_images: pd.DataFrame, arriving: ValidationInput) -> None:
    """Near copies. Exact copies belong to other checks, and are no near ones."""
    distance = arriving.params.near_distance
    exact = found["known"].ne("") | found["leak"].ne("") | found["correction"].ne("")
    fresh = informative_images[~exact.loc[informative_images.index]]
    test = fresh["split"].eq("test")
    before = arriving.earlier.like(fresh["phash"], distance, arriving.params.near_side)
    if not before.empty:
        before["own_test"], before["own_label"] = test.loc[before.index], fresh["label"].loc[before.index]
        origin = before["batch"] + " (labelled " + before["label"] + ")"
        like = before["batch"] + "#" + before["row"].astype(str)
        for column, concerned, text in (
            ("near_leak", before["test"] & ~before["own_test"], "looks like a test image of "),
            ("near_trained", ~before["test"] & before["own_test"], "looks like a training image of "),
            ("near", before["test"] == before["own_test"], "looks like an image of "),
            ("near_conflict", before["label"] != before["own_label"], "looks like an image of "),
        ):
            found[column].update(text + origin[concerned])
            found[f"{column}_like"].update(like[concerned])
    # What has been left out for its own looks is no reason to leave out another.
    stays = found["near_leak"].eq("") & found["near_trained"].eq("")
    fresh = fresh[stays.loc[fresh.index]].drop_duplicates("image")
    _compare_looks_within(found, fresh, arriving.batch.id, distance)


def _compare_looks_within(found: dict[str, Any], fresh: pd.DataFrame, batch: str, distance: int) -> None:
    rows = pd.DataFrame(
        {"row": fresh.index, "look": fresh["phash"].to_numpy(), "test": fresh["split"].eq("test").to_numpy(),
         "label": fresh["label"].to_numpy(), "path": fresh["path"].to_numpy()}
    )  # fmt: skip
    # Each image is compared with the first of every kind only: of a thousand equal ones not with a thousand. Two labels
    # are enough to find the first image with another one than its own.
    first = rows.drop_duplicates(["look", "test", "label"]).groupby(["look", "test"]).head(2)
    first = first.rename(columns={"look": "other_look"})
    near = rows.merge(looks_within(rows["look"], distance), on="look").merge(
        first, on="other_look", suffixes=("", "_o")
    )
    near = near[near["row"] != near["row_o"]].sort_values(["row", "row_o"])
    crosses, later = ~near["test"] & near["test_o"], near["row_o"] < near["row"]
    differ = near["label"] != near["label_o"]
    text = "looks like " + near["path_o"] + (", labelled " + near["label_o"]).where(differ, "")
    for column, concerned in (
        ("near_test", crosses),
        ("near", later & (near["test"] == near["test_o"])),
        ("near_conflict", differ & (later | crosses)),
    ):
        details = pd.DataFrame({"row": near["row"], "text": text, "other": near["row_o"]})[concerned]
        details = details.drop_duplicates("row").set_index("row")
        details = details[found[column][details.index] == ""]
        found[column].update(details["text"])
        found[f"{column}_like"].update(batch + "#" + details["other"].astype(str))


def _in_words(labels: "pd.Series[str]") -> str:
    """The labels, sorted; only the first few of many, as this is repeated for each image that bears one."""
    names = sorted(set(labels))
    last = names[-1] if len(names) <= 4 else f"{len(names) - 3} others"
    return f"{', '.join(names[: min(len(names) - 1, 3)])} and {last}"


def _check(
    name: str, column: str, severity: Severity, words: str, meaning: str, remedy: str, limits: tuple[str, ...] = ()
) -> ImageCheck:
    return ImageCheck(
        name,
        "identity",
        severity,
        meaning,
        remedy,
        limits,
        words=words,
        expectation=always(OneOf(column=column, values=FINE)),
        detail=f"{{{column}}}",
        like=f"{column}_like",
    )


COLUMNS = (
    "conflict", "correction", "leak", "near_leak", "near_trained", "near_test", "known", "repeat", "near",
    "near_conflict",
)  # fmt: skip
NEAR = ("near_distance", "near_side")

IDENTITY = CheckGroup(
    (
        _check(
            "labels-conflict",
            "conflict",
            "refuse image",
            "with two labels",
            "The same pixels under two labels, or with two masks, contradict each other, so none of the copies is "
            "learned.",
            "Decide which label or mask is right and deliver the image once, with it.",
        ),
        _check(
            "label-correction",
            "correction",
            "refuse image",
            "labelled otherwise than before",
            "The same pixels came before under another label, or with another mask: a correction perhaps, but never "
            "one to make in silence.",
            "Have a person look at both labels or masks: correct the earlier batch, or take the image out of this one.",
        ),
        _check(
            "test-leak",
            "leak",
            "drop",
            "copied from an earlier test split",
            "Models are judged on earlier test images; one that comes again must not find its way into training.",
            "Nothing needs to be done: the image stays a test image of the batch that it first came with.",
        ),
        _check(
            "test-leak-near",
            "near_leak",
            "drop",
            "nearly a copy of an earlier test image|nearly copies of earlier test images",
            "An image for training that looks the same as an earlier test image would teach the answer to that test.",
            "Look at both; if they show different things, lower params.validate.near_distance.",
            NEAR,
        ),
        _check(
            "trained-near",
            "near_trained",
            "drop",
            "for testing, nearly as trained on before",
            "A test image that looks the same as one that was trained on makes the test easier than it should be.",
            "Look at both; if they show different things, lower params.validate.near_distance.",
            NEAR,
        ),
        _check(
            "near-test",
            "near_test",
            "drop",
            "for training, nearly the same as a test image",
            "Of near copies within a batch none is trained on if one of them is for testing.",
            "Look at both; if they show different things, lower params.validate.near_distance.",
            NEAR,
        ),
        _check(
            "duplicate-earlier",
            "known",
            "drop",
            "already known",
            "An image that was delivered before, with the same label or mask, teaches nothing new.",
            "Nothing needs to be done: the earlier image stays, this copy is left out.",
        ),
        _check(
            "duplicate",
            "repeat",
            "drop",
            "delivered twice",
            "Of several files with the same pixels only the first is learned, or it would count more than others.",
            "Nothing needs to be done: one copy stays, the others are left out.",
        ),
        _check(
            "labels-conflict-near",
            "near_conflict",
            "warn",
            "nearly the same as one with another label",
            "Two images that look the same but bear different labels: one of them may be wrong. Both are learned, "
            "unless another check leaves one out.",
            "Look at both and correct the label that is wrong.",
            NEAR,
        ),
        _check(
            "duplicate-near",
            "near",
            "warn",
            "nearly the same as another",
            "Two images for training, or two for tests, that look the same, such as frames of a film: together they "
            "count more than they should. Both stay, also if one of them came in an earlier batch.",
            "Keep one of them, if that is what they are.",
            NEAR,
        ),
    ),
    columns,
    of_the_standing=True,
)
