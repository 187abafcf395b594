"""What the data gate says to people: one sentence, and a page with pictures.

The page is a single file that needs nothing else: no script, no other host, styles and pictures inside. All that came
with the batch (names, labels, details) is data: escaped here, and made printable where it entered the report.
"""

import base64
from collections.abc import Mapping, Sequence
from html import escape

from records.experience import Check, Complaint, Report
from tasks.gate.words import count_of, percent

THUMBNAILS = 24
"""Most images that the page shows for one reason."""

STATES = {
    "refuse batch": ("stop", "Stops the batch"),
    "refuse image": ("refused", "Refused"),
    "drop": ("dropped", "Left out"),
    "warn": ("warned", "Worth a look"),
}
"""Severity of a check that did not pass, to class and words; in the order in which the page tells of them."""


def summary(
    images: int,
    refused: Mapping[str, int],
    dropped: Mapping[str, int],
    limit: float | None = None,
    lacks: Sequence[str] = (),
) -> str:
    """One sentence about a batch of `images` images.

    `refused` and `dropped` say for what reason how many were left out: `{"12 truncated": 12}`. It is quarantined if a
    `limit` is given (the share 0..1 that the refused ones exceed), or if `lacks` says what there is too little of.
    """
    bad = sum(refused.values())
    if limit is not None:
        told = f"{bad} of {count_of(images)} ({percent(bad / images, limit)}) {'was' if bad == 1 else 'were'} refused"
        return f"Quarantined: {told}, more than the {100 * limit:.4g}% allowed: {', '.join(refused)}."
    away = [f"{bad} ({percent(bad / images)}) refused: {', '.join(refused)}"] if refused else []
    away += [f"{sum(dropped.values())} left out: {', '.join(dropped)}"] if dropped else []
    if lacks:
        return f"Quarantined: {'; '.join([*lacks, *away])}."
    left = images - bad - sum(dropped.values())
    whole = count_of(images)
    return f"Admitted: {'; '.join([f'all {whole}' if left == images else f'{left} of {whole}', *away])}."


def report_html(report: Report, thumbnails: Mapping[int, bytes]) -> str:
    """The report as one HTML page. `thumbnails` maps rows of the batch to PNG files; other rows are told in words.

    At most `THUMBNAILS` images are shown for a reason, so no more than the first so many of each check are needed.
    """
    verdict = "Admitted" if report.admitted else "Quarantined"
    checks = sorted(report.checks, key=_rank)
    told = report.summary.removeprefix(f"{verdict}: ")
    body = [
        f'<header class="{"admitted" if report.admitted else "stop"}"><p class="kind">Data gate</p>',
        f'<h1>{verdict}</h1><p class="summary">{escape(told[:1].upper() + told[1:])}</p>',
        _facts(report),
        "</header>",
        *(_section(check, thumbnails) for check in checks if not check.passed),
        "<h2>All checks</h2>",
        _table(checks),
    ]
    title = f"{verdict}: {escape(report.batch)}"
    return f"{_HEAD.replace('TITLE', title)}<main>\n{chr(10).join(body)}\n</main>\n</body>\n</html>\n"


def _rank(check: Check) -> int:
    return len(STATES) if check.passed else list(STATES).index(check.severity)


def _facts(report: Report) -> str:
    away = set(report.refused_rows())
    refused = {c.row for check in report.checks if check.severity == "refuse image" for c in check.complaints}
    good = "good" if report.admitted else "good, but held back"
    parts = [("admitted", good, report.images - len(away)), ("refused", "refused", len(refused))]
    parts.append(("dropped", "left out", len(away - refused)))
    bar = "".join(f'<span class="{kind}" style="flex-grow:{number}"></span>' for kind, _, number in parts if number)
    legend = "".join(f'<li class="{kind}"><b>{number:,}</b> {words}</li>' for kind, words, number in parts)
    named = (("Batch", report.batch), ("Delivered as", report.source), ("Images", f"{report.images:,}"))
    terms = "".join(f"<div><dt>{term}</dt><dd><bdi>{escape(value)}</bdi></dd></div>" for term, value in named)
    return f'<div class="bar" aria-hidden="true">{bar}</div>\n<ul class="legend">{legend}</ul>\n<dl>{terms}</dl>'


def _section(check: Check, thumbnails: Mapping[int, bytes]) -> str:
    kind, words = STATES[check.severity]
    number = check.note or count_of(check.found)
    shown = check.complaints[:THUMBNAILS]
    more = check.found - len(shown)
    tiles = "\n".join(_tile(complaint, thumbnails.get(complaint.row)) for complaint in shown)
    pictures = any(complaint.row in thumbnails for complaint in shown)
    grid = f'<div class="{"grid" if pictures else "list"}">\n{tiles}\n</div>' if shown else ""
    rest = f'<p class="more">and {more:,} more</p>' if shown and more > 0 else ""
    return (
        f'<section class="{kind}">\n<h2><code>{escape(check.name)}</code> {_badge(kind, words)}'
        f'<span class="number">{escape(number)}</span></h2>\n<p>{escape(check.meaning)}</p>\n'
        f'<p class="remedy"><b>What to do</b> {escape(check.remedy)}</p>\n{grid}{rest}\n</section>'
    )


