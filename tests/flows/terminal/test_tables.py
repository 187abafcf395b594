"""Tables that stay readable when there is much in them."""

from datetime import UTC, date, datetime, timedelta

import pytest

from flows.terminal import tables
from records.measures import Measures
from records.runs import RunFacts
from records.scores import Score, ScoreMatrix, ScoreRow
from tasks.queries.comparison import Change, VersionComparison
from tasks.queries.slices import Slices


def matrix(count: int, a_day: int = 1) -> ScoreMatrix:
    """`count` versions that each learned one experience more, `a_day` of them on one day."""
    days = [date(2026, 3, 2) + timedelta(number // a_day) for number in range(count)]
    names = tuple(f"{day}-{number:04x}0000" for number, day in enumerate(days))
    rows = tuple(
        ScoreRow(
            version="candidate" if number == count - 1 else f"v{number + 1}",
            scores={name: Score(overall=0.9, among_known=0.95, images=10) for name in names[: number + 1]},
        )
        for number in range(count)
    )
    return ScoreMatrix(experiences=names, new=names[-1:], rows=rows)


@pytest.fixture
def shown(capsys, monkeypatch):
    """`shown(show, *values, width=100)` gives the lines."""

    def show(function, *values, width: int = 100) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        function(*values)
        lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
        assert all(len(line) <= width for line in lines if not line.startswith("lost as"))
        return lines

    return show


def test_a_score_matrix(shown):
    assert shown(tables.show_matrix, matrix(3), 7) == [
        "Score on the test images of each experience, in percent",
        "version  03-02  03-03  03-04  average",
        "v1        90.0                   90.0",
        "v2        90.0   90.0            90.0",
        "v7        90.0   90.0   90.0     90.0",
    ]


def test_measures_stand_below_the_scores(shown):
    measures = Measures(macro_f1=0.9123, calibration_error=0.02)
    measured = matrix(2).model_copy(update={"measures": measures})
    assert shown(tables.show_matrix, measured)[-1] == "macro F1 91.2%, calibration error 2.0%"
    later = measured.model_copy(update={"measures": measures.model_copy(update={"negative_flips": 0.001})})
    assert shown(tables.show_matrix, later)[-1] == "macro F1 91.2%, calibration error 2.0%, negative flips 0.1%"


def test_the_last_experiences_are_shown_if_there_is_no_room_for_all(shown):
    lines = shown(tables.show_matrix, matrix(20))
    assert lines[1].split() == ["version", *(f"03-{day}" for day in range(11, 22)), "average"]
    assert [line.split()[0] for line in lines[2:-1]] == [*(f"v{n}" for n in range(10, 20)), "candidate"]
    assert lines[-1] == ("The last 11 of 20 experiences, and the versions that know them; the average is over all.")
    assert len(shown(tables.show_matrix, matrix(20), width=200)) == 22


def test_experiences_of_one_day_are_told_apart_by_their_digest(shown):
    lines = shown(tables.show_matrix, matrix(3, a_day=2))
    assert lines[1:3] == ["           03-02  03-02  03-03", "version     0000   0001   0002  average"]


def test_columns_are_called_by_their_deliveries(shown):
    scores = matrix(3)
    names = dict(
        zip(scores.experiences, ("monday", "tuesday", "a-folder-from-the-scanner-of-the-north\n"), strict=True)
    )
    assert shown(tables.show_matrix, scores, 7, names) == [
        "Score on the test images of each experience, in percent",
        "                            a-folder-",
        "                            from-the-",
        "                          scanner-of-",
        "version  monday  tuesday  the-north\\n  average",
        "v1         90.0                           90.0",
        "v2         90.0     90.0                  90.0",
        "v7         90.0     90.0         90.0     90.0",
    ]
    del names[scores.experiences[1]]
    assert shown(tables.show_matrix, scores, 7, names)[4].startswith("version  monday  03-03  ")


def test_names_are_broken_into_more_lines_if_all_columns_fit_so(shown):
    scores = matrix(6)
    numbers = ("zeros-and-ones", "twos-and-threes", "fours-and-fives", "sixes-and-sevens", "eights-and-nines", "more")
    lines = shown(tables.show_matrix, scores, None, dict(zip(scores.experiences, numbers, strict=True)), width=70)
    assert lines[1:4] == [
        "           zeros-   twos-  fours-  sixes-  eights-",
        "             and-    and-    and-    and-     and-",
        "version      ones  threes   fives  sevens    nines  more  average",
    ]


def test_as_many_named_columns_are_shown_as_there_is_room_for(shown):
    scores = matrix(12)
    lines = shown(tables.show_matrix, scores, None, dict.fromkeys(scores.experiences, "wednesday"))
    assert lines[1].split() == ["wednesday"] * 7
    assert lines[2].split() == ["version", *(f"03-{day:02d}" for day in range(7, 14)), "average"]
    assert lines[-1].startswith("The last 7 of 12 experiences")


def run(decision, version=None, batches=("2026-03-02-0123abcd",), **values):
    return RunFacts(run="adf3878dfcea4024", identity="i", ended=datetime(2026, 3, 2, 1, 2, tzinfo=UTC), parent=0,
                    decision=decision, reason="Why.", batches=batches, data_revision="d", commit="c", version=version,
                    metrics={"average_accuracy": 0.5, "bounds/forgotten": 0.041}, **values)  # fmt: skip


def test_a_persons_word_stands_above_the_verdict():
    assert tables.word(run("refuse", approved_by="ada")) == "approved"
    assert tables.word(run("accept", held=True)) == "held"
    assert tables.word(run("refuse", held=True)) == "refuse"


def test_history_fits_a_hundred_columns(shown):
    runs = [run("inconclusive", batches=("a", "b")), run("accept", 123)]
    assert shown(tables.show_history, runs, 123) == [
        "ended (UTC)       verdict       version        parent  average  forgotten  run       learned",
        "2026-03-02 01:02  inconclusive  –              –         50.0%       4.1%  adf3878d  2 batches",
        "2026-03-02 01:02  accepted      v123 champion  –         50.0%       4.1%  adf3878d  2026-03-02-012…",
    ]
    assert shown(tables.show_history, [], 0) == ["No night has been judged yet."]


def change(subject, first=0.9, second=0.8, lost=0, gained=0):
    return Change(subject=subject, images=1000, first=first, second=second, lost=lost, gained=gained)


def test_a_comparison_of_many_classes_shows_those_that_lost_most(shown):
    classes = tuple(change(f"class {n}", lost=n) for n in range(100))
    comparison = VersionComparison(first=3, second=4, total=change("all", lost=9),
                      experiences=(change("old"), change("new", None)),
                      classes=classes, confused={f"a → {n}": 100 - n for n in range(100)})  # fmt: skip
    lines = shown(tables.show_comparison, comparison)
    assert lines[0] == "v4 against v3, on the 1,000 test images that both were examined on"
    assert lines[1:5] == [
        "experience  images     v3     v4  change  lost  gained",
        "old          1,000  90.0%  80.0%   -10.0     0       0",
        "new          1,000      –  80.0%",
        "all          1,000  90.0%  80.0%   -10.0     9       0",
    ]
    assert lines[7].startswith("class 99 ")
    assert "The 20 of 100 classes that lost most; --json has all." in lines
    assert "Learned by v4 alone: 1 experience, marked –." in lines
    assert lines[-1].startswith("lost as      a → 0 (100), a → 1 (99), ")
    assert lines[-1].endswith("a → 9 (91) and 90 more")


def test_versions_with_nothing_in_common(shown):
    comparison = VersionComparison(first=1, second=2, total=None,
                      experiences=(change("a", None), change("b", second=None)),
                      classes=(), confused={})  # fmt: skip
    assert shown(tables.show_comparison, comparison)[0].startswith("v2 against v1, on the 0 test images")


def test_a_comparison_by_a_column_of_many_values_shows_thirty(shown):
    slices = Slices(first=3, second=4, by="camera", values=tuple(change(f"camera {n}") for n in range(100)))
    lines = shown(tables.show_slices, slices)
    assert lines[:3] == [
        "v4 against v3 by camera, on the 100,000 test images that both were examined on",
        "camera     images     v3     v4  change  lost  gained",
        "camera 0    1,000  90.0%  80.0%   -10.0     0       0",
    ]
    assert (len(lines), lines[-1]) == (33, "and 70 more; --json has all.")
    assert shown(tables.show_slices, slices.model_copy(update={"values": slices.values[:30]}))[-1].startswith(
        "camera 29 "
    )


def test_history_calls_deliveries_by_their_names(shown):
    several = run("accept", batches=("a", "b"), deliveries=("monday", "tuesday"))
    assert shown(tables.show_history, [several], 0)[1].endswith("monday, tuesday")
