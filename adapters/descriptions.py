"""What MLflow's pages say in words of a model, of its versions and of a night, in markdown.

The part that retain writes comes first; what a person wrote below a rule stays.
"""

import re
from collections.abc import Collection, Mapping, Sequence

from records.batch import called, titles
from records.formatting import in_percent, listed
from records.runs import NightFacts, Rollback, RunFacts, VersionFacts
from records.score_names import ACCURACY, labelled, written
from records.scores import ScoreMatrix, ScoreRow
from records.verdict import Finding, Verdict

RULE = "\n\n---\n\n"
"""Below it stands what a person wrote."""
NOT_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>()#+!|~"})
SHOWN = 5
"""Things of a kind that are named."""
LENGTH = 4500
"""Characters of ours: MLflow's databases keep 5,000."""
WORST = "worst_masks.png"
"""A picture of test images, which a night of masks has."""
WAS_LEFT = "**Rolled back.**"


def of_model(
    versions: Sequence[VersionFacts], champion: int, line: Collection[int], rollbacks: Sequence[Rollback]
) -> str:
    """Which version is the champion and why, how it came to be, and what is not in its line although it was once."""
    by_number = {version.number: version for version in versions}
    lines = [f"**v{champion} is the champion**{_scored(by_number.get(champion))}. The alias `champion` names it."]
    if champion in by_number:
        names = {batch: name for v in versions for batch, name in v.run.names.items()}
        lines += ["", f"Why: {_why(by_number[champion].run, names)}"]
    if rollbacks and rollbacks[0].to in (0, champion):
        lines += ["", f"It is the champion because a person wished so: {plain(rollbacks[0].sentence())}."]
    left_versions = sorted((v for v in versions if v.rolled_back and v.number not in line), key=lambda v: -v.number)
    if left_versions:
        lines += ["", "Not in its line:", "", *(_left(v, by_number.get(champion)) for v in left_versions[:SHOWN])]
    lines += ["", "| version | day | learned | average | |", "| --- | --- | --- | --- | --- |"]
    recent = sorted((by_number[number] for number in line), key=lambda v: -v.number)[: 2 * SHOWN]
    return _cut([*lines, *map(_row, recent)])


def of_version(night: str, facts: RunFacts) -> str:
    """Of a version, which the description of its night says all of, but who let it in."""
    if not facts.approved_by:
        return night
    note = f": {plain(facts.approval_note)}" if facts.approval_note else ""
    return _cut([f"**Approved by {plain(facts.approved_by)}**{note}", "", night])


def with_rollback(before: str, left: Rollback | None) -> str:
    """A version's description, beginning with the rollback that it was left by, if it was."""
    description = before.partition("\n\n")[2] if before.startswith(WAS_LEFT) else before
    return f"{WAS_LEFT} The model was {plain(left.sentence())}.\n\n{description}"[:4999] if left else description


def of_night(facts: NightFacts, matrix: ScoreMatrix, verdict: Verdict, pictures: Collection[str] = ()) -> str:
    """Why the candidate was accepted or not, what it learned, and what it lost. `pictures`: files of the run's."""
    shown = titles({e: facts.deliveries.get(e, e) for e in matrix.experiences})
    new = [plain(called(shown[batch], {})) for batch in facts.batches]
    classes = f", new classes {listed([plain(name) for name in facts.new_classes], SHOWN)}" if facts.new_classes else ""
    strategy = facts.params.get("update.strategy.name")
    summary = [
        plain(called(verdict.reason, facts.deliveries), 1200),
        "",
        f"Learned **{listed(new, SHOWN)}**: {facts.images:,} new images{classes}; "
        f"{f'on top of v{facts.parent}' if facts.parent else 'the first version'}"
        f"{f', by `{strategy}`' if strategy else ''}.",
        "",
    ]
    if WORST in pictures:
        summary += [f"Test images that lost most, or else were answered worst, are in `{WORST}`, under Artifacts.", ""]
    return _cut([*summary, *_scores(matrix, facts.parent, shown), "", *_answers(verdict, shown, facts.deliveries)])


def beside_theirs(ours: str, before: str) -> str:
    """A new description, with what a person wrote into the one before."""
    is_ours = re.match(r"\*\*v\d+ is the champion|Kept by retain;", before)
    theirs = before.partition(RULE)[2] if is_ours else before
    return f"{ours}{RULE}{theirs}" if theirs else ours