def _tile(complaint: Complaint, png: bytes | None) -> str:
    if png is None:
        picture = '<div class="blank">no picture</div>'
    else:
        picture = f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'
    path, detail = escape(complaint.path), escape(complaint.detail)
    return f"<figure>{picture}<figcaption><bdi>{path}</bdi><small><bdi>{detail}</bdi></small></figcaption></figure>"


def _table(checks: Sequence[Check]) -> str:
    head = "<tr><th>Result</th><th>Check</th><th>Found</th><th>What is looked for</th></tr>"
    rows = "".join(map(_row, checks))
    return f'<div class="wide"><table>\n<thead>{head}</thead>\n<tbody>\n{rows}</tbody>\n</table></div>'


def _row(check: Check) -> str:
    kind, words = ("passed", "Passed") if check.passed else STATES[check.severity]
    found = check.note or (count_of(check.found) if check.found else "none")
    cells = f"<td><code>{escape(check.name)}</code></td><td>{escape(found)}</td><td>{escape(check.meaning)}</td>"
    return f"<tr><td>{_badge(kind, words)}</td>{cells}</tr>\n"


def _badge(kind: str, words: str) -> str:
    return f'<span class="badge {kind}">{words}</span>'


_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TITLE</title>
<style>
:root { color-scheme: light dark; --page: #f5f6f8; --card: #fff; --ink: #1c2430; --soft: #5d6878; --line: #dfe3e9;
  --good: #1f7a4d; --stop: #b3261e; --refused: #c2410c; --dropped: #64748b; --warned: #94690a; --tile: #eceff3; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b2129; --ink: #e7ebf0; --soft: #98a4b3;
  --line: #2d3641; --good: #5cc795; --stop: #ff8a80; --refused: #ff9e6b; --dropped: #9fb0c4; --warned: #e2b84d;
  --tile: #262e38; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
header, section, .wide { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
header { padding: 1.75rem 2rem; border-top: 5px solid var(--good); }
header.stop { border-top-color: var(--stop); }
.kind { margin: 0; color: var(--soft); font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; }
h1 { margin: .1rem 0 .4rem; font-size: 2.1rem; line-height: 1.2; color: var(--good); }
.stop h1 { color: var(--stop); }
.summary { margin: 0 0 1.25rem; font-size: 1.15rem; max-width: 52rem; }
.bar { display: flex; gap: 2px; height: 12px; border-radius: 6px; overflow: hidden; }
.bar span { flex-basis: 4px; }
.bar .admitted { background: var(--good); } .bar .refused { background: var(--refused); }
.bar .dropped { background: var(--dropped); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: .6rem 0 1.25rem; padding: 0; list-style: none; }
.legend li::before { content: ""; display: inline-block; width: .7em; height: .7em; margin-right: .45em;
  border-radius: 2px; }
.legend .admitted::before { background: var(--good); } .legend .refused::before { background: var(--refused); }
.legend .dropped::before { background: var(--dropped); }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; margin: 0; padding-top: 1rem;
  border-top: 1px solid var(--line); }
dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; overflow-wrap: anywhere; }
section { margin-top: 1rem; padding: 1.25rem 2rem 1.5rem; }
main > h2 { margin: 2.25rem 0 .75rem; }
h2 { margin: 0; font-size: 1.15rem; }
section h2 { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem .75rem; }
section p { margin: .5rem 0; max-width: 52rem; }
.number { color: var(--soft); font-weight: 400; }
code { font: .95em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.badge { display: inline-block; padding: .05rem .6rem; border: 1px solid currentColor; border-radius: 99px;
  font-size: .8rem; font-weight: 600; white-space: nowrap; color: var(--good); }
.badge.stop { color: var(--stop); } .badge.refused { color: var(--refused); }
.badge.dropped { color: var(--dropped); } .badge.warned { color: var(--warned); }
.remedy { padding: .55rem .9rem; border-left: 3px solid var(--line); background: var(--page); }
.remedy b { margin-right: .5em; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 1rem; margin-top: 1.1rem; }
figure { margin: 0; min-width: 0; }
figure img, .blank { display: block; width: 100%; aspect-ratio: 1; border-radius: 6px; background: var(--tile); }
figure img { object-fit: contain; image-rendering: pixelated; }
.blank { display: grid; place-items: center; border: 1px dashed var(--line); color: var(--soft); font-size: .85rem; }
figcaption { margin-top: .35rem; font-size: .85rem; line-height: 1.35; overflow-wrap: anywhere; }
figcaption bdi, small { display: block; } small { color: var(--soft); font-size: .8rem; }
figcaption bdi { max-height: 8em; overflow: auto; }
.list { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 0 2rem; margin-top: .8rem; }
.list .blank { display: none; }
.list figcaption { margin: 0; padding: .35rem 0; border-bottom: 1px solid var(--line); }
.more { color: var(--soft); }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; }
th, td { padding: .6rem .9rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; } tr:last-child td { border-bottom: 0; }
td code { white-space: nowrap; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
</style>
</head>
<body>
"""
