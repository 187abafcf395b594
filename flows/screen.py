"""What a person sees in a terminal, drawn with rich. Names that come from outside are text, never markup."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from records.registration import Night
from records.scores import ScoreMatrix
from records.verdict import Finding, Verdict

if TYPE_CHECKING:
    from rich.status import Status as StatusLine

    from records.runs import RunFacts
    from tasks.overview import Comparison, Status

COLOURS = {"accept": "green", "refuse": "red", "inconclusive": "yellow", "held": "yellow", "nothing to learn": "dim"}
WORDS = {"accept": "accepted", "refuse": "refused"}

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def percent(value: float | None, digits: int = 1) -> str:
    """A share as percent; a dash if there is none."""
    return "–" if value is None else f"{value * 100:.{digits}f}%"


def interval(finding: Finding | None) -> str:
    """An estimate with its bounds, in percent."""
    if finding is None:
        return "–"
    return f"{finding.estimate * 100:.1f}% [{finding.lower * 100:.1f}, {finding.upper * 100:.1f}]"


def decision(outcome: str) -> Text:
    """The outcome of a night in its colour."""
    return Text(WORDS.get(outcome, outcome), style=COLOURS.get(outcome, ""))


def outcome_of(night: Night) -> Text:
    """The outcome of a night; a night whose every batch failed the gate was one of quarantine."""
    if night.verdict is None and night.quarantined:
        return Text("quarantined", style="magenta")
    return decision(night.outcome)


def learned_of(verdict: Verdict | None) -> str:
    """Score on what is new: the lowest of the new experiences."""
    new = [f.estimate for f in verdict.findings if f.question == "learned"] if verdict else []
    return percent(min(new)) if new else "–"


def night_row(night: Night) -> tuple[str | Text, ...]:
    """Learned, forgotten, taken, verdict, version, seconds."""
    forgotten = night.verdict.find("forgotten") if night.verdict else None
    taken = night.verdict.find("taken") if night.verdict else None
    version = night.registration.version if night.registration else None
    return (
        learned_of(night.verdict),
        interval(forgotten),
        percent(taken.estimate if taken else None),
        outcome_of(night),
        f"v{version}" if version else "–",
        f"{night.seconds:.1f} s",
    )


def show_night(night: Night) -> None:
    """One night at length: what came, what was refused, what was learned, the verdict."""
    for arrival in night.arrivals:
        known = " (known already: nothing was added)" if arrival.known else ""
        say(f"ingested     {arrival.batch.id}  {arrival.batch.images} images of {arrival.batch.source}{known}")
    for name, reason in night.unreadable.items():
        say(f"not taken    {name}  stays in the inbox: {reason}", "yellow")
    for report in night.quarantined:
        say(f"quarantined  {report.batch}  {report.summary}", "magenta")
    for batch in night.learned:
        say(f"learned      {batch}")
    if night.scores is not None:
        version = night.registration.version if night.registration else None
        console.print(matrix_table(night.scores, version))
    say(f"{WORDS.get(night.outcome, night.outcome)}: {night.sentence()}", COLOURS.get(night.outcome, ""))
    say(f"{night.seconds:.1f} s", "dim")


NIGHT_HEADER = "night  delivery                 learned  forgotten               taken  verdict      version seconds"


def show_watched(number: int, delivery: str, night: Night) -> None:
    """One line a night, under `NIGHT_HEADER`."""
    learned, forgotten, taken, outcome, version, seconds = night_row(night)
    line = Text(f"{number:<7}{delivery:24}{learned:>8}  {forgotten:22}{taken:>6}  ")
    line.append_text(outcome if isinstance(outcome, Text) else Text(outcome))
    line.append(" " * max(1, 13 - len(outcome)) + f"{version:8}{seconds}")
    console.print(line, soft_wrap=True)


def matrix_table(matrix: ScoreMatrix, version: int | None = None) -> Table:
    """Scores in percent: a row a version, a column an experience. `version`: what the candidate became."""
    table = Table(title="Score on the test images of each experience, in percent", title_justify="left", box=None)
    table.add_column("version", no_wrap=True)
    for experience in matrix.experiences:
        table.add_column(experience[5:10], justify="right", no_wrap=True)
    table.add_column("average", justify="right", style="bold")
    for row in matrix.rows:
        cells = [f"{row.scores[e].overall * 100:.1f}" if e in row.scores else "" for e in matrix.experiences]
        average = sum(s.overall for s in row.scores.values()) / len(row.scores)
        name = f"v{version}" if version and row is matrix.candidate else row.version
        table.add_row(name, *cells, f"{average * 100:.1f}")
    return table


def say(sentence: str, style: str = "") -> None:
    """A line of text, as it is."""
    console.print(Text(sentence, style=style), soft_wrap=True)


def fail(sentence: str) -> None:
    """A line on standard error."""
    errors.print(Text(sentence, style="red"), soft_wrap=True)


class Telling(logging.Handler):
    """Shows the latest message of the steps in the status line."""

    def __init__(self, status: "StatusLine") -> None:
        super().__init__()
        self.status = status

    def emit(self, record: logging.LogRecord) -> None:
        """Replace the status line."""
        self.status.update(Text(record.getMessage()))


@contextmanager
def at_work(what: str) -> Iterator[None]:
    """Show what is being done, on one line that is gone at the end; on a pipe, nothing."""
    log = logging.getLogger("retain")
    log.setLevel(logging.INFO)
    log.propagate = False
    with errors.status(what) as status:
        telling = Telling(status)
        log.addHandler(telling)
        try:
            yield
        finally:
            log.removeHandler(telling)


def show_status(told: "Status") -> None:
    """Champion, pending, quarantine, last verdict."""
    if told.champion is None:
        say(f"{told.model}: no version yet. Put images into the inbox and run `retain night`.")
    else:
        average = percent(told.champion.run.metrics.get("average"))
        say(
            f"{told.model} v{told.champion.number} is the champion: {average} on average, {len(told.classes)} classes.",
            "bold",
        )
    say(f"learned      {_listed(told.learned)}")
    say(f"pending      {_listed(told.pending)}")
    say(f"inbox        {_listed(told.inbox)}")
    say(f"quarantine   {_listed(tuple(report.batch for report in told.quarantine))}")
    for report in told.quarantine:
        say(f"             {report.summary}", "magenta")
    if told.last is not None:
        say(f"last night   {told.last.reason}", COLOURS.get(told.last.decision, ""))


def show_history(runs: "Sequence[RunFacts]") -> None:
    """A row a night, newest first."""
    if not runs:
        say("No night has been judged yet.")
        return
    table = Table(box=None)
    for name in ("ended (UTC)", "verdict", "version", "parent", "average", "forgotten", "batches", "run"):
        table.add_column(
            name, justify="right" if name in ("average", "forgotten") else "left", no_wrap=name != "batches"
        )
    for run in runs:
        table.add_row(
            f"{run.ended:%Y-%m-%d %H:%M}",
            decision("held" if run.held else run.decision),
            f"v{run.version}" if run.version else "–",
            f"v{run.parent}",
            percent(run.metrics.get("average")),
            percent(run.metrics.get("forgotten.mean.estimate")),
            Text(", ".join(run.batches)),
            run.run,
        )
    console.print(table)


def show_comparison(told: "Comparison") -> None:
    """What the second version learned and lost against the first."""
    say(f"v{told.second} against v{told.first}, on the test images that both were examined on", "bold")
    if told.new_experiences:
        say(f"learned by one of them alone: {_listed(told.new_experiences)} (classes {_listed(told.new_classes)})")
    for title, changes in (("experience", told.experiences), ("class", told.classes)):
        table = Table(box=None)
        table.add_column(title, no_wrap=True)
        for name in ("images", f"v{told.first}", f"v{told.second}", "change", "lost", "gained"):
            table.add_column(name, justify="right")
        for c in changes:
            points = f"{(c.second - c.first) * 100:+.1f}"
            table.add_row(
                Text(c.subject), str(c.images), percent(c.first), percent(c.second), points, str(c.lost), str(c.gained)
            )
        console.print(table)
    if told.confused:
        say("lost as: " + "; ".join(f"{pair} ({count})" for pair, count in list(told.confused.items())[:8]))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) if names else "nothing"
