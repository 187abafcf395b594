"""A 3 x 3 matrix worked by hand: three nights, one experience each.

            A     B     C
    v1     0.9
    v2     0.7   0.8
    cand.  0.75  0.6   1.0

average               (0.75 + 0.6 + 1.0) / 3          = 0.78333
forgetting from best  (0.9 - 0.75 + 0.8 - 0.6) / 2    = 0.175
from first            the same here: both were best at first
from parent           (0.7 - 0.75 + 0.8 - 0.6) / 2    = 0.075
backward transfer     -0.175
taken                 (0.85 - 0.75 + 0.7 - 0.6) / 2   = 0.1
learning accuracy     (0.9 + 0.8 + 1.0) / 3            = 0.9
"""

import json

import pytest

from records.scores import FirstSight, History, Score, ScoreMatrix, ScoreRow, history_of, thinned


def score(overall: float, among_known: float | None = None) -> Score:
    return Score(overall=overall, among_known=overall if among_known is None else among_known, images=100)


MATRIX = ScoreMatrix(
    experiences=("A", "B", "C"),
    new=("C",),
    rows=(
        ScoreRow(version="v1", scores={"A": score(0.9)}),
        ScoreRow(version="v2", scores={"A": score(0.7), "B": score(0.8)}),
        ScoreRow(version="candidate", scores={"A": score(0.75, 0.85), "B": score(0.6, 0.7), "C": score(1.0)}),
    ),
)


def test_measures_equal_those_worked_by_hand() -> None:
    assert MATRIX.average() == pytest.approx(2.35 / 3)
    assert MATRIX.forgetting_from_best() == pytest.approx(0.175)
    assert MATRIX.forgetting_from_first() == pytest.approx(0.175)
    assert MATRIX.forgetting_from_parent() == pytest.approx(0.075)
    assert MATRIX.backward_transfer() == pytest.approx(-0.175)
    assert MATRIX.taken_by_new_classes() == pytest.approx(0.1)
    assert MATRIX.learning_accuracy() == pytest.approx(0.9)


def test_best_first_and_parent_differ_when_a_score_rises_in_between() -> None:
    rows = (
        ScoreRow(version="v1", scores={"A": score(0.5)}),
        ScoreRow(version="v2", scores={"A": score(0.9)}),
        ScoreRow(version="v3", scores={"A": score(0.8)}),
        ScoreRow(version="candidate", scores={"A": score(0.7), "B": score(1.0)}),
    )
    matrix = ScoreMatrix(experiences=("A", "B"), new=("B",), rows=rows)
    assert matrix.forgetting_from_best() == pytest.approx(0.2)
    assert matrix.forgetting_from_first() == pytest.approx(-0.2)
    assert matrix.forgetting_from_parent() == pytest.approx(0.1)


def test_a_first_night_has_no_past_to_forget() -> None:
    matrix = ScoreMatrix(
        experiences=("A",), new=("A",), rows=(ScoreRow(version="candidate", scores={"A": score(0.9)}),)
    )
    assert matrix.average() == pytest.approx(0.9)
    assert matrix.forgetting_from_best() is None
    assert matrix.backward_transfer() is None
    assert matrix.taken_by_new_classes() is None
    assert matrix.learning_accuracy() == pytest.approx(0.9)
    assert matrix.forward_transfer() is None


