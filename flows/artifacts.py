"""What a person sees of a night in Prefect: progress, tables, the verdict in words. All of it works offline."""

import base64
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from prefect import runtime
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client

from flows.terminal import screen
from records.batch import called, shortened, titles
from records.experience import Report
from records.formatting import duration, listed, plain
from records.pace import Pace
from records.registration import Night
from records.score_names import in_title
from records.scores import ScoreMatrix
from records.verdict import Verdict
from reports.masks import small

if TYPE_CHECKING:
    from records.pace import Progress

log = logging.getLogger("retain")
PERCENT = 100
NAMED = 3
"""Deliveries that a run's name holds."""
SHOWN = 12
"""Versions and experiences that Prefect's table of scores shows: it is kept for every night."""


def narrate(what: str, clock: Callable[[], float] = time.monotonic) -> "Progress":
    """A progress function that says `what: 30%, about 2 min left`: at every tenth in the log, and every second in a
    terminal."""
    pace = Pace(clock)
    last, moved = -1, clock()

    def report(done: int, total: int) -> None:
        nonlocal last, moved
        left, tenth, now = pace.left(done, total), done * 10 // max(total, 1), clock()
        time_left = "" if left is None or done >= total else f", about {duration(left)} left"
        if tenth != last:
            last, moved = tenth, now
            log.info("%s: %d%%%s", what, tenth * 10, time_left, extra={"fleeting": True})
        elif now - moved >= screen.OFTEN:
            moved = now
            screen.MOVING.info("%s: %d%%%s", what, 100 * done // max(total, 1), time_left)

    return report


@contextmanager
def progress(what: str) -> "Iterator[Progress]":
    """A progress function that also moves a bar in Prefect."""
    bar = create_progress_artifact(progress=0.0, key=what, description=f"{what}: share of the night's steps")
    assert isinstance(bar, UUID), "called from a synchronous step"
    say, last = narrate(what), 0

    def report(done: int, total: int) -> None:
        nonlocal last
        say(done, total)
        quarter = done * 4 // max(total, 1)
        if quarter != last:
            last = quarter
            update_progress_artifact(bar, progress=quarter * 25.0)

    yield report


def rename(night: Night) -> None:
    """Call the flow run by what it took and what came of it; before its end there is nothing but the day."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(str(runtime.flow_run.id)), name=title(night))


def title(night: Night) -> str:
    """`monday, tuesday: accepted as v3 · 2026-11-25`."""
    names = list(dict.fromkeys(plain(arrival.delivery or arrival.batch.source) for arrival in night.arrivals))
    what = listed([name[:40] for name in names], NAMED) or ("what was pending" if night.learned else "nothing new")
    quarantined = night.verdict is None and night.quarantined
    result = {"accept": "accepted", "refuse": "refused"}.get(night.outcome, night.outcome)
    kept = night.registration
    became = f" as v{kept.version}" if kept is not None and kept.champion else ""
    return f"{what}: {'quarantined' if quarantined else result}{became} · {night.day}"


def show_report(report: Report) -> None:
    """What validation says of a batch: a table of its checks. Pictures are in the page of its quarantine."""
    rows = [
        {"check": c.name, "passed": c.passed, "found": c.found, "note": c.note, "severity": c.severity,
         "meaning": c.meaning, "remedy": "" if c.passed else c.remedy}
        for c in report.checks
    ]  # fmt: skip
    create_table_artifact(table=rows, key=_key("checks", report.batch), description=report.summary)


def show_scores(matrix: ScoreMatrix, names: Mapping[str, str]) -> None:
    """The score matrix as a table: a row a version, a column an experience, the last ones of many; percent.

    `names`: experience to what it was delivered as.
    """
    shown = matrix.experiences[-SHOWN:]
    score = in_title(matrix.score_name)
    description = f"{score} in percent on each experience's test images; average of all {matrix.average():.1%}"
    if len(shown) < len(matrix.experiences):
        description += f"; the last {len(shown)} of {len(matrix.experiences)} experiences"
    create_table_artifact(table=score_rows(matrix, names), key="scores", description=description)


def score_rows(matrix: ScoreMatrix, names: Mapping[str, str]) -> list[dict[str, str]]:
    """Heading to cell, of each row; a delivery's heading is its name."""
    shown = titles({e: plain(name) for e, name in names.items()})
    # The first column is called so already.
    columns = {e: shown[e] if shown.get(e, "version") != "version" else shortened(e) for e in matrix.experiences}
    return [
        {"version": row.version}
        | {columns[e]: f"{row.scores[e].overall * PERCENT:.1f}" if e in row.scores else ""
           for e in matrix.experiences[-SHOWN:]}
        for row in matrix.rows[-SHOWN:]
    ]  # fmt: skip


def show_masks(picture: Path) -> None:
    """The test images that lost most, small: Prefect keeps it for every night. MLflow has it in full size."""
    if picture.exists():
        shown = base64.b64encode(small(picture.read_bytes())).decode()
        what = "Test images that lost most, or else were answered worst; in full size in the night's run in MLflow"
        create_image_artifact(f"data:image/jpeg;base64,{shown}", key="masks", description=what)


def show_verdict(verdict: Verdict, names: Mapping[str, str]) -> None:
    """The verdict in words, and each finding. `names`: experience to what it was delivered as."""
    page = verdict_page(verdict, names)
    create_markdown_artifact(page, key="verdict", description=called(verdict.reason, names))


def verdict_page(verdict: Verdict, names: Mapping[str, str]) -> str:
    """In markdown, in which a delivery's name means nothing."""
    shown = {e: _text(name) for e, name in names.items()}
    lines = [
        f"# {verdict.decision.capitalize()}", "", called(verdict.reason, shown), "",
        "| question | of | estimate | at least | at most | limit | images | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for f in verdict.findings:
        numbers = " | ".join(f"{value * PERCENT:.1f}%" for value in (f.estimate, f.lower, f.upper, f.limit))
        decision = "too few images to say" if f.too_few else f.decision
        lines.append(f"| {f.question} | {called(f.subject, shown)} | {numbers} | {f.images} | {decision} |")
    for c in verdict.classes:
        numbers = " | ".join(f"{value * PERCENT:.1f}%" for value in (c.estimate, c.lower, c.upper, c.limit))
        decision = "too few images to say" if c.decision == "too few" else c.decision
        where = " in tonight's images" if c.unlabelled else ""
        lines.append(f"| lost | class {_text(c.label)}{where} | {numbers} | {c.images} | {decision} |")
    return shortened("\n".join(lines))


def show_night(night: Night) -> None:
    """The night in a few sentences."""
    escaped = night.model_copy(update={"deliveries": {e: _text(name) for e, name in night.deliveries.items()}})
    lines = [f"# {night.outcome.capitalize()}", "", escaped.sentence()]
    lines += [f"- {_text(name)} stays in the inbox: {_text(reason)}" for name, reason in night.unreadable.items()]
    lines += [f"- {_text(name)} is left to the next night: it {_text(seen)}" for name, seen in night.waiting.items()]
    kept = (*night.quarantined, *night.refusals)
    lines += [f"- {_text(report.source)}: {_text(report.summary)}" for report in kept]
    if kept:
        lines += ["", "`retain quarantine list` shows what waits for a person."]
    create_markdown_artifact(shortened("\n".join(lines)), key="night", description=shortened(night.sentence()))


def _text(name: str) -> str:
    # Names come from outside: as code, markdown in them means nothing.
    return "`" + plain(name).replace("`", "'") + "`"


def _key(*parts: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")
