import base64
import re
import struct
import zlib
from html.parser import HTMLParser

import pytest

from records.experience import Check, Complaint, Report
from tasks.gate.report import THUMBNAILS, percent, plain, report_html, summary


def png(grey):
    """One pixel."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes([0, grey]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def check(name="file-truncated", rows=(), found=None, severity="refuse image", **values):
    complaints = tuple(Complaint(row=row, path=f"cat/{row}.png", detail=f"detail {row}") for row in rows)
    values = {"complaints": complaints, "meaning": f"meaning of {name}.", "remedy": f"remedy of {name}.", **values}
    found = len(rows) if found is None else found
    return Check(name=name, severity=severity, passed=not found, found=found, **values)


def report(*checks, admitted=True, **values):
    values = {"batch": "2026-01-05-3f2a9c1b", "source": "monday", "images": 200, "summary": "A sentence.", **values}
    return Report(admitted=admitted, checks=checks, **values)


class Page(HTMLParser):
    """Its tags, its text and its pictures; tags that are opened are closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.text, self.pictures = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(base64.b64decode(dict(attributes)["src"].removeprefix("data:image/png;base64,")))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_names_verdict_reason_image_and_remedy():
    html = report_html(
        report(check(rows=(3, 5)), check("format"), check("duplicate", (7,), severity="drop"), admitted=False),
        {3: png(0), 5: png(255)},
    )
    page = Page(html)
    text = " ".join(page.text)
    assert page.open == []
    assert "Quarantined: 2026-01-05-3f2a9c1b" in page.text
    for told in ("A sentence.", "monday", "cat/3.png", "detail 5", "meaning of format.", "remedy of file-truncated."):
        assert told in text
    assert "remedy of format." not in text
    assert page.pictures == [png(0), png(255)]
    assert page.text.count("no picture") == 1


def test_the_page_needs_nothing_from_outside_and_runs_nothing():
    html = report_html(report(check(rows=(3,))), {3: png(9)})
    assert set(Page(html).tags).isdisjoint({"script", "link", "iframe", "object", "base", "form"})
    assert not re.search(r"https?:|//|url\(|@import|\bon\w+=", re.sub(r"base64,[^\"]*", "", html))
    assert "default-src 'none'" in html


def test_what_came_with_the_batch_is_escaped():
    attack = "\"'><script>alert(1)</script>&amp;<img src=x onerror=alert(1)>"
    complaint = Complaint(row=0, path=f"{attack}.png", detail=f"labelled {attack}")
    faults = check(name=attack, found=1, complaints=(complaint,), meaning=attack, remedy=attack, note=attack)
    page = Page(report_html(report(faults, source=attack, batch=attack, summary=attack), {}))
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.text.count(attack) >= 7
    assert f"{attack}.png" in page.text
    assert f"labelled {attack}" in page.text


def test_a_title_is_not_replaced_within_the_batch():
    assert "TITLE" in Page(report_html(report(batch="TITLE"), {})).text


@pytest.mark.parametrize(
    ("found", "shown", "more"),
    [(THUMBNAILS, THUMBNAILS, None), (THUMBNAILS + 1, THUMBNAILS, "and 1 more"), (1154, THUMBNAILS, "and 1,130 more")],
)
def test_a_page_shows_the_first_images_of_each_reason(found, shown, more):
    page = Page(report_html(report(check(rows=range(found)), images=2000), dict.fromkeys(range(found), png(1))))
    assert len(page.pictures) == shown
    assert [text for text in page.text if text.endswith(" more")] == ([more] if more else [])


def test_what_stops_the_batch_is_told_first_and_what_passed_last():
    checks = [check("passes"), check("warns", (1,), severity="warn"), check("drops", (2,), severity="drop")]
    checks += [check("refuses", (3,)), check("stops", found=1, severity="refuse batch", note="3 too many")]
    names = [text for text in Page(report_html(report(*checks), {})).text if text in {c.name for c in checks}]
    assert names == ["stops", "refuses", "drops", "warns", "stops", "refuses", "drops", "warns", "passes"]


def test_a_headline_is_not_said_twice():
    page = Page(report_html(report(summary="Admitted: all 200 images."), {}))
    assert "All 200 images." in page.text


def test_a_good_batch_shows_its_checks_alone():
    page = Page(report_html(report(check("format"), check("refused-share", note="0 of 200 images (0%)")), {}))
    assert "section" not in page.tags
    assert page.text.count("Passed") == 2
    assert "Admitted: 2026-01-05-3f2a9c1b" in page.text


SENTENCES = {
    "all": ((120, {}, {}), {}, "Admitted: all 120 images."),
    "one": ((1, {}, {}), {}, "Admitted: all 1 image."),
    "some": (
        (120, {"1 truncated": 1, "1 not an image": 1}, {"3 delivered twice": 3}), {},
        "Admitted: 115 of 120 images; 2 (1.7%) refused: 1 truncated, 1 not an image; 3 left out: 3 delivered twice.",
    ),
    "too many": (
        (120, {"12 truncated": 12, "9 not images": 9, "10 copied from an earlier test split": 10}, {}), {"limit": 0.05},
        "Quarantined: 31 of 120 images (26%) were refused, more than the 5% allowed: "
        "12 truncated, 9 not images, 10 copied from an earlier test split.",
    ),
    "one too many": (
        (12, {"1 empty": 1}, {}), {"limit": 0.0},
        "Quarantined: 1 of 12 images (8.3%) was refused, more than the 0% allowed: 1 empty.",
    ),
    "too few": (
        (12, {}, {"9 already known": 9}), {"lacks": ["3 images left for training, at least 10 needed"]},
        "Quarantined: 3 images left for training, at least 10 needed; 9 left out: 9 already known.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SENTENCES.values(), ids=SENTENCES.keys())
def test_the_summary_is_one_sentence(case):
    arguments, options, sentence = case
    assert summary(*arguments, **options) == sentence


@pytest.mark.parametrize(
    ("share", "limit", "text"),
    [(31 / 120, 0.05, "26%"), (2 / 120, 0, "1.7%"), (1, 0, "100%"), (0, 0, "0%"), (0.0501, 0.05, "5.01%"),
     (0.05, 0.05, "5%"), (0.2504, 0.25, "25.04%"), (0.0001, 0, "0.01%")],
)  # fmt: skip
def test_percent_shows_that_a_limit_is_exceeded(share, limit, text):
    assert percent(share, limit) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Käse 🧀 日本.png", "Käse 🧀 日本.png"),
        ("a\nb\t\x1b[31m\x00", r"a\nb\t\x1b[31m\x00"),
        ("gnp.\u202egpj", r"gnp.\u202egpj"),
        ("lone \udc80", r"lone \udc80"),
        ("x" * 401, "x" * 397 + "..."),
        ("x" * 400, "x" * 400),
    ],
)
def test_plain_text_is_one_printable_line(text, shown):
    assert plain(text) == shown
