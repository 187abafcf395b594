"""Pictures of a night: the score matrix, and what became of each experience.

A picture has at most `MOST` rows and columns, however many nights there were: the last ones each by itself, what lies
further back in groups of neighbours, by their mean. So it is read and drawn as quickly after 1,000 nights as after 20.
"""

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from records.batch import titles
from records.formatting import plain
from records.score_names import ACCURACY, in_title, written
from records.scores import ScoreMatrix, ScoreRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT, PAPER = "#22303c", "#8a949c", "#ffffff"
SHADES = ("#f4efe2", "#bcd9cf", "#5ba8a8", "#22708a", "#143a5e")
"""Of a score, from the worst that is shown to 1; lightness falls evenly, so it also reads in grey."""
KEPT, TAKEN, FORGOTTEN = "#22708a", "#e6b450", "#c4492f"
DAY = re.compile(r"^\d{4}-(\d{2}-\d{2})-[0-9a-f]{8,64}$")
LONGEST_NAME, MANY = 12, 12
"""Characters in a line below a column; columns beyond which everything is smaller."""
MOST, SINGLE = 20, 8
"""Rows and columns at the most; and of them those that are shown each by itself if there are more."""
QUIET: dict[str, Any] = {"size": 8.5, "color": FAINT}


def score_picture(
    matrix: ScoreMatrix,
    classes: Mapping[str, Sequence[str]] | None = None,
    candidate: str = "candidate",
    deliveries: Mapping[str, str] | None = None,
) -> bytes:
    """The score matrix as a PNG: a row a version, a column an experience, and below what became of each.

    A column is called by its delivery, which `deliveries` names, or by its day; `classes` (experience to its labels) is
    written under that. `candidate` is what the last row is called.
    """
    from matplotlib.figure import Figure

    columns = grouped(matrix.experiences)
    versions = _shown(matrix.rows)
    called = titles({e: plain(name) for e, name in (deliveries or {}).items()})
    names = [_name(group, classes or {}, called) for group in columns]
    cell = 0.78 if len(columns) <= 8 else max(0.4, 6.2 / len(columns))
    # In inches, from the bottom up: column names, bars, a gap with their title, the heat map, the title.
    width, heat, bars, gap, title = len(columns) * cell, len(versions) * cell * 0.62, 1.05, 0.62, 0.95
    lines = max(name.count("\n") + 1 for name in names)
    below = 0.3 + (0.16 * lines if len(columns) <= MANY else 0.075 * max(map(len, names)))
    left, right, bottom = 1.15, 1.85, below
    across, high = max(left + width + right, 6.7), bottom + bars + gap + heat + title
    figure = Figure(figsize=(across, high), facecolor=PAPER)

    def place(x: float, y: float, wide: float, tall: float) -> "Axes":
        return figure.add_axes((x / across, y / high, wide / across, tall / high))

    above = bottom + bars + gap
    rows = [candidate if row.version == "candidate" else row.version for row in versions]
    scale = place(left + width + 0.85, above, 0.12, heat)
    _heat_map(place(left, above, width, heat), scale, rows, _values(versions, columns), _means(versions))
    _fates(place(left, bottom, width, bars), matrix, columns, names)
    for text, y, look in (
        (sentence(matrix), high - 0.2, {"size": 11.5, "weight": "bold", "color": INK}),
        (f"{in_title(matrix.score_name)} in percent: a row a version, {_column_is(columns)}", high - 0.46, QUIET),
        (_fate_is(matrix.score_name), bottom + bars + 0.34, QUIET),
    ):
        figure.text(0.35 / across, y / high, text, va="top", **look)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # A class may be named in any script; what the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
    return stream.getvalue()


def sentence(matrix: ScoreMatrix) -> str:
    """What the picture shows, in one line."""
    score = "score" if matrix.score_name == ACCURACY else written(matrix.score_name)
    average = f"Average {score} {matrix.average():.1%}"
    lost = matrix.forgetting_from_best()
    if lost is None:
        return average
    side = "below" if lost >= 0 else "above"
    return f"{average}; past batches {100 * abs(lost):.1f} points {side} their best"


def grouped(experiences: Sequence[str]) -> list[Sequence[str]]:
    """The columns of the picture: each experience by itself, or if there are more than `MOST` the last `SINGLE` so and
    those before in groups of neighbours, of which the sizes differ by one at the most."""
    if len(experiences) <= MOST:
        return [[name] for name in experiences]
    far = len(experiences) - SINGLE
    borders = np.linspace(0, far, MOST - SINGLE + 1).round().astype(int).tolist()
    groups = [experiences[start:end] for start, end in pairwise(borders)]
    return [*groups, *([name] for name in experiences[far:])]


