"""What the gate is given of a segmentation, from tables written by hand."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from models.gates.paired_bootstrap import PairedBootstrap
from models.problems.segmentation import Segmentation
from records.scores import Score, ScoreMatrix, ScoreRow
from tasks.judge import judge, read_pairs

PAST, NEW = "2026-01-05-aaaaaaaa", "2026-01-06-bbbbbbbb"
PROBLEM = Segmentation()


def outcomes(folder, classes, rows):
    """Experience, image, tally, and tally among the known classes."""
    columns = ("experience", "image", "tally", "tally_known")
    table = pd.DataFrame([dict(zip(columns, row, strict=True)) for row in rows])
    table["label"] = table["answer"] = "cat"
    table["overall"] = table["among_known"] = 0.5
    folder.mkdir(parents=True, exist_ok=True)
    written = pa.Table.from_pandas(table, preserve_index=False)
    parquet.write_table(written.replace_schema_metadata({"classes": json.dumps(classes)}), folder / "outcomes.parquet")
    scores = {name: Score(overall=0.5, among_known=0.5, images=1) for name in (PAST, NEW)}
    matrix = ScoreMatrix(
        experiences=(PAST, NEW), new=(NEW,), rows=(ScoreRow(version="candidate", scores=scores),), score_name="miou"
    )
    matrix.write(folder / "scores.json")
    return folder


@pytest.fixture
def nights(tmp_path):
    """The best so far knew background and cat; the candidate knows dog as well, and takes a cat for one.

    Of background, cat and dog each: intersection, union, pixels of the truth.
    """
    parent = tmp_path / "v1"
    parent.mkdir()
    best = pd.DataFrame({"experience": [PAST] * 2, "image": ["b", "a"], "version": "candidate", "granted": 0})
    best["right"], best["tally"] = 0.9, [[8, 8, 8, 0, 0, 0], [10, 12, 10, 4, 6, 6]]
    best.to_parquet(parent / "references.parquet")
    a, known = [10, 10, 10, 0, 6, 6, 0, 6, 0], [10, 11, 10, 5, 6, 6, 0, 0, 0]
    b = [8, 8, 8, 0, 0, 0, 0, 0, 0]
    new = [9, 10, 9, 0, 0, 0, 6, 7, 7]
    candidate = outcomes(
        tmp_path / "v2", ("background", "cat", "dog"), [(PAST, "a", a, known), (PAST, "b", b, b), (NEW, "n", new, new)]
    )
    return candidate, parent


def test_tallies_are_paired_by_image_and_filled_up_for_new_classes(nights):
    past, new = read_pairs(*nights, PROBLEM)
    assert (past.new, new.new) == (False, True)
    assert past.labels is None
    assert past.tallies.reference.tolist() == [[10, 12, 10, 4, 6, 6, 0, 0, 0], [8, 8, 8, 0, 0, 0, 0, 0, 0]]
    assert past.tallies.among_known[0].tolist() == [10, 11, 10, 5, 6, 6, 0, 0, 0]
    assert past.tallies.overall[0].tolist() == [10, 10, 10, 0, 6, 6, 0, 6, 0]
    assert new.tallies.reference is None
    assert new.pairs is None


def test_each_image_counts_for_every_class_that_it_shows(nights):
    pairs = read_pairs(*nights, PROBLEM)[0].pairs
    assert pairs.labels.tolist() == ["background", "cat", "background"]
    assert pairs.reference == pytest.approx(np.array([10 / 12, 4 / 6, 1]))
    assert pairs.overall.tolist() == [1, 0, 1]


def test_the_verdict_speaks_of_the_miou(nights):
    verdict = judge(read_pairs(*nights, PROBLEM), PairedBootstrap(), problem=PROBLEM)
    # Of background 18/20 and of cat 4/6 was right; among the classes known then it is 18/19 and 5/6, and now 1 and 0.
    forgotten, taken = verdict.find("forgotten"), verdict.find("taken")
    assert forgotten.estimate == pytest.approx((18 / 20 + 4 / 6) / 2 - (18 / 19 + 5 / 6) / 2)
    assert taken.estimate == pytest.approx((18 / 19 + 5 / 6) / 2 - 0.5)
    assert verdict.find("learned", NEW).estimate == pytest.approx((9 / 10 + 6 / 7) / 2)
    assert "points" in verdict.reason
