"""What validation says to people: one sentence, and a page with pictures.

The page is a single file that needs nothing else: no script, no other host, styles and pictures inside. All that came
with the batch (names, labels, details) is data: escaped here, and made printable where it entered the report. It stays
below three megabytes, whatever the batch: what it shows of images, classes and names is limited.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from records.batch import shortened
from records.experience import Check, Report, Violation
from records.formatting import count_of, plain
from reports.quarantine.chart import chart
from reports.quarantine.style import STYLE

THUMBNAILS = 24
"""Most images that the page shows for one reason."""
MOST_IMAGES = 120
"""Most images that it shows for all reasons together; each reason gets some before any gets more."""
MOST_CLASSES = 200
LONGEST = 160
"""Characters of a name or detail that are shown under a picture."""

CLASSES_SHOWN = 8
"""Of a mask, under its picture."""
UNKNOWN_NAME = "ignored"
"""What the pixels of a mask are called of which nobody knows what they show."""

STATES = {
    "refuse batch": ("stop", "Stops the batch"),
    "refuse image": ("refused", "Refused"),
    "drop": ("dropped", "Left out"),
    "warn": ("warned", "Worth a look"),
}
"""Severity of a check that did not pass, to class and words; in the order of the page."""


@dataclass(frozen=True)
class Picture:
    """An image that the page shows or names."""

    label: str
    path: str
    thumbnail: bytes = b""
    """PNG (shown pixel by pixel) or JPEG; empty if it cannot be decoded, or if there was no room left."""
    colours: Mapping[str, str] = field(default_factory=dict)
    """Of an image that is shown under its mask: what is seen in it to its colour, such as #e69f00."""


@dataclass(frozen=True)
class ClassCount:
    """What became of the images of a class."""

    label: str
    images: int
    admitted: int
    refused: int
    """By a check that found fault with them; the rest of `images` was left out and does not count against the batch."""
    train: int
    validation: int
    test: int
    """Of the admitted ones."""


@dataclass(frozen=True)
class ReportData:
    """What the page shows besides the report."""

    pictures: Mapping[str, Picture] = field(default_factory=dict)
    """By `<batch id>#<row>`: images that are complained of, and those that they resemble."""
    classes: tuple[ClassCount, ...] = ()
    corrects: str = ""
    """Of a correction: the batch whose images these are."""
    accepted: tuple[str, ...] = ()
    """Checks that a person accepted."""
    note: str = ""


NOTHING = ReportData()


def report_html(report: Report, data: ReportData = NOTHING) -> str:
    """The report as one HTML page."""
    verdict = "Admitted" if report.admitted else "Held" if report.held else "Quarantined"
    failed = sorted((check for check in report.checks if not check.passed), key=_rank)
    grave = [check for check in failed if check.severity != "warn"]
    mild = [check for check in failed if check.severity == "warn"]
    shown = _shown(report)
    sections = [_section(check, shown[check.name], report.batch, data) for check in grave]
    warnings = [_section(check, shown[check.name], report.batch, data) for check in mild]
    body = [
        _header(report, verdict, data),
        *sections,
        _classes(data.classes),
        *(["<h2>Worth a look</h2>", *warnings] if warnings else []),
        "<h2>All checks</h2>",
        _table(sorted(report.checks, key=_rank)),
    ]
    title = f"{verdict}: {escape(report.batch)}"
    head = _HEAD.replace("STYLE", STYLE).replace("TITLE", title)
    return shortened(f"{head}<main>\n{chr(10).join(body)}\n</main>\n</body>\n</html>\n")


def shown_violations(report: Report) -> Iterator[Violation]:
    """The images that the page shows, the first of every reason first."""
    shown = _shown(report)
    for place in range(THUMBNAILS):
        yield from (c.violations[place] for c in report.checks if place < shown.get(c.name, 0))


def _shown(report: Report) -> dict[str, int]:
    """How many images are shown for each check that did not pass."""
    failed = sorted((check for check in report.checks if not check.passed), key=_rank)
    shown = dict.fromkeys((check.name for check in failed), 0)
    room = MOST_IMAGES
    for place in range(THUMBNAILS):
        for check in failed:
            if place < len(check.violations) and room > 0:
                shown[check.name] += 1
                room -= 1
    return shown


