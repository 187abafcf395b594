"""Pictures of a night: the score matrix, and what became of each experience."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from records.scores import ScoreMatrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT, PAPER = "#22303c", "#8a949c", "#ffffff"
SHADES = ("#f4efe2", "#bcd9cf", "#5ba8a8", "#22708a", "#143a5e")
"""Of a score, from the worst that is shown to 1; lightness falls evenly, so it also reads in grey."""
KEPT, TAKEN, FORGOTTEN = "#22708a", "#e6b450", "#c4492f"
DAY = re.compile(r"^\d{4}-(\d{2}-\d{2})-[0-9a-f]{8}$")
LONGEST_NAME, MANY = 12, 12
"""Characters in a line below a column; columns beyond which everything is smaller."""
QUIET: dict[str, Any] = {"size": 8.5, "color": FAINT}


def score_picture(
    matrix: ScoreMatrix, classes: Mapping[str, Sequence[str]] | None = None, candidate: str = "candidate"
) -> bytes:
    """The score matrix as a PNG: a row a version, a column an experience, and below what became of each.

    `classes` (experience to its labels) is written under the column's day; `candidate` is what the last row is called.
    """
    from matplotlib.figure import Figure

    names = [_short(e, (classes or {}).get(e, ())) for e in matrix.experiences]
    columns, rows = len(matrix.experiences), len(matrix.rows)
    cell = 0.78 if columns <= 8 else max(0.4, 6.2 / columns)
    # In inches, from the bottom up: column names, bars, a gap with their title, the heat map, the title.
    width, heat, bars, gap, title = columns * cell, rows * cell * 0.62, 1.05, 0.62, 0.95
    left, right, bottom = 1.15, 1.85, 0.3 + 0.16 * max(3 if columns > MANY else name.count("\n") + 1 for name in names)
    across, high = max(left + width + right, 6.7), bottom + bars + gap + heat + title
    figure = Figure(figsize=(across, high), facecolor=PAPER)

    def place(x: float, y: float, wide: float, tall: float) -> "Axes":
        return figure.add_axes((x / across, y / high, wide / across, tall / high))

    above = bottom + bars + gap
    _heat_map(place(left, above, width, heat), place(left + width + 0.85, above, 0.12, heat), matrix, candidate)
    _fates(place(left, bottom, width, bars), matrix, names)
    for text, y, look in (
        (sentence(matrix), high - 0.2, {"size": 11.5, "weight": "bold", "color": INK}),
        ("Score in percent: a row a version, a column a batch from the night it was learned", high - 0.46, QUIET),
        ("What became of each batch, in percent of its test images", bottom + bars + 0.34, QUIET),
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
    said = f"Average score {matrix.average():.1%}"
    lost = matrix.forgetting_from_best()
    if lost is None:
        return said
    side = "below" if lost >= 0 else "above"
    return f"{said}; past batches {100 * abs(lost):.1f} points {side} their best"


def _heat_map(axes: "Axes", scale: "Axes", matrix: ScoreMatrix, candidate: str) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    values = _values(matrix)
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
    _mean_column(axes, values, size, digits)
    _gaps(axes, values)
    names = [candidate if row.version == "candidate" else row.version for row in matrix.rows]
    axes.set_yticks(range(len(names)), names, size=9 if len(names) <= MANY else 7.5, color=INK, parse_math=False)
    axes.set_xticks([])
    _bare(axes)
    bar = axes.figure.colorbar(image, cax=scale)
    bar.outline.set_visible(False)
    bar.set_ticks([least, (least + 1) / 2, 1], labels=[f"{100 * v:.0f}" for v in (least, (least + 1) / 2, 1)])
    scale.tick_params(length=0, labelsize=8, labelcolor=FAINT)


def _mean_column(axes: "Axes", values: NDArray[np.float64], size: float, digits: int) -> None:
    beyond = values.shape[1] - 0.25
    for row, mean in enumerate(np.nanmean(values, axis=1)):
        last = row == len(values) - 1
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


def _fates(axes: "Axes", matrix: ScoreMatrix, names: list[str]) -> None:
    """Bars: of what the best version knew of each experience, what is kept, taken by new classes, and forgotten."""
    now = [matrix.candidate.scores[e] for e in matrix.experiences]
    best = [max(r.scores[e].among_known for r in matrix.rows if e in r.scores) for e in matrix.experiences]
    kept = np.array([score.overall for score in now])
    taken = np.array([score.among_known - score.overall for score in now])
    forgotten = np.array(best) - kept - taken
    places = np.arange(len(names))
    for heights, start, colour, what in (
        (kept, np.zeros(len(names)), KEPT, "still right"),
        (taken, kept, TAKEN, "taken by new classes"),
        (forgotten, kept + taken, FORGOTTEN, "forgotten"),
    ):
        axes.bar(places, heights, 0.86, bottom=start, color=colour, label=what)
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


def _values(matrix: ScoreMatrix) -> NDArray[np.float64]:
    """[versions, experiences] overall scores; not a number where the experience came later."""
    nothing = float("nan")
    return np.array(
        [[row.scores[e].overall if e in row.scores else nothing for e in matrix.experiences] for row in matrix.rows]
    )


def _short(experience: str, classes: Sequence[str]) -> str:
    """The day without its year, and below it the classes: in one line, in up to three, or how many they are."""
    day = DAY.match(experience)
    name = day.group(1) if day else experience[:LONGEST_NAME]
    held = ", ".join(classes)
    if len(held) > LONGEST_NAME:
        fits = len(classes) <= 3 and max(map(len, classes)) <= LONGEST_NAME
        held = "\n".join(classes) if fits else f"{len(classes)} classes"
    return f"{name}\n{held}" if held else name


def _bare(axes: "Axes") -> None:
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