def plain(text: str, most: int = 400) -> str:
    """Text on one line, without markdown: what people and senders wrote means nothing here."""
    words = " ".join(text.split())
    return (words if len(words) <= most else f"{words[:most]}…").translate(NOT_MARKDOWN)


def _scores(matrix: ScoreMatrix, parent: int, shown: dict[str, str]) -> list[str]:
    """The score on what is new and on what was learned before, beside the parent's."""
    before = next((row for row in matrix.rows[:-1] if row.version == f"v{parent}"), None)
    rows = [(f"all {len(matrix.experiences)} deliveries, on average", matrix.experiences)]
    if matrix.past:
        rows += [(f"the {len(matrix.past)} learned before", matrix.past)]
    rows += [(f"new: {plain(called(shown[e], {}))}", (e,)) for e in matrix.new[:SHOWN]]
    header = [f"| {labelled(matrix.score_name)} | {f'v{parent}' if before else ''} | now |", "| --- | --- | --- |"]
    return header + [f"| {what} | {_mean(before, of)} | {_mean(matrix.candidate, of)} |" for what, of in rows]


def _mean(row: ScoreRow | None, of: Sequence[str]) -> str:
    if row is None or not of or any(e not in row.scores for e in of):
        return "–"
    return in_percent(sum(row.scores[e].overall for e in of) / len(of))


ASKED = {"forgotten": "forgotten", "taken": "taken by new classes", "learned": "learned"}


def _answers(verdict: Verdict, shown: Mapping[str, str], names: Mapping[str, str]) -> list[str]:
    """What the gate asked, of the mean, of what is new, and of all that did not pass."""
    findings = [f for f in verdict.findings if f.subject == "mean" or f.question == "learned" or f.decision != "accept"]
    if not findings:
        return []
    header = ["| the gate asked | measured | certainly between | limit |", "| --- | --- | --- | --- |"]
    return header + [f"| {_question(f, shown, names)} | {_measured(f)} |" for f in findings[: 2 * SHOWN]]


def _question(f: Finding, shown: Mapping[str, str], names: Mapping[str, str]) -> str:
    if f.subject == "mean":
        return f"{ASKED[f.question]}, on average"
    of = called(shown[f.subject], {}) if f.subject in shown else called(f.subject, names)
    return f"{ASKED[f.question]}, {plain(of)}"


def _measured(f: Finding) -> str:
    least = "at least" if f.question == "learned" else "at most"
    bounds = f"{in_percent(max(f.lower, 0))} and {in_percent(f.upper)}"
    return f"{in_percent(max(f.estimate, 0))} | {bounds} | {least} {in_percent(f.limit)}"


def _scored(version: VersionFacts | None) -> str:
    if version is None or version.run.average is None:
        return ""
    number = version.run.metrics.get("experiences")
    over = f" over {number:.0f} {'delivery' if number == 1 else 'deliveries'}" if number else ""
    if version.run.score_name != ACCURACY:
        return f", {written(version.run.score_name)} {in_percent(version.run.average)} on average{over}"
    return f", {in_percent(version.run.average)} right on average{over}"


def _row(version: VersionFacts) -> str:
    average = in_percent(version.run.average)
    return f"| v{version.number} | {_day(version.run)} | {_learned(version.run)} | {average} | {_word(version.run)} |"


def _left(version: VersionFacts, champion: VersionFacts | None) -> str:
    mine, its = ((v and v.run.average) or 0.0 for v in (version, champion))
    higher = f", a higher score than v{champion.number}'s" if champion and mine > its else ""
    why = f": {plain(version.run.left.sentence())}" if version.run.left else ""
    return f"- v{version.number}{_scored(version)}{higher}{why}"


def _why(run: RunFacts, names: Mapping[str, str]) -> str:
    reason = plain(called(run.reason, names), 1200)
    return f"approved by {plain(run.approved_by)}, though the gate said: {reason}" if run.approved_by else reason


def _day(run: RunFacts) -> str:
    return str(run.day or run.ended.date())


def _learned(run: RunFacts) -> str:
    return plain(listed(run.deliveries or [called(batch, {}) for batch in run.batches], SHOWN))


def _word(run: RunFacts) -> str:
    return f"approved by {plain(run.approved_by)}" if run.approved_by else "accepted"


def _cut(lines: Sequence[str]) -> str:
    """As many whole lines as MLflow's databases have room for."""
    text = ""
    for line in lines:
        if len(text) + len(line) >= LENGTH:
            break
        text += f"{line}\n"
    return text.rstrip("\n")
