"""Tables: scores, history, comparison, parameters; and the words and colours of a verdict. Shares are in percent."""

import textwrap
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from flows.terminal import screen
from records.batch import shortened, titles
from records.formatting import in_percent
from records.runs import Rollback, RunFacts
from records.score_names import ACCURACY, in_title, written
from records.scores import ScoreMatrix, ScoreRow

if TYPE_CHECKING:
    from tasks.quarantine.store import Entry
    from tasks.queries.comparison import Change, VersionComparison
    from tasks.queries.slices import Slices
    from tasks.validate.handbook import ConfiguredCheck

COLOURS = {
    "accept": "green", "approved": "green", "refuse": "red", "inconclusive": "yellow", "held": "yellow",
    "quarantined": "magenta", "rolled back": "yellow", "nothing to learn": "dim",
}  # fmt: skip
SEVERITIES = {"refuse batch": "red", "refuse image": "magenta", "drop": "cyan", "warn": "yellow"}
WORDS = {"accept": "accepted", "refuse": "refused"}
NONE = "–"
SHORT = 8
"""Characters of a run's id that are shown; the beginning is enough to name it."""
FEW = 3
"""Deliveries that a line names."""
MOST = 20
"""Classes that a comparison shows."""
NAME_WIDTHS, NAME_LINES = (12, 9, 7), 4
"""Of a delivery's name above a column of scores."""
MOST_VALUES = 30
"""Values of a column that a comparison shows."""


def coloured(word: str) -> Text:
    """A decision or outcome, in its colour."""
    return Text(WORDS.get(word, word), style=COLOURS.get(word, ""))


def word(run: "RunFacts") -> str:
    """What became of a judged night, in one word."""
    if run.approved_by:
        return "approved"
    return "held" if run.held and run.decision == "accept" else run.decision


