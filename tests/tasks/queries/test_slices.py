"""Versions compared by the values of a column, worked out by hand."""

from datetime import date

import pandas as pd
import pytest

from records.errors import WrongInput
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams
from tasks.queries.comparison import Change, join_answers
from tasks.queries.slices import NO_VALUE, compare_by, slice_answers, values_of
from tasks.workspace.creation import create


def answers(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    """Experience, image, label, and whether it was answered rightly."""
    return pd.DataFrame(
        [{"experience": e, "image": i, "label": label, "answer": "?", "overall": right} for e, i, label, right in rows]
    )


def values(experience: str, **by_image: str) -> pd.DataFrame:
    return pd.DataFrame(
        [{"experience": experience, "image": i, "label": "x", "value": value} for i, value in by_image.items()]
    )


def both(before, after):
    rows = join_answers(answers(*before), answers(*after))
    return rows[rows["_merge"] == "both"]


def test_each_value_has_a_row_those_with_most_images_first():
    before = [
        ("m", "1", "x", 1.0),
        ("m", "2", "x", 1.0),
        ("m", "3", "x", 0.0),
        ("t", "1", "x", 1.0),
        ("t", "9", "x", 0),
    ]
    after = [("m", "1", "x", 1.0), ("m", "2", "x", 0.0), ("m", "3", "x", 1.0), ("t", "1", "x", 1.0), ("u", "9", "x", 0)]
    slices = slice_answers(
        1, 2, "camera", both(before, after), [values("m", **{"1": "left", "2": "left", "3": "right"})]
    )
    assert slices.values == (
        Change(subject="left", images=2, first=1, second=0.5, lost=1, gained=0),
        Change(subject=NO_VALUE, images=1, first=1, second=1, lost=0, gained=0),
        Change(subject="right", images=1, first=0, second=1, lost=0, gained=1),
    )


def test_an_empty_value_is_none_and_of_copies_the_first_counts():
    rows = [("m", "1", "x", 1.0), ("m", "2", "x", 0.0)]
    table = pd.concat([values("m", **{"1": "", "2": "left"}), values("m", **{"2": "right"})])
    slices = slice_answers(1, 2, "camera", both(rows, rows), [table])
    assert [(c.subject, c.images) for c in slices.values] == [(NO_VALUE, 1), ("left", 1)]


def test_versions_with_nothing_in_common_have_no_values():
    slices = slice_answers(1, 2, "camera", both([("m", "1", "x", 1.0)], [("t", "1", "x", 1.0)]), [])
    assert slices.values == ()


@pytest.fixture
def batch(tmp_path, picture_folder):
    folder = picture_folder
    rows = [f"{n}.png,a,{'left' if n % 2 else ''},{n}\n" for n in range(40)]
    (folder / "manifest.csv").write_text("path,label,camera,mode\n" + "".join(rows))
    return ingest(tmp_path / "batches", tmp_path / "staging", folder, date(2026, 3, 2), IngestParams()).batch


@pytest.fixture
def picture_folder(tmp_path):
    from PIL import Image

    folder = tmp_path / "monday"
    folder.mkdir()
    for n in range(40):
        Image.new("L", (8, 8), n).save(folder / f"{n}.png")
    return folder


def test_values_are_those_of_the_shards(tmp_path, batch):
    def found(by):
        table = values_of(tmp_path / "batches", batch, by)
        assert list(table["experience"].unique()) == [batch.id]
        return set(table["value"])

    assert found("camera") == {"left", ""}
    assert found("source") == {"monday"}
    assert found("label") == {"a"}
    assert found("format") == {"PNG"}
    assert found("mode") <= {str(n) for n in range(40)}, "a column that was delivered goes before the fact"
    assert found("weather") == {""}


def test_a_version_that_is_not_there(tmp_path):
    with pytest.raises(WrongInput, match="has no version 1; there is none yet"):
        compare_by(create(tmp_path / "fresh"), 1, 2, "label")


def test_a_column_that_only_later_images_have_is_told_of(tmp_path, batch, monkeypatch):
    """`compare 1 2 --by camera`, where cameras came with the second delivery, said that there was no such column."""
    place = create(tmp_path / "shop")
    (tmp_path / "batches" / batch.id).rename(place.batches / batch.id)
    rows = pd.DataFrame({"experience": [batch.id], "image": ["i"], "label": ["a"], "answer": ["a"], "overall": [1.0]})
    answers = {1: rows.iloc[:0], 2: rows}
    monkeypatch.setattr("tasks.queries.slices.outcomes_of", lambda workspace, version: answers[version])
    with pytest.raises(WrongInput, match=r"Only images that both v1 and v2 were examined on are compared, and none of"):
        compare_by(place, 1, 2, "camera")
    with pytest.raises(WrongInput, match="There is no column 'weather' to compare by"):
        compare_by(place, 1, 2, "weather")