def _rank(check: Check) -> int:
    return len(STATES) if check.passed else list(STATES).index(check.severity)


# The top: verdict, what to do, how many


def _header(report: Report, verdict: str, data: ReportData) -> str:
    summary = report.summary.removeprefix(f"{verdict}: ")
    return "\n".join(
        (
            f'<header class="{"admitted" if report.admitted else "stop"}"><p class="kind">Validation</p>',
            f'<h1>{verdict}</h1><p class="summary">{escape(summary[:1].upper() + summary[1:])}</p>',
            _counts(report),
            _next(report),
            _facts(report, data),
            "</header>",
        )
    )


def _counts(report: Report) -> str:
    away, faulty = set(report.refused_rows()), set(report.faulty_rows())
    good = "admitted" if report.admitted else "good, but held back"
    parts = (
        ("admitted", good, report.images - len(away)),
        ("refused", "refused", len(faulty)),
        ("dropped", "left out", len(away - faulty)),
    )
    bar = "".join(f'<span class="{kind}" style="flex-grow:{number}"></span>' for kind, _, number in parts if number)
    legend = "".join(f'<li class="{kind}"><b>{number:,}</b> {words}</li>' for kind, words, number in parts if number)
    return f'<div class="bar" aria-hidden="true">{bar}</div>\n<ul class="legend">{legend}</ul>'


def _next(report: Report) -> str:
    sentence, commands = _advice(report)
    rows = "".join(
        f"<li><code>{escape(f'retain quarantine {words}')}</code><span>{escape(what)}</span></li>"
        for words, what in commands
    )
    listed = f'\n<ul class="commands">{rows}</ul>' if rows else ""
    return f'<div class="next"><p><b>What to do</b> {escape(sentence)}</p>{listed}</div>'


def _advice(report: Report) -> tuple[str, tuple[tuple[str, str], ...]]:
    """One sentence, and commands with what they do."""
    name, faulty = report.batch, report.faulty_rows()
    look = (f"show {name} --files DIR", "write the images out, with a manifest to correct")
    if report.admitted:
        if not faulty:
            return "Nothing: the next night learns this batch.", ()
        return (
            f"The batch is learned without {'this image' if len(faulty) == 1 else f'these {len(faulty):,} images'}; "
            "correct and release what is worth it, or drop the entry.",
            (
                look,
                (f"release {name} --manifest DIR/manifest.csv", "release them as corrected"),
                (f"drop {name}", "leave it at that: the images stay in the batch, unlearned"),
            ),
        )
    drop = (f"drop {name}", "take the whole batch out of the archive; its history keeps it")
    if report.held and not faulty:
        again = (f"release {name}", "ask every check again, and let it go on if it passes")
        return "Look at the batch and release it, or drop it; no other batch waits for it.", (again, drop)
    if not faulty or report.misfit:
        again = (f"release {name}", "ask again, after params.yaml or the model has changed")
        return "Mend what stopped the batch and release it, or drop it.", (again, drop)
    return (
        "Look through the images below, then release the batch without them or with corrections, or drop it.",
        (
            (f"release {name} --leave-out refused", "learn the rest of the batch"),
            look,
            (f"release {name} --manifest DIR/manifest.csv", "release it as corrected"),
            drop,
        ),
    )


def _facts(report: Report, data: ReportData) -> str:
    named = (
        ("Batch", report.batch),
        ("Delivered as", report.source),
        ("Images", f"{report.images:,}"),
        ("Corrects", data.corrects),
        ("Accepted by a person", ", ".join(data.accepted)),
        ("Released", data.note),
    )
    terms = (f"<div><dt>{term}</dt><dd><bdi>{escape(plain(v))}</bdi></dd></div>" for term, v in named if v)
    return f"<dl>{''.join(terms)}</dl>"


# One reason, with its images