def _shown(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """At most `MOST` versions: the last `SINGLE`, and of those before some at equal distances."""
    if len(rows) <= MOST:
        return list(rows)
    far = len(rows) - SINGLE
    return [*(rows[at] for at in np.linspace(0, far - 1, MOST - SINGLE).round().astype(int)), *rows[far:]]


def _column_is(columns: Sequence[Sequence[str]]) -> str:
    most = max(map(len, columns))
    one = "a column a batch from the night it was learned"
    return one if most == 1 else f"{one}; on the left the mean of up to {most} batches"


def _fate_is(score: str) -> str:
    if score == ACCURACY:
        return "What became of each batch, in percent of its test images"
    return f"What became of the {written(score)} of each batch, in percent"


def _heat_map(
    axes: "Axes", scale: "Axes", names: Sequence[str], values: NDArray[np.float64], means: Sequence[float]
) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    least = min(0.8, float(np.floor(np.nanmin(values) * 10) / 10))
    shades = LinearSegmentedColormap.from_list("scores", SHADES)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=shades, vmin=least, vmax=1, aspect="auto")
    size = 9.5 if values.shape[1] <= MANY else 6.5
    digits = 1 if values.shape[1] <= MANY else 0
    for row, column in np.argwhere(~np.isnan(values)):
        red, green, blue, _ = shades((values[row, column] - least) / (1 - least))
        ink = PAPER if 0.3 * red + 0.59 * green + 0.11 * blue < 0.58 else INK
        axes.text(
            column, row, f"{100 * values[row, column]:.{digits}f}", ha="center", va="center", color=ink, size=size
        )
    _mean_column(axes, values.shape[1], means, size, digits)
    _gaps(axes, values)
    axes.set_yticks(range(len(names)), names, size=9 if len(names) <= MANY else 7.5, color=INK, parse_math=False)
    axes.set_xticks([])
    _bare(axes)
    bar = axes.figure.colorbar(image, cax=scale)
    bar.outline.set_visible(False)
    bar.set_ticks([least, (least + 1) / 2, 1], labels=[f"{100 * v:.0f}" for v in (least, (least + 1) / 2, 1)])
    scale.tick_params(length=0, labelsize=8, labelcolor=FAINT)


def _mean_column(axes: "Axes", columns: int, means: Sequence[float], size: float, digits: int) -> None:
    beyond = columns - 0.25
    for row, mean in enumerate(means):
        last = row == len(means) - 1
        weight = "bold" if last else "normal"
        axes.text(beyond, row, f"{100 * mean:.{digits}f}", va="center", size=size, color=INK, weight=weight)
    axes.text(beyond, -0.62, "mean", va="bottom", size=8, color=FAINT)


def _gaps(axes: "Axes", values: NDArray[np.float64]) -> None:
    """White lines between the cells."""
    rows, columns = values.shape
    axes.set_xticks(np.arange(1, columns) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, rows) - 0.5, minor=True)
    axes.grid(which="minor", color=PAPER, linewidth=1.4)
    axes.tick_params(which="minor", length=0)


def _fates(axes: "Axes", matrix: ScoreMatrix, columns: Sequence[Sequence[str]], names: Sequence[str]) -> None:
    """Bars: of what the best version knew of each experience, what is kept, taken by new classes, and forgotten.

    A bar of several experiences is their mean; a mark says how much is still right of the worst of them.
    """
    now = matrix.candidate.scores
    earlier = {e: matrix.history[e].best_among_known if e in matrix.history else 0.0 for e in matrix.experiences}

    def mean(of: Callable[[str], float]) -> NDArray[np.float64]:
        return np.array([np.mean([of(e) for e in group]) for group in columns])

    kept = mean(lambda e: now[e].overall)
    taken = mean(lambda e: max(0.0, now[e].among_known - now[e].overall))
    forgotten = mean(lambda e: max(0.0, earlier[e] - now[e].among_known))
    places = np.arange(len(names))
    for heights, start, colour, what in (
        (kept, np.zeros(len(names)), KEPT, "still right" if matrix.score_name == ACCURACY else "kept"),
        (taken, kept, TAKEN, "taken by new classes"),
        (forgotten, kept + taken, FORGOTTEN, "forgotten"),
    ):
        axes.bar(places, heights, 0.86, bottom=start, color=colour, label=what)
    several = [at for at, group in enumerate(columns) if len(group) > 1]
    if several:
        worst = [min(now[e].overall for e in columns[at]) for at in several]
        axes.plot(several, worst, linestyle="none", marker="_", markersize=9, color=INK, label="worst of its batches")
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(0, 1)
    turned = len(names) > MANY
    axes.set_xticks(
        places, names, size=8.5 if not turned else 7.5, color=INK, rotation=90 if turned else 0, parse_math=False
    )
    axes.set_yticks([0, 0.5, 1], ["0", "50", "100"], size=8, color=FAINT)
    axes.legend(
        loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8, labelcolor=INK, reverse=True,
        handlelength=0.9, handleheight=0.9, borderaxespad=0.6,
    )  # fmt: skip
    _bare(axes)


def _values(rows: Sequence[ScoreRow], columns: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """[rows, columns] mean overall score of the experiences that a version knows; not a number if it knows none."""
    return np.array(
        [[_mean([row.scores[e].overall for e in group if e in row.scores]) for group in columns] for row in rows]
    )


def _means(rows: Sequence[ScoreRow]) -> list[float]:
    """Mean overall score of each version, each experience counted once."""
    return [_mean([score.overall for score in row.scores.values()]) for row in rows]


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores) if scores else float("nan")


def _name(group: Sequence[str], classes: Mapping[str, Sequence[str]], called: Mapping[str, str]) -> str:
    """What stands below a column: an experience, or the first and the last day of a group and how many they are."""
    if len(group) == 1:
        return _short(group[0], classes.get(group[0], ()), called.get(group[0], ""))
    # With the year: what lies so far back may span several.
    first, last = (e[2:10] if DAY.match(e) else e[:LONGEST_NAME] for e in (group[0], group[-1]))
    return f"{first} to {last} ({len(group)})"


def _short(experience: str, classes: Sequence[str], called: str) -> str:
    """What it is called in up to two lines, or the day without its year, and below it the classes: in one line, in up
    to three, or how many they are."""
    day = DAY.match(experience)
    name = "\n".join(textwrap.wrap(called, LONGEST_NAME, max_lines=2, placeholder="…"))
    name = name or (day.group(1) if day else experience[:LONGEST_NAME])
    held = ", ".join(classes)
    if len(held) > LONGEST_NAME:
        fits = len(classes) <= 3 and max(map(len, classes)) <= LONGEST_NAME
        held = "\n".join(classes) if fits else f"{len(classes)} classes"
    return f"{name}\n{held}" if held else name


def _bare(axes: "Axes") -> None:
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
