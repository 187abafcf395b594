"""What a person sees of a night and of a workspace, in words."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from flows.terminal import screen
from flows.terminal.tables import COLOURS, NONE, SHORT, WORDS, coloured, files_not_taken, show_matrix, word
from records.batch import called
from records.experience import Report
from records.formatting import in_percent
from records.registration import Night
from records.score_names import ACCURACY, written
from records.verdict import Finding, Verdict

if TYPE_CHECKING:
    from records.runs import RunFacts
    from tasks.quarantine.export import Written
    from tasks.quarantine.release import Dropped, Released
    from tasks.queries.status import Status

FIRST = 3
"""Images of a check that the terminal names."""


def lost(finding: Finding | None) -> str:
    """An estimate and its bounds. A loss below zero is shown as zero, or as gained if that is certain."""
    if finding is None:
        return NONE
    if finding.upper < 0:
        return f"gained {in_percent(-finding.estimate)}"
    least, most = (f"{max(bound, 0) * 100:.1f}" for bound in (finding.lower, finding.upper))
    return f"{in_percent(max(finding.estimate, 0))} [{least}, {most}]"


def learned(verdict: Verdict | None) -> str:
    """Score on what is new: the lowest of the new experiences."""
    new = [f.estimate for f in verdict.findings if f.question == "learned"] if verdict else []
    return in_percent(min(new)) if new else NONE


def outcome(night: Night) -> str:
    """The outcome of a night in one word; a night whose every batch failed validation was one of quarantine."""
    return "quarantined" if night.verdict is None and night.quarantined else night.outcome


# One line a night

COLUMNS = (("night", 5), ("delivery", 21), ("learned", 7), ("forgotten", 18), ("taken", 6), ("verdict", 12),
           ("version", 7), ("seconds", 7))  # fmt: skip
LEGEND = (
    "learned: score on the new images. forgotten: lost on earlier test images even when only the classes known then "
    "are considered [at least, at most]. taken: lost to new classes."
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
        in_percent(max(taken.estimate, 0) if taken else None), outcome(night), f"v{version}" if version else NONE,
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
        screen.print_field(
            "ingested", f"{arrival.batch.id}: {images} of {arrival.delivery or arrival.batch.source}{known}"
        )
        aside = workspace / "quarantine" / arrival.batch.id / "files"
        if aside.exists():
            screen.print_field("", f"Files that were sent with it and are in no batch: {screen.place(aside)}")
    for name, reason in night.unreadable.items():
        screen.print_field("not taken", f"{name} stays in the inbox: {reason}", "yellow")
    for name, sentence in night.waiting.items():
        screen.print_field("waits", f"{name} {sentence}", "yellow")
    for report in night.quarantined:
        _show_quarantined("held" if report.held else "quarantined", report, workspace)
    for report in night.refusals:
        _show_quarantined("refused", report, workspace)
    for batch in night.learned:
        screen.print_field("learned", batch)
    if night.scores is not None:
        screen.say()
        version = night.registration.version if night.registration else None
        show_matrix(night.scores, version, night.deliveries)
        screen.say()
    screen.say(night.sentence(), COLOURS.get(outcome(night), ""))
    if night.registration is not None and night.outcome == "inconclusive":
        say_approve(night.registration.run, workspace)
    screen.say(f"{night.seconds:.1f} seconds", "dim")


def _show_quarantined(label: str, report: Report, workspace: Path) -> None:
    part = f": {_images(report)} of {report.images:,}" if report.admitted else ""
    colour = "" if report.admitted else COLOURS["held" if report.held else "quarantined"]
    screen.print_field(label, f"{report.batch} ({report.source}){part}", colour)
    screen.print_field("", report.summary)
    screen.print_field("", screen.place(workspace / "quarantine" / report.batch / "report.html"))


def _images(report: Report) -> str:
    return screen.count(len(report.faulty_rows()), "image")


def show_reasons(label: str, night: Night) -> None:
    """Why a night made no version, as a line under `label`."""
    reasons = [report.summary for report in night.quarantined] + ([night.sentence()] if night.verdict else [])
    reasons += [f"{name}: {why}" for name, why in night.unreadable.items()]
    for reason in reasons + [f"{name} {sentence}" for name, sentence in night.waiting.items()]:
        screen.print_field(label, reason, COLOURS.get(outcome(night), ""))


def say_approve(run: str, workspace: Path) -> None:
    """How a person lets a run in that waits for one."""
    screen.say(f"To approve it manually: {screen.command(f'approve {run[:SHORT]}', workspace)}")


# Between nights


def show_status(status: "Status", workspace: Path) -> None:
    """Champion, what it learned, the last night, what waits, quarantine, and what to do next."""
    if status.champion is None:
        screen.say(f"{status.model} has no version yet.", "bold")
    else:
        champion, average = (
            f"v{status.champion.number}",
            _average(status.champion.run),
        )
        experiences = screen.count(len(status.learned), "experience")
        classes = screen.count(len(status.classes), "class", "classes")
        screen.say(
            f"{status.model} {champion} is the champion: {average} on average over {experiences}, {classes}.", "bold"
        )
    screen.say()
    if status.champion is not None:
        screen.print_field("registered", f"{status.champion.created:%Y-%m-%d %H:%M} UTC")
        if status.rollback is not None:
            screen.print_field("rollback", status.rollback.sentence(), COLOURS["rolled back"])
        screen.print_field("classes", screen.listed(status.classes))
        last = f"{screen.count(len(status.learned), 'batch', 'batches')}, {status.learned[-1]} the last"
        screen.print_field("learned", last if len(status.learned) > 1 else screen.listed(status.learned))
    if status.last is not None:
        _show_last_night(status.last, status.deliveries)
        if status.last.waits and not status.approvable:
            screen.print_field("", _built_on_another(status.last.parent))
    screen.print_field("inbox", screen.listed(status.inbox))
    for name, sentence in status.waiting.items():
        screen.print_field("", f"{name} {sentence}", "yellow")
    screen.print_field("pending", screen.listed(status.pending))
    if not status.quarantine:
        screen.print_field("quarantine", "nothing")
    for number, report in enumerate(status.quarantine):
        _show_quarantined("" if number else "quarantine", report, workspace)
    for number, report in enumerate(status.held):
        _show_quarantined("" if number else "held", report, workspace)
    for number, report in enumerate(status.refused):
        _show_quarantined("" if number else "refused", report, workspace)
    screen.say()
    if status.quarantine or status.held or status.refused:
        screen.say(f"To look at what was refused, and decide: {screen.command('quarantine list', workspace)}")
    if status.approvable and status.last is not None:
        say_approve(status.last.run, workspace)
    screen.say(_next(status, workspace))


def _average(run: "RunFacts") -> str:
    name = "" if run.score_name == ACCURACY else f"{written(run.score_name)} "
    return f"{name}{in_percent(run.average)}"


def _built_on_another(parent: int) -> str:
    version = f"v{parent}, which is not the champion" if parent else "no version, and there is one"
    return f"It was learned on top of {version} now; the next night learns its data again."


def _show_last_night(run: "RunFacts", names: Mapping[str, str]) -> None:
    became = f" as v{run.version}" if run.version else ""
    line = Text(f"{run.ended:%Y-%m-%d %H:%M} UTC: ").append_text(coloured(word(run))).append(became)
    if run.left is not None:
        line.append(", ").append_text(coloured("rolled back")).append(" since")
    screen.print_field("last night", line)
    screen.print_field("", called(run.reason, names))
    if run.approved_by:
        note = f": {run.approval_note}" if run.approval_note else ""
        screen.print_field("", f"Approved by {run.approved_by}{note}")


def _next(status: "Status", workspace: Path) -> str:
    inbox = screen.place(workspace / "inbox")
    if not status.inbox and not status.pending:
        night = screen.command("night", workspace)
        return f"Nothing to learn. Put images below {inbox}/{_layout(status)}, then run `{night}`."
    parts = []
    if status.inbox:
        parts.append(f"take {screen.count(len(status.inbox), 'delivery', 'deliveries')}")
    if status.beginning is not None and not status.inbox:
        inbox = screen.place(workspace / "inbox")
        return f"No version yet: {status.beginning.sentence()} Put them below {inbox}/{_layout(status)}."
    if status.pending:
        parts.append(f"learn {screen.count(len(status.pending), 'pending batch', 'pending batches')}")
    return f"The next night will {' and '.join(parts)}: {screen.command('night', workspace)}"


def _layout(status: "Status") -> str:
    """What a delivery looks like below the inbox."""
    masks = status.problem == "segmentation"
    return "<delivery>/, with images/, masks/ and classes.txt" if masks else "<delivery>/<class>/"


# Quarantine


def show_report(report: Report, workspace: Path, not_taken: int = 0, fits: bool = True) -> None:
    """What did not pass, the first images of each check, and what can be done.

    `not_taken`: how many files of the delivery are in no batch. `fits`: whether its images come with what the problem
    needs; else no release can help.
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
    screen.print_field("pictures", screen.place(workspace / "quarantine" / report.batch / "report.html"))
    if not_taken:
        screen.print_field("", f"{files_not_taken(not_taken, workspace / 'quarantine' / report.batch)}.")
    if not report.admitted and fits:
        choice = " --leave-out refused" if report.faulty_rows() else ""
        screen.print_field("release", screen.command(f"quarantine release {report.batch}{choice}", workspace))
    elif report.admitted:
        screen.print_field("correct", screen.command(f"quarantine show {report.batch} --files DIR", workspace))
    screen.print_field("give up", screen.command(f"quarantine drop {report.batch}", workspace))


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
        what = "Delete lines" if written.again else "Delete lines, change labels"
        screen.say(f"{what}, then: {screen.command(words, workspace)}")
    if written.again:
        screen.say(f"To correct masks, mend those in {screen.place(folder / 'again')} and deliver that folder.")


