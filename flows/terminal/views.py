"""What a person sees of a night and of a workspace, in words."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from flows.terminal import screen
from flows.terminal.tables import COLOURS, NONE, SHORT, WORDS, coloured, files_not_taken, percent, show_matrix, word
from records.experience import Report
from records.registration import Night
from records.verdict import Finding, Verdict

if TYPE_CHECKING:
    from records.runs import RunFacts
    from tasks.quarantine.files import Written
    from tasks.quarantine.release import Dropped, Released
    from tasks.status import Status

FIRST = 3
"""Images of a check that the terminal names."""


def lost(finding: Finding | None) -> str:
    """An estimate and its bounds. Nothing below zero is forgotten; images that were gained for certain are told."""
    if finding is None:
        return NONE
    if finding.upper < 0:
        return f"gained {percent(-finding.estimate)}"
    least, most = (f"{max(bound, 0) * 100:.1f}" for bound in (finding.lower, finding.upper))
    return f"{percent(max(finding.estimate, 0))} [{least}, {most}]"


def learned(verdict: Verdict | None) -> str:
    """Score on what is new: the lowest of the new experiences."""
    new = [f.estimate for f in verdict.findings if f.question == "learned"] if verdict else []
    return percent(min(new)) if new else NONE


def outcome(night: Night) -> str:
    """The outcome of a night in one word; a night whose every batch failed the data gate was one of quarantine."""
    return "quarantined" if night.verdict is None and night.quarantined else night.outcome


# One line a night

COLUMNS = (("night", 5), ("delivery", 21), ("learned", 7), ("forgotten", 18), ("taken", 6), ("verdict", 12),
           ("version", 7), ("seconds", 7))  # fmt: skip
LEGEND = (
    "learned: score on the new images. forgotten: earlier test images misclassified even when only the classes known "
    "then are considered [at least, at most]. taken: lost to new classes."
)


def show_night_header() -> None:
    """What the columns of `show_night_line` mean."""
    screen.say(LEGEND, "dim")
    screen.say(_line([name for name, _ in COLUMNS]).plain, "bold")


def show_night_line(number: int, delivery: str, night: Night) -> None:
    """One night on one line, under `show_night_header`."""
    taken = night.verdict.find("taken") if night.verdict else None
    version = night.registration.version if night.registration else None
    values = [
        str(number), delivery, learned(night.verdict), lost(night.verdict.find("forgotten") if night.verdict else None),
        percent(max(taken.estimate, 0) if taken else None), outcome(night), f"v{version}" if version else NONE,
        f"{night.seconds:.1f} s",
    ]  # fmt: skip
    screen.draw(_line(values))


def _line(values: Sequence[str]) -> Text:
    """The columns that fit: a narrow terminal gets a shorter name of the delivery, and no `taken`."""
    spare = screen.paper().width - sum(width + 2 for _, width in COLUMNS) + 2
    line = Text(no_wrap=True)
    for (name, width), value in zip(COLUMNS, values, strict=True):
        if name == "taken" and spare < -9:
            continue
        width = max(12, width + min(spare, 0)) if name == "delivery" else width
        text = Text(screen.visible(WORDS.get(value, value)), COLOURS.get(value, "") if name == "verdict" else "")
        text.truncate(width, overflow="ellipsis")
        text.align("right" if name in ("learned", "taken", "seconds") else "left", width)
        line.append_text(text).append("  ")
    line.rstrip()
    return line


# One night at length


def show_night(night: Night, workspace: Path) -> None:
    """What came, what was refused, what was learned, the scores, the verdict, and what a person may do now."""
    for arrival in night.arrivals:
        known = " (known already: nothing was added)" if arrival.known else ""
        images = screen.count(arrival.batch.images, "image")
        screen.tell("ingested", f"{arrival.batch.id}: {images} of {arrival.delivery or arrival.batch.source}{known}")
        aside = workspace / "quarantine" / arrival.batch.id / "files"
        if aside.exists():
            screen.tell("", f"Files that were sent with it and are in no batch: {screen.place(aside)}")
    for name, reason in night.unreadable.items():
        screen.tell("not taken", f"{name} stays in the inbox: {reason}", "yellow")
    for name, sentence in night.waiting.items():
        screen.tell("waits", f"{name} {sentence}", "yellow")
    for report in night.quarantined:
        _tell_quarantine("held" if report.held else "quarantined", report, workspace)
    for report in night.refusals:
        _tell_quarantine("refused", report, workspace)
    for batch in night.learned:
        screen.tell("learned", batch)
    if night.scores is not None:
        screen.say()
        version = night.registration.version if night.registration else None
        show_matrix(night.scores, version, night.deliveries)
        screen.say()
    screen.say(night.sentence(), COLOURS.get(outcome(night), ""))
    if night.registration is not None and night.outcome == "inconclusive":
        say_approve(night.registration.run, workspace)
    screen.say(f"{night.seconds:.1f} seconds", "dim")


def _tell_quarantine(label: str, report: Report, workspace: Path) -> None:
    part = f": {_images(report)} of {report.images:,}" if report.admitted else ""
    colour = "" if report.admitted else COLOURS["held" if report.held else "quarantined"]
    screen.tell(label, f"{report.batch} ({report.source}){part}", colour)
    screen.tell("", report.summary)
    screen.tell("", screen.place(workspace / "quarantine" / report.batch / "report.html"))


def _images(report: Report) -> str:
    return screen.count(len(report.faulty_rows()), "image")


def tell_reasons(label: str, night: Night) -> None:
    """Why a night made no version, as a line under `label`."""
    reasons = [report.summary for report in night.quarantined] + ([night.sentence()] if night.verdict else [])
    reasons += [f"{name}: {why}" for name, why in night.unreadable.items()]
    for reason in reasons + [f"{name} {sentence}" for name, sentence in night.waiting.items()]:
        screen.tell(label, reason, COLOURS.get(outcome(night), ""))


def say_approve(run: str, workspace: Path) -> None:
    """How a person lets a run in that waits for one."""
    screen.say(f"To approve it manually: {screen.command(f'approve {run[:SHORT]}', workspace)}")


# Between nights


def show_status(told: "Status", workspace: Path) -> None:
    """Champion, what it learned, the last night, what waits, quarantine, and what to do next."""
    if told.champion is None:
        screen.say(f"{told.model} has no version yet.", "bold")
    else:
        average = percent(told.champion.run.metrics.get("average"))
        screen.say(
            f"{told.model} v{told.champion.number} is the champion: {average} on average over "
            f"{screen.count(len(told.learned), 'experience')}, {screen.count(len(told.classes), 'class', 'classes')}.",
            "bold",
        )
    screen.say()
    if told.champion is not None:
        screen.tell("registered", f"{told.champion.created:%Y-%m-%d %H:%M} UTC")
        if told.rollback is not None:
            screen.tell("rollback", told.rollback.sentence(), COLOURS["rolled back"])
        screen.tell("classes", screen.listed(told.classes))
        last = f"{screen.count(len(told.learned), 'batch', 'batches')}, {told.learned[-1]} the last"
        screen.tell("learned", last if len(told.learned) > 1 else screen.listed(told.learned))
    if told.last is not None:
        _tell_last(told.last)
        if told.last.waits and not told.approvable:
            screen.tell("", _built_on_another(told.last.parent))
    screen.tell("inbox", screen.listed(told.inbox))
    for name, sentence in told.waiting.items():
        screen.tell("", f"{name} {sentence}", "yellow")
    screen.tell("pending", screen.listed(told.pending))
    if not told.quarantine:
        screen.tell("quarantine", "nothing")
    for number, report in enumerate(told.quarantine):
        _tell_quarantine("" if number else "quarantine", report, workspace)
    for number, report in enumerate(told.held):
        _tell_quarantine("" if number else "held", report, workspace)
    for number, report in enumerate(told.refused):
        _tell_quarantine("" if number else "refused", report, workspace)
    screen.say()
    if told.quarantine or told.held or told.refused:
        screen.say(f"To look at what was refused, and decide: {screen.command('quarantine list', workspace)}")
    if told.approvable and told.last is not None:
        say_approve(told.last.run, workspace)
    screen.say(_next(told, workspace))


def _built_on_another(parent: int) -> str:
    version = f"v{parent}, which is not the champion" if parent else "no version, and there is one"
    return f"It was learned on top of {version} now; the next night learns its data again."


def _tell_last(run: "RunFacts") -> None:
    became = f" as v{run.version}" if run.version else ""
    line = Text(f"{run.ended:%Y-%m-%d %H:%M} UTC: ").append_text(coloured(word(run))).append(became)
    if run.left is not None:
        line.append(", ").append_text(coloured("rolled back")).append(" since")
    screen.tell("last night", line)
    screen.tell("", run.reason)
    if run.approved_by:
        note = f": {run.approval_note}" if run.approval_note else ""
        screen.tell("", f"Approved by {run.approved_by}{note}")


def _next(told: "Status", workspace: Path) -> str:
    inbox = screen.place(workspace / "inbox")
    if not told.inbox and not told.pending:
        night = screen.command("night", workspace)
        return f"Nothing to learn. Put images below {inbox}/<delivery>/<class>/, then run `{night}`."
    parts = []
    if told.inbox:
        parts.append(f"take {screen.count(len(told.inbox), 'delivery', 'deliveries')}")
    if told.beginning is not None and not told.inbox:
        inbox = screen.place(workspace / "inbox")
        return f"No version yet: {told.beginning.sentence()} Put them below {inbox}/<delivery>/<class>/."
    if told.pending:
        parts.append(f"learn {screen.count(len(told.pending), 'pending batch', 'pending batches')}")
    return f"The next night will {' and '.join(parts)}: {screen.command('night', workspace)}"


# Quarantine


def show_report(report: Report, workspace: Path, not_taken: int = 0) -> None:
    """What did not pass, the first images of each check, and what can be done.

    `not_taken`: how many files of the delivery are in no batch.
    """
    screen.say(f"{report.batch} ({report.source})", "bold")
    screen.say(report.summary)
    for check in report.checks:
        if check.passed:
            continue
        screen.say()
        line = Text(check.name, style="bold").append(f"  {SEVERITIES[check.severity]}", style="dim")
        number = check.note or screen.count(check.found, "image")
        screen.draw(line.append(f"  {screen.visible(number)}", style=""))
        screen.say(f"  {check.remedy}")
        for violation in check.violations[:FIRST]:
            screen.say(f"  - {violation.path}{f': {violation.detail}' if violation.detail else ''}", "dim")
        if check.violations and check.found > FIRST:
            screen.say(f"    and {check.found - FIRST:,} more", "dim")
    screen.say()
    screen.tell("pictures", screen.place(workspace / "quarantine" / report.batch / "report.html"))
    if not_taken:
        screen.tell("", f"{files_not_taken(not_taken, workspace / 'quarantine' / report.batch)}.")
    if not report.admitted:
        choice = " --leave-out refused" if report.faulty_rows() else ""
        screen.tell("release", screen.command(f"quarantine release {report.batch}{choice}", workspace))
    else:
        screen.tell("correct", screen.command(f"quarantine show {report.batch} --files DIR", workspace))
    screen.tell("give up", screen.command(f"quarantine drop {report.batch}", workspace))


SEVERITIES = {
    "refuse batch": "stops the batch", "refuse image": "refused", "drop": "left out", "warn": "worth a look",
}  # fmt: skip


def say_written(report: Report, workspace: Path, folder: Path, written: "Written") -> None:
    """What lies in the folder now, and the way back."""
    manifest = folder / "manifest.csv"
    screen.say()
    screen.say(f"Wrote {screen.count(written.images, 'image')} and their manifest.csv to {screen.place(folder)}.")
    if written.without:
        one = written.without == 1
        screen.say(
            f"{screen.count(written.without, 'image')} {'is' if one else 'are'} not there: no bytes of "
            f"{'it' if one else 'them'} were ever taken. Deliver {'it' if one else 'them'} again."
        )
    if written.images:
        words = f"quarantine release {report.batch} --manifest {shlex.quote(screen.place(manifest))}"
        screen.say("Delete lines, change labels, then: " + screen.command(words, workspace))


def show_release(told: "Released", workspace: Path) -> None:
    """Whether what was released is pending now."""
    corrected = told.batch != told.entry
    if told.finished:
        screen.say(f"An interrupted release had corrected {told.entry} already; it is finished, and nothing else done.")
    if corrected:
        screen.say(f"{told.entry} is corrected as {told.batch}: {screen.count(told.report.images, 'image')}.")
    if told.waiting:
        one = told.waiting == 1
        screen.say(
            f"{screen.count(told.waiting, 'refused image')} of {told.entry} {'is' if one else 'are'} not in it and "
            f"{'stays' if one else 'stay'} in quarantine."
        )
    if told.report.admitted:
        without = f", without {_images(told.report)} that stay here" if told.report.faulty_rows() else ""
        screen.say(f"Released: the next night learns {told.batch}{without}.", "green")
        screen.say(told.report.summary)
        return
    where = "held" if told.report.held else "in quarantine"
    screen.say(f"{told.batch} {'is' if corrected else 'stays'} {where}.", COLOURS["quarantined"])
    screen.say(told.report.summary)
    screen.say(f"Why: {screen.command(f'quarantine show {told.batch}', workspace)}")


def show_hold(report: Report, workspace: Path) -> None:
    """What waits from now on, and how it goes on."""
    screen.say(f"{report.batch} ({report.source}) waits, and no other batch waits for it. {report.summary}", "yellow")
    screen.say(f"To let it go on: {screen.command(f'quarantine release {report.batch}', workspace)}")
    screen.say(f"To give it up: {screen.command(f'quarantine drop {report.batch}', workspace)}")


def show_drop(told: "Dropped", workspace: Path) -> None:
    """What is gone, and how to get it back."""
    if not told.left:
        screen.say(f"Dropped the entry of {told.batch}. Its refused images stay in the batch, unlearned.")
        _tell_files(told, workspace)
        return
    screen.say(f"Dropped {told.batch}.")
    if told.back:
        screen.say(f"What it corrected, {told.back}, is in quarantine again.")
    batch = f"data/batches/{told.batch}"
    where = "" if workspace == Path.cwd() else f"cd {shlex.quote(screen.place(workspace))} && "
    source = f"dropped/{told.batch}" if told.kept else f"{batch} --rev {told.commit[:12]}"
    screen.say(f"To get it back: {where}dvc get . {source} --out {batch}")
    _tell_files(told, workspace)


def _tell_files(told: "Dropped", workspace: Path) -> None:
    if told.not_taken:
        lie = files_not_taken(told.not_taken, workspace / "quarantine" / told.batch)
        screen.say(f"{lie}, and {'stays' if told.not_taken == 1 else 'stay'} there: Git does not keep such files.")