def _section(check: Check, shown: int, batch: str, data: ReportData) -> str:
    kind, words = STATES[check.severity]
    number = check.note or count_of(check.found)
    tiles = [_tile(violation, batch, data.pictures) for violation in check.violations[:shown]]
    pictured = any("<img" in tile for tile in tiles)
    grid = f'<div class="{"grid" if pictured else "list"}">\n{chr(10).join(tiles)}\n</div>' if tiles else ""
    more = check.found - shown
    rest = f'<p class="more">and {more:,} more</p>' if tiles and more > 0 else ""
    drawn = chart(check.comparison) if check.comparison else ""
    return (
        f'<section class="{kind}">\n<h3>{escape(_title(check.name))} {_badge(kind, words)}'
        f'<span class="number">{escape(number)}</span> <code>{escape(check.name)}</code></h3>\n'
        f"<p>{escape(check.meaning)}</p>\n"
        f'<p class="remedy"><b>What to do</b> {escape(check.remedy)}</p>\n{drawn}{grid}{rest}\n</section>'
    )


def _title(name: str) -> str:
    words = name.replace("-", " ")
    return words[:1].upper() + words[1:]


def _tile(violation: Violation, batch: str, pictures: Mapping[str, Picture]) -> str:
    own, other = pictures.get(f"{batch}#{violation.row}"), pictures.get(violation.like)
    detail = f"<small><bdi>{escape(plain(violation.detail, LONGEST))}</bdi></small>"
    first = _image(own), _caption(violation.path, own)
    if other is None or not other.thumbnail:
        return f"<figure>{first[0]}<figcaption>{first[1]}{detail}</figcaption></figure>"
    where = violation.like.rpartition("#")[0]
    origin = "<small>in the same batch</small>" if where == batch else f"<small>in <bdi>{escape(where)}</bdi></small>"
    second = _image(other), f"{_caption(other.path, other)}{origin}"
    sides = "".join(f'<div>{image}<div class="words">{words}</div></div>' for image, words in (first, second))
    return f'<figure class="pair"><div>{sides}</div><figcaption>{detail}</figcaption></figure>'


def _caption(path: str, picture: Picture | None) -> str:
    return f'<bdi class="path">{escape(plain(path, LONGEST))}</bdi>{_label(picture)}'


def _label(picture: Picture | None) -> str:
    if picture is None:
        return ""
    if not picture.colours:
        return f' <span class="label"><bdi>{escape(plain(picture.label, 60))}</bdi></span>'
    names = list(picture.colours)[:CLASSES_SHOWN]
    more = len(picture.colours) - len(names)
    rest = f' <span class="label">and {more} more</span>' if more else ""
    return "".join(_key(name, picture.colours[name]) for name in names) + rest


def _key(name: str, colour: str) -> str:
    striped = ' class="striped"' if name == UNKNOWN_NAME else ""
    dot = f'<i{striped} style="background-color:{colour}"></i>'
    return f' <span class="label">{dot}<bdi>{escape(plain(name, 40))}</bdi></span>'


def _image(picture: Picture | None) -> str:
    if picture is None or not picture.thumbnail:
        return '<div class="blank">no picture</div>'
    kind = "png" if picture.thumbnail.startswith(b"\x89PNG") else "jpeg"
    return f'<img alt="" class="{kind}" src="data:image/{kind};base64,{base64.b64encode(picture.thumbnail).decode()}">'


# Tables


def _classes(classes: Sequence[ClassCount]) -> str:
    if not classes:
        return ""
    rows = "".join(map(_class_row, classes[:MOST_CLASSES]))
    head = "<tr><th>Class</th><th>Images</th><th>Good</th><th>Refused</th><th>To train</th><th>To test</th></tr>"
    more = len(classes) - MOST_CLASSES
    rest = f'<p class="more">and {more:,} smaller classes</p>' if more > 0 else ""
    return (
        f'<h2>Classes</h2>\n<div class="wide"><table class="numbers">\n<thead>{head}</thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table></div>{rest}"
    )


def _class_row(count: ClassCount) -> str:
    marked = ' class="refused"' if count.refused else ""
    return (
        f"<tr><td><bdi>{escape(plain(count.label, 80))}</bdi></td><td>{count.images:,}</td><td>{count.admitted:,}</td>"
        f"<td{marked}>{count.refused:,}</td><td>{count.train:,}</td><td>{count.test:,}</td></tr>\n"
    )


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
STYLE</style>
</head>
<body>
"""
