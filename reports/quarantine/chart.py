"""A chart of two distributions side by side, as inline SVG: it needs no script and prints as it looks."""

import math
from html import escape

from records.experience import Distributions

MOST_PARTS = 24
"""Of more parts, those are drawn whose shares differ most."""
WIDTH, HEIGHT, LEFT, TOP = 720, 200, 44, 12
"""Size of the area with the bars, and the margins left of and above it, in units of the drawing."""
LONGEST_NAME = 18
UNITS = (0.01, 0.02, 0.05, 0.1, 0.25)
"""Shares between two lines of the scale."""


def chart(comparison: Distributions) -> str:
    """Two bars for each part: its share of what was learned before, and of the batch."""
    drawn = _most_different(comparison)
    unit, marks = _scale(max((max(comparison.before[at], comparison.now[at]) for at in drawn), default=0))
    top = unit * marks
    step = WIDTH / max(len(drawn), 1)
    names = [_short(comparison.bins[at]) for at in drawn]
    slanted = max(map(len, names), default=0) * 6.2 > step - 4
    below = 14 + (4.4 * max(map(len, names)) if slanted else 8)
    bars = "".join(_pair(comparison, at, LEFT + place * step, step, top) for place, at in enumerate(drawn))
    words = "".join(_name(name, LEFT + (place + 0.5) * step, slanted) for place, name in enumerate(names))
    lines = "".join(_line(unit * mark, top) for mark in range(marks + 1))
    of = escape(comparison.of)
    more = len(comparison.bins) - len(drawn)
    rest = f" The {len(drawn)} of {len(comparison.bins)} parts that differ most." if more else ""
    return (
        f'<figure class="chart"><figcaption>Share of images by {of}: <span class="before">learned before</span> '
        f'<span class="now">this batch</span>{rest}</figcaption>\n<div class="wide">'
        f'<svg viewBox="0 0 {LEFT + WIDTH + 4} {TOP + HEIGHT + below:.0f}" role="img" '
        f'aria-label="{of}, before and now">{lines}{bars}{words}</svg></div></figure>\n'
    )


def _most_different(comparison: Distributions) -> list[int]:
    parts = sorted(range(len(comparison.bins)), key=lambda at: -abs(comparison.before[at] - comparison.now[at]))
    return sorted(parts[:MOST_PARTS])


def _scale(most: float) -> tuple[float, int]:
    """Distance between two lines, and how many of them: round numbers that reach up to `most`."""
    unit = next((unit for unit in UNITS if 4 * unit >= most), UNITS[-1])
    return unit, max(1, math.ceil(most / unit - 1e-9))


def _pair(comparison: Distributions, at: int, left: float, step: float, top: float) -> str:
    wide = min(0.4 * step, 36)
    middle = left + step / 2
    title = escape(f"{comparison.bins[at]}: {comparison.before[at]:.1%} before, {comparison.now[at]:.1%} now")
    bars = "".join(
        f'<rect class="{kind}" x="{x:.1f}" y="{TOP + HEIGHT * (1 - share / top):.1f}" width="{wide:.1f}" '
        f'height="{HEIGHT * share / top:.1f}" rx="1.5"/>'
        for kind, x, share in (
            ("before", middle - wide - 0.5, comparison.before[at]),
            ("now", middle + 0.5, comparison.now[at]),
        )
    )
    return f"<g><title>{title}</title>{bars}</g>"


def _name(name: str, x: float, slanted: bool) -> str:
    y = TOP + HEIGHT + 16
    turned = f' text-anchor="end" transform="rotate(-38 {x:.1f} {y})"' if slanted else ' text-anchor="middle"'
    return f'<text x="{x:.1f}" y="{y}"{turned}>{escape(name)}</text>'


def _line(share: float, top: float) -> str:
    y = TOP + HEIGHT * (1 - share / top)
    return (
        f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{100 * share:.3g}%</text>'
    )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
