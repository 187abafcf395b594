import io
import warnings

import numpy as np
import pytest
from PIL import Image

from records.scores import Score, ScoreMatrix, ScoreRow
from reports.pictures import grouped, score_picture, sentence


def matrix_of(*rows):
    """Rows of overall scores; each row knows one experience more than the one before it."""
    names = tuple(f"2026-01-{5 + number:02d}-{number:08x}" for number in range(len(rows[-1])))
    versions = [f"v{number + 1}" for number in range(len(rows) - 1)] + ["candidate"]
    return ScoreMatrix(
        experiences=names,
        new=names[len(rows[-2]) if len(rows) > 1 else 0 :],
        rows=tuple(
            ScoreRow(
                version=version,
                scores={n: Score(overall=s, among_known=min(1, s + 0.02), images=50) for n, s in zip(names, row)},  # noqa: B905
            )
            for version, row in zip(versions, rows, strict=True)
            if len(rows) <= 100 or version in ("candidate", *versions[:1], *versions[-11:], *versions[7::64])
        ),
    )


def triangle(size):
    return matrix_of(*([max(0.2, 0.9 - 0.01 * (row - column)) for column in range(row + 1)] for row in range(size)))


@pytest.mark.unhurried
@pytest.mark.parametrize("size", [1, 2, 5, 20])
def test_a_picture_is_a_png_that_grows_with_the_matrix(size):
    picture = Image.open(io.BytesIO(score_picture(triangle(size))))
    assert picture.format == "PNG"
    assert 900 < picture.width < 2500
    assert 400 < picture.height < 2500


@pytest.mark.unhurried
def test_a_thousand_nights_are_drawn_as_quickly_as_twenty(monkeypatch):
    """Text is what a picture costs: a matrix of 100 nights had 5,050 numbers in it, and took ten seconds."""
    from matplotlib.axes import Axes

    written = []
    monkeypatch.setattr(Axes, "text", lambda self, *args, **more: written.append(args[2]))
    few, many = triangle(20), triangle(1000)
    score_picture(few)
    numbers = len(written)
    picture = Image.open(io.BytesIO(score_picture(many)))
    assert len(written) - numbers < 1.5 * numbers
    assert max(picture.size) < 2500


def test_what_lies_far_back_is_shown_in_groups_of_neighbours():
    names = [f"e{number}" for number in range(1000)]
    groups = grouped(names)
    assert [name for group in groups for name in group] == names
    assert [len(group) for group in groups[-8:]] == [1] * 8
    assert {len(group) for group in groups[:-8]} == {82, 83}
    assert len(groups) == 20
    assert grouped(names[:20]) == [[name] for name in names[:20]]


def test_equal_matrices_give_equal_pictures():
    assert score_picture(triangle(3)) == score_picture(triangle(3))


def test_a_drop_shows():
    good = np.asarray(Image.open(io.BytesIO(score_picture(matrix_of([0.9], [0.9, 0.9])))).convert("RGB"), dtype=int)
    bad = np.asarray(Image.open(io.BytesIO(score_picture(matrix_of([0.9], [0.3, 0.9])))).convert("RGB"), dtype=int)

    def red(pixels):
        return int(((pixels[:, :, 0] > 180) & (pixels[:, :, 1] < 100) & (pixels[:, :, 2] < 80)).sum())

    assert red(bad) > 20 * max(red(good), 100)


def test_a_night_may_bring_several_experiences_and_a_version_none():
    assert score_picture(matrix_of([0.9, 0.8], [0.9, 0.8, 0.7], [0.9, 0.8, 0.7]))


def test_names_are_only_drawn():
    classes = {"2026-01-05-00000000": ("$\\frac{", "<b>", "名前"), "2026-01-06-00000001": ("a" * 300,)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score_picture(triangle(2), classes, candidate="$x^{")


def test_columns_are_called_by_their_deliveries(monkeypatch):
    from matplotlib.axes import Axes

    drawn, set_xticks = [], Axes.set_xticks

    def listen(axes, ticks, labels=None, **more):
        drawn.extend(labels or [])
        return set_xticks(axes, ticks, labels, **more)

    monkeypatch.setattr(Axes, "set_xticks", listen)
    scores = triangle(3)
    names = dict(zip(scores.experiences, ("monday", "a-folder-from-the-scanner-of-the-north"), strict=False))
    score_picture(scores, {scores.experiences[0]: ("a", "b")}, deliveries=names)
    assert drawn == ["monday\na, b", "a-folder-\nfrom-the-…", "01-07"]


@pytest.mark.parametrize(
    ("rows", "title"),
    [
        ([[0.95]], "Average score 95.0%"),
        ([[0.95], [0.9, 0.8]], "Average score 85.0%; past batches 5.0 points below their best"),
        ([[0.9], [0.95, 0.85]], "Average score 90.0%; past batches 5.0 points above their best"),
    ],
)
def test_the_title_says_what_is_seen(rows, title):
    assert sentence(matrix_of(*rows)) == title