def show_release(released: "Released", workspace: Path) -> None:
    """Whether what was released is pending now."""
    corrected = released.batch != released.entry
    if released.finished:
        screen.say(
            f"An interrupted release had corrected {released.entry} already; it is finished, and nothing else done."
        )
    if corrected:
        screen.say(
            f"{released.entry} is corrected as {released.batch}: {screen.count(released.report.images, 'image')}."
        )
    if released.waiting:
        one = released.waiting == 1
        screen.say(
            f"{screen.count(released.waiting, 'refused image')} of {released.entry} {'is' if one else 'are'} not in it "
            f"and {'stays' if one else 'stay'} in quarantine."
        )
    if released.report.admitted:
        without = f", without {_images(released.report)} that stay here" if released.report.faulty_rows() else ""
        screen.say(f"Released: the next night learns {released.batch}{without}.", "green")
        screen.say(released.report.summary)
        return
    where = "held" if released.report.held else "in quarantine"
    screen.say(f"{released.batch} {'is' if corrected else 'stays'} {where}.", COLOURS["quarantined"])
    screen.say(released.report.summary)
    screen.say(f"Why: {screen.command(f'quarantine show {released.batch}', workspace)}")


def show_hold(report: Report, workspace: Path) -> None:
    """What waits from now on, and how it goes on."""
    screen.say(f"{report.batch} ({report.source}) waits, and no other batch waits for it. {report.summary}", "yellow")
    screen.say(f"To let it go on: {screen.command(f'quarantine release {report.batch}', workspace)}")
    screen.say(f"To give it up: {screen.command(f'quarantine drop {report.batch}', workspace)}")


def show_drop(dropped: "Dropped", workspace: Path) -> None:
    """What is gone, and how to get it back."""
    if not dropped.left:
        screen.say(f"Dropped the entry of {dropped.batch}. Its refused images stay in the batch, unlearned.")
        _show_files(dropped, workspace)
        return
    screen.say(f"Dropped {dropped.batch}.")
    if dropped.back:
        screen.say(f"What it corrected, {dropped.back}, is in quarantine again.")
    batch = f"data/batches/{dropped.batch}"
    where = "" if workspace == Path.cwd() else f"cd {shlex.quote(screen.place(workspace))} && "
    source = f"dropped/{dropped.batch}" if dropped.kept else f"{batch} --rev {dropped.commit[:12]}"
    screen.say(f"To get it back: {where}dvc get . {source} --out {batch}")
    _show_files(dropped, workspace)


def _show_files(dropped: "Dropped", workspace: Path) -> None:
    if dropped.not_taken:
        lie = files_not_taken(dropped.not_taken, workspace / "quarantine" / dropped.batch)
        screen.say(f"{lie}, and {'stays' if dropped.not_taken == 1 else 'stay'} there: Git does not keep such files.")