def show_matrix(
    matrix: ScoreMatrix, version: int | None = None, deliveries: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Scores in percent: a row a version, a column an experience; of many, the last ones that the terminal has room
    for. `version`: what the candidate became. `deliveries`: experience to what it was delivered as, where known."""
    names = [f"v{version}" if version and row is matrix.candidate else row.version for row in matrix.rows]
    room = screen.paper().width - max(len("version"), *map(len, names)) - len("  average")
    width, fits = _room_for(matrix.experiences, deliveries, room)
    shown = matrix.experiences[-max(fits, 1) :]
    table = _table(("version", *_headings(shown, deliveries, width), "average"), left=("version",))
    table.columns[-1].style = "bold"
    for name, row in zip(names, matrix.rows, strict=True):
        if any(e in row.scores for e in shown):
            cells = [f"{row.scores[e].overall * 100:.1f}" if e in row.scores else "" for e in shown]
            table.add_row(name, *cells, f"{_average(row) * 100:.1f}")
    screen.say(f"{in_title(matrix.score_name)} on the test images of each experience, in percent", "bold")
    screen.draw(table)
    if len(shown) < len(matrix.experiences):
        screen.say(
            f"The last {len(shown)} of {len(matrix.experiences)} experiences, and the versions that know them; "
            "the average is over all.",
            "dim",
        )
    if (measures := matrix.measures) is not None:
        numbers = {"macro F1": measures.macro_f1, "calibration error": measures.calibration_error,
                   "negative flips": measures.negative_flips}  # fmt: skip
        further = {name.replace("_", " "): value for name, value in measures.further.items()}
        shown_numbers = {name: value for name, value in {**numbers, **further}.items() if value is not None}
        screen.say(", ".join(f"{name} {in_percent(value)}" for name, value in shown_numbers.items()), "dim")


def _average(row: ScoreRow) -> float:
    return sum(score.overall for score in row.scores.values()) / len(row.scores)


def _room_for(experiences: Sequence[str], deliveries: Mapping[str, str], room: int) -> tuple[int, int]:
    """How wide names may be, and how many of the last columns fit then: all, if that can be had by narrower names."""

    def fitting(width: int) -> int:
        headings = _headings(experiences, deliveries, width)
        widths = [max(map(len, [*heading.split("\n"), "100.0"])) + len("  ") for heading in headings]
        return sum(total <= room for total in accumulate(reversed(widths)))

    fits = {width: fitting(width) for width in NAME_WIDTHS}
    return next(((w, n) for w, n in fits.items() if n == len(experiences)), (NAME_WIDTHS[0], fits[NAME_WIDTHS[0]]))


def _headings(experiences: Sequence[str], deliveries: Mapping[str, str], width: int) -> list[str]:
    """What each was delivered as, in some short lines. Of one of which that is not known, month and day; where that is
    not enough to tell them apart, the beginning of the digest below."""
    named = titles({e: screen.visible(deliveries[e]) for e in experiences if e in deliveries})
    lines = {e: textwrap.wrap(title, width, max_lines=NAME_LINES, placeholder="…") for e, title in named.items()}
    days = {e: e[5:10] for e in experiences if not lines.get(e)}
    if len(set(days.values())) < len(days):
        days = {e: f"{e[5:10]}\n {e[11:15]}" for e in days}
    return [days[e] if e in days else "\n".join(lines[e]) for e in experiences]


def show_history(runs: "Sequence[RunFacts]", champion: int, rollbacks: "Sequence[Rollback]" = ()) -> None:
    """A row a night and a row a rollback, newest first."""
    if not runs:
        screen.say("No night has been judged yet.")
        return
    names = ("ended (UTC)", "verdict", "version", "parent", "average", "forgotten", "run", "learned")
    table = _table(names, left=("ended (UTC)", "verdict", "version", "parent", "run", "learned"))
    # The one to be cut where the terminal is narrow.
    table.columns[-1].no_wrap, table.columns[-1].overflow = False, "ellipsis"
    shown = [rollback for rollback in rollbacks if rollback.at >= runs[-1].ended]
    rows: list[RunFacts | Rollback] = [*runs, *shown]
    for run in sorted(rows, key=_when, reverse=True):
        if isinstance(run, Rollback):
            table.add_row(*_rollback_row(run))
            continue
        version = Text(f"v{run.version}" if run.version else NONE)
        if run.version and run.version == champion:
            version.append(" champion", "bold green")
        elif run.left is not None:
            version.append(" rolled back", COLOURS["rolled back"])
        forgotten = run.metrics.get("bounds/forgotten")
        table.add_row(
            f"{run.ended:%Y-%m-%d %H:%M}",
            coloured(word(run)),
            version,
            f"v{run.parent}" if run.parent else NONE,
            in_percent(run.average),
            in_percent(None if forgotten is None else max(forgotten, 0)),
            run.run[:SHORT],
            Text(screen.visible(_learned(run))),
        )
    screen.draw(table)


def _when(entry: "RunFacts | Rollback") -> datetime:
    return entry.at if isinstance(entry, Rollback) else entry.ended


def _rollback_row(rollback: Rollback) -> tuple[str | Text, ...]:
    who = f"by {rollback.by}" if rollback.by else ""
    why = ": ".join(filter(None, (who, rollback.note)))
    moved = f"v{rollback.left} → v{rollback.to}" if rollback.to else f"v{rollback.left}"
    return f"{rollback.at:%Y-%m-%d %H:%M}", coloured("rolled back"), moved, "", "", "", "", Text(screen.visible(why))


def _learned(run: RunFacts) -> str:
    """What the deliveries were called, if that was written down; of many, their number."""
    number = len(run.batches)
    if number <= FEW and len(run.deliveries) == number:
        return ", ".join(run.deliveries)
    return shortened(run.batches[0]) if number == 1 else screen.count(number, "batch", "batches")


def show_comparison(comparison: "VersionComparison") -> None:
    """What the second version learned and lost against the first."""
    first, second = f"v{comparison.first}", f"v{comparison.second}"
    shared = screen.count(comparison.total.images if comparison.total else 0, "test image")
    screen.say(f"{second} against {first}, on the {shared} that both were examined on", "bold")
    _say_score(comparison.score_name, comparison.class_score_name, comparison.noticeable)
    total = [] if comparison.total is None else [comparison.total]
    screen.draw(_change_table("experience", [*comparison.experiences, *total], first, second))
    screen.say()
    classes = comparison.classes
    if len(classes) > MOST:
        classes = tuple(sorted(classes, key=lambda c: (-c.lost, -c.gained))[:MOST])
    screen.draw(_change_table("class", classes, first, second))
    if len(classes) < len(comparison.classes):
        screen.say(f"The {MOST} of {len(comparison.classes)} classes that lost most; --json has all.", "dim")
    for name, alone in ((first, [c for c in comparison.experiences if c.second is None]),
                        (second, [c for c in comparison.experiences if c.first is None])):  # fmt: skip
        if alone:
            screen.say(f"Learned by {name} alone: {screen.count(len(alone), 'experience')}, marked {NONE}.", "dim")
    if comparison.confused:
        pairs = [f"{pair} ({number})" for pair, number in comparison.confused.items()]
        screen.say()
        screen.print_field("lost as", screen.listed(pairs, 10))


def _say_score(score: str, class_score: str, noticeable: float) -> None:
    """What the numbers are, and what lost and gained mean, where answers are not right or wrong."""
    if score != ACCURACY:
        of_class = "" if class_score == score else f", of a class its {written(class_score)}"
        least = f"{100 * noticeable:g} points"
        screen.say(
            f"{written(score)} of all images together{of_class}, in percent. lost, gained: images on which it is "
            f"lower, or higher, by more than {least}.",
            "dim",
        )


def show_checks(checks: "Sequence[ConfiguredCheck]") -> None:
    """A row a check of new images; severities that params.yaml changes stand out."""
    table = _table(("check", "if not", "limits"), left=("check", "if not", "limits"))
    table.columns[-1].no_wrap = False
    for check in checks:
        limits = ", ".join(f"{name} {value}".strip() for name, value in check.limits.items())
        colour = SEVERITIES.get(check.severity, "dim") + (" bold" if check.changed else "")
        table.add_row(check.name, Text(check.severity, colour), Text(screen.visible(limits)))
    screen.draw(table)
    screen.say(f"{len(checks)} checks; what each means is in docs/checks.md, or here with --json.", "dim")


def show_slices(slices: "Slices") -> None:
    """How the second version differs from the first, a row a value of a column."""
    first, second = f"v{slices.first}", f"v{slices.second}"
    shared = screen.count(sum(c.images for c in slices.values), "test image")
    screen.say(f"{second} against {first} by {slices.by}, on the {shared} that both were examined on", "bold")
    _say_score(slices.score_name, slices.score_name, slices.noticeable)
    screen.draw(_change_table(screen.visible(slices.by), slices.values[:MOST_VALUES], first, second))
    if (more := len(slices.values) - MOST_VALUES) > 0:
        screen.say(f"and {more} more; --json has all.", "dim")


def show_params(values: dict[str, str], defaults: dict[str, str]) -> None:
    """A line a parameter; those that differ from the default stand out."""
    longest = max(map(len, values))
    for name, value in values.items():
        default = defaults.get(name)
        changed = default is not None and value != default
        line = Text(f"{name:{longest}}  ").append(screen.visible(_as_yaml(value)), "bold" if changed else "")
        if changed:
            line.append(f"  (default {_as_yaml(str(default))})", "dim")
        screen.draw(line)


def show_entries(entries: "Sequence[Entry]", today: date) -> None:
    """A row an entry of the quarantine. What was held back as a whole stands out."""
    if not entries:
        screen.say("Nothing is in quarantine.")
        return
    names = ("batch", "delivered as", "images", "refused", "age", "why")
    table = _table(names, left=("batch", "delivered as", "why"))
    table.columns[1].no_wrap = table.columns[-1].no_wrap = False
    for entry in entries:
        name = Text(
            shortened(entry.batch), style="" if entry.admitted else COLOURS["held" if entry.held else "quarantined"]
        )
        age = screen.count((today - entry.arrived).days, "day")
        source, why = Text(screen.visible(entry.source)), Text(screen.visible(entry.summary))
        table.add_row(name, source, f"{entry.images:,}", f"{entry.refused:,}", age, why)
    screen.draw(table)


def files_not_taken(number: int, entry: Path) -> str:
    """How many files of a delivery are in no batch, and where they lie, below the folder of the batch's entry."""
    files = f"{screen.count(number, 'file')} {'was' if number == 1 else 'were'} not taken"
    return f"{files}; {'it lies' if number == 1 else 'they lie'} in {screen.place(entry / 'files')}"


def _as_yaml(value: str) -> str:
    """As it is typed into params.yaml."""
    return {"None": "null", "True": "true", "False": "false"}.get(value, value)


def _change_table(title: str, changes: "Sequence[Change]", first: str, second: str) -> Table:
    table = _table((title, "images", first, second, "change", "lost", "gained"), left=(title,))
    for c in changes:
        style = "bold" if c.subject == "all" and title == "experience" else ""
        both = c.first is not None and c.second is not None
        flips = (str(c.lost), str(c.gained)) if both else ("", "")
        images = f"{c.images:,}"
        scores = (in_percent(c.first), in_percent(c.second))
        table.add_row(Text(screen.visible(c.subject)), images, *scores, _points(c), *flips, style=style)
    return table


def _points(change: "Change") -> Text:
    if change.first is None or change.second is None:
        return Text("")
    points = round((change.second - change.first) * 100, 1) + 0
    return Text(f"{points:+.1f}" if points else "0.0", "green" if points > 0 else "red" if points < 0 else "")


def _table(names: Sequence[str], left: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(Text(name), justify="left" if name in left else "right", no_wrap=True)
    return table