def test_a_full_matrix_gives_what_avalanche_gives() -> None:
    """Each version asked on each experience, also before it was learned; an untrained network scores 0.1 everywhere.

              A     B     C
    v1       0.9   0.1   0.2
    v2       0.7   0.8   0.3
    cand.    0.6   0.5   0.85

    The same numbers as Avalanche's metrics once the third experience was learned; `benchmarks/avalanche/metrics.py`
    asks them for this matrix, there called "falling":

    StreamAccuracy         (0.6 + 0.5 + 0.85) / 3              = 0.65     average; there weighted by images, here equal
    StreamForgetting       (0.9 - 0.6 + 0.8 - 0.5) / 2         = 0.3      forgetting from first
    StreamBWT              (0.6 - 0.9 + 0.5 - 0.8) / 2         = -0.3     backward transfer
    StreamForwardTransfer  (a(1, B) - 0.1 + a(2, C) - 0.1) / 2
                           (0.1 - 0.1 + 0.3 - 0.1) / 2         = 0.1      forward transfer

    Avalanche has none of these:

    learning accuracy      (0.9 + 0.8 + 0.85) / 3              = 0.85
    forgetting from parent (0.7 - 0.6 + 0.8 - 0.5) / 2         = 0.2
    intransigence          0.95 - 0.85                         = 0.1      where a full retrain scores 0.95 on C
    """
    matrix = ScoreMatrix(
        experiences=("A", "B", "C"),
        new=("C",),
        rows=(
            ScoreRow(version="v1", scores={"A": score(0.9)}),
            ScoreRow(version="v2", scores={"A": score(0.7), "B": score(0.8)}),
            ScoreRow(version="candidate", scores={"A": score(0.6), "B": score(0.5), "C": score(0.85)}),
        ),
        before={"B": FirstSight(overall=0.1, untrained=0.1), "C": FirstSight(overall=0.3, untrained=0.1)},
    )
    retrained = ScoreRow(version="joint", scores={"A": score(0.8), "B": score(0.85), "C": score(0.95)})
    assert matrix.average() == pytest.approx(0.65)
    assert matrix.forgetting_from_first() == pytest.approx(0.3)
    assert matrix.forgetting_from_best() == pytest.approx(0.3)
    assert matrix.backward_transfer() == pytest.approx(-0.3)
    assert matrix.forward_transfer() == pytest.approx(0.1)
    assert matrix.learning_accuracy() == pytest.approx(0.85)
    assert matrix.forgetting_from_parent() == pytest.approx(0.2)
    assert matrix.intransigence(retrained) == pytest.approx(0.1)
    assert matrix.intransigence(matrix.rows[0]) is None


def row(version: int) -> ScoreRow:
    return ScoreRow(version=f"v{version}", scores={"A": score(0.9)})


def test_a_matrix_is_read_back_as_it_was_written(tmp_path) -> None:
    MATRIX.write(tmp_path / "scores.json")
    assert ScoreMatrix.read(tmp_path / "scores.json") == MATRIX
    assert MATRIX.history == {
        "A": History(first=0.9, best=0.9, best_among_known=0.9),
        "B": History(first=0.8, best=0.8, best_among_known=0.8),
    }


def test_a_matrix_of_an_earlier_release_is_read(tmp_path) -> None:
    """It held every score by name, and no history."""
    plain = {
        "experiences": ["A", "B"],
        "new": ["B"],
        "rows": [
            {"version": "v1", "scores": {"A": {"overall": 0.9, "among_known": 0.95, "images": 10}}},
            {"version": "candidate", "scores": {"A": {"overall": 0.8, "among_known": 0.9, "images": 10},
                                                "B": {"overall": 1.0, "among_known": 1.0, "images": 5}}},
        ],
    }  # fmt: skip
    (tmp_path / "scores.json").write_text(json.dumps(plain), encoding="utf-8")
    matrix = ScoreMatrix.read(tmp_path / "scores.json")
    assert matrix.forgetting_from_best() == pytest.approx(0.1)
    assert matrix.rows[0].scores["A"].among_known == 0.95


def test_versions_kept_grow_with_the_logarithm_of_the_nights_and_none_is_missed_later() -> None:
    kept: tuple[ScoreRow, ...] = ()
    for number in range(1, 1001):
        kept = thinned((*kept, row(number)))
        if number == 12:
            assert len(kept) == 12
        if number == 100:
            assert 15 <= len(kept) <= 20
    assert kept == thinned([row(number) for number in range(1, 1001)])
    assert [r.version for r in kept[-12:]] == [f"v{number}" for number in range(989, 1001)]
    assert kept[0].version == "v1"
    assert len(kept) <= 25


def test_measures_of_thinned_rows_are_those_of_all() -> None:
    """v2 was best; its row is gone."""
    rows = [ScoreRow(version=f"v{n}", scores={"A": score(0.95 if n == 2 else 0.7)}) for n in range(1, 21)]
    last = ScoreRow(version="candidate", scores={"A": score(0.6), "B": score(0.9)})
    whole = ScoreMatrix(experiences=("A", "B"), new=("B",), rows=(*rows, last))
    thin = ScoreMatrix(experiences=("A", "B"), new=("B",), rows=(*thinned(rows), last), history=history_of(rows))
    assert "v2" not in [r.version for r in thin.rows]
    for matrix in (whole, thin):
        assert matrix.forgetting_from_best() == pytest.approx(0.35)
        assert matrix.forgetting_from_first() == pytest.approx(0.1)
        assert matrix.forgetting_from_parent() == pytest.approx(0.1)
        assert matrix.learning_accuracy() == pytest.approx(0.8)
