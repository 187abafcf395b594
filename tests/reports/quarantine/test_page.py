import base64
import re
import struct
import zlib
from html.parser import HTMLParser

import pytest

from records.experience import Check, Distributions, Report, Violation
from records.formatting import percent, plain, summary
from reports.quarantine.page import (
    MOST_CLASSES,
    MOST_IMAGES,
    THUMBNAILS,
    ClassCount,
    Picture,
    ReportData,
    report_html,
    shown_violations,
)

BATCH = "2026-01-05-3f2a9c1b"


def png(grey):
    """One pixel."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes([0, grey]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def check(name="file-truncated", rows=(), found=None, severity="refuse image", **values):
    violations = tuple(Violation(row=row, path=f"cat/{row}.png", detail=f"detail {row}") for row in rows)
    values = {"violations": violations, "meaning": f"meaning of {name}.", "remedy": f"remedy of {name}.", **values}
    found = len(rows) if found is None else found
    return Check(name=name, severity=severity, passed=not found, found=found, **values)


def report(*checks, admitted=True, **values):
    values = {"batch": BATCH, "source": "monday", "images": 200, "summary": "A sentence.", **values}
    return Report(admitted=admitted, checks=checks, **values)


def data(thumbnails, **values):
    """Rows of the batch to thumbnails; all labelled `tabby`."""
    return ReportData(
        {f"{BATCH}#{row}": Picture("tabby", f"cat/{row}.png", png) for row, png in thumbnails.items()}, **values
    )


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
            kind, _, content = dict(attributes)["src"].partition(";base64,")
            assert kind in ("data:image/png", "data:image/jpeg")
            self.pictures.append(base64.b64decode(content))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_names_verdict_reason_image_and_remedy():
    html = report_html(
        report(check(rows=(3, 5)), check("format"), check("duplicate", (7,), severity="drop"), admitted=False),
        data({3: png(0), 5: png(255)}),
    )
    page = Page(html)
    text = " ".join(page.text)
    assert page.open == []
    assert "Quarantined: 2026-01-05-3f2a9c1b" in page.text
    for part in ("A sentence.", "monday", "cat/3.png", "detail 5", "meaning of format.", "remedy of file-truncated."):
        assert part in text
    assert "remedy of format." not in text
    assert page.pictures == [png(0), png(255)]
    assert page.text.count("no picture") == 1


def test_the_page_needs_nothing_from_outside_and_runs_nothing():
    html = report_html(report(check(rows=(3,))), data({3: png(9)}))
    assert set(Page(html).tags).isdisjoint({"script", "link", "iframe", "object", "base", "form"})
    assert not re.search(r"https?:|//|url\(|@import|\bon\w+=", re.sub(r"base64,[^\"]*", "", html))
    assert "default-src 'none'" in html


def test_what_came_with_the_batch_is_escaped():
    attack = "\"'><script>alert(1)</script>&amp;<img src=x onerror=alert(1)>"
    violation = Violation(row=0, path=f"{attack}.png", detail=f"labelled {attack}")
    faults = check(name=attack, found=1, violations=(violation,), meaning=attack, remedy=attack, note=attack)
    page = Page(report_html(report(faults, source=attack, batch=attack, summary=attack)))
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.text.count(attack) >= 7
    assert f"{attack}.png" in page.text
    assert f"labelled {attack}" in page.text


def test_a_title_is_not_replaced_within_the_batch():
    assert "TITLE" in Page(report_html(report(batch="TITLE"))).text


@pytest.mark.parametrize(
    ("found", "shown", "more"),
    [(THUMBNAILS, THUMBNAILS, None), (THUMBNAILS + 1, THUMBNAILS, "and 1 more"), (1154, THUMBNAILS, "and 1,130 more")],
)
def test_a_page_shows_the_first_images_of_each_reason(found, shown, more):
    page = Page(report_html(report(check(rows=range(found)), images=2000), data(dict.fromkeys(range(found), png(1)))))
    assert len(page.pictures) == shown
    assert [text for text in page.text if text.endswith(" more")] == ([more] if more else [])


def test_what_stops_the_batch_is_told_first_and_what_passed_last():
    checks = [check("passes"), check("warns", (1,), severity="warn"), check("drops", (2,), severity="drop")]
    checks += [check("refuses", (3,)), check("stops", found=1, severity="refuse batch", note="3 too many")]
    names = [text for text in Page(report_html(report(*checks))).text if text in {c.name for c in checks}]
    assert names == ["stops", "refuses", "drops", "warns", "stops", "refuses", "drops", "warns", "passes"]


def test_a_headline_is_not_said_twice():
    page = Page(report_html(report(summary="Admitted: all 200 images.")))
    assert "All 200 images." in page.text


def test_a_good_batch_shows_its_checks_alone():
    page = Page(report_html(report(check("format"), check("refused-share", note="0 of 200 images (0%)"))))
    assert "section" not in page.tags
    assert page.text.count("Passed") == 2
    assert "Admitted: 2026-01-05-3f2a9c1b" in page.text


def test_an_image_is_shown_beside_the_one_that_it_resembles():
    twin = Violation(row=3, path="cat/3.png", detail="looks the same", like="2026-01-04-aaaaaaaa#7")
    shown = data({3: png(1)})
    earlier = {"2026-01-04-aaaaaaaa#7": Picture("lion", "zoo/7.png", png(2))}
    page = Page(report_html(report(check(found=1, violations=(twin,))), ReportData({**shown.pictures, **earlier})))
    assert page.pictures == [png(1), png(2)]
    assert {"tabby", "lion", "zoo/7.png", "2026-01-04-aaaaaaaa"} <= set(page.text)
    alone = Page(report_html(report(check(found=1, violations=(twin,))), shown))
    assert alone.pictures == [png(1)], "an earlier batch may be gone"


@pytest.mark.parametrize(
    ("admitted", "rows", "commands"),
    [
        (False, (3,), ["release BATCH --leave-out refused", "show BATCH --files DIR",
                       "release BATCH --manifest DIR/manifest.csv", "drop BATCH"]),
        (False, (), ["release BATCH", "drop BATCH"]),
        (True, (3,), ["show BATCH --files DIR", "release BATCH --manifest DIR/manifest.csv", "drop BATCH"]),
        (True, (), []),
    ],
)  # fmt: skip
def test_the_page_says_what_to_type_next(admitted, rows, commands):
    page = Page(report_html(report(check(rows=rows), admitted=admitted)))
    assert [text for text in page.text if text.startswith("retain ")] == [
        f"retain quarantine {words.replace('BATCH', BATCH)}" for words in commands
    ]


def test_classes_are_counted_and_few_of_many_are_shown():
    classes = [ClassCount(f"class {i}", 9, 5, 3, 4, 0, 1) for i in range(MOST_CLASSES + 1)]
    page = Page(report_html(report(), ReportData(classes=tuple(classes))))
    at = page.text.index("class 0")
    assert [text for text in page.text[at : at + 7] if text.strip()] == ["class 0", "9", "5", "3", "4", "1"]
    assert "and 1 smaller classes" in page.text
    assert f"class {MOST_CLASSES}" not in page.text


def test_a_correction_says_whose_and_why():
    page = Page(report_html(report(), ReportData(corrects="2026-01-04-aaaaaaaa", accepted=("dark",), note="by ada")))
    assert {"2026-01-04-aaaaaaaa", "dark", "by ada"} <= set(page.text)


def test_drift_is_drawn():
    distributions = Distributions(of="brightness <b>", bins=("0 to 0.5", "<i>"), before=(0.25, 0.75), now=(0.5, 0.5))
    drift = check("drift", found=1, severity="warn", note="brighter", comparison=distributions)
    page = Page(report_html(report(drift)))
    assert page.tags.count("rect") == 4
    assert {"0 to 0.5: 25.0% before, 50.0% now", "<i>: 75.0% before, 50.0% now"} <= set(page.text)
    assert "i" not in page.tags


def test_each_reason_shows_some_images_before_any_shows_more():
    checks = [check(f"check-{i}", range(100 * i, 100 * i + 30)) for i in range(10)]
    shown = list(shown_violations(report(*checks, images=1000)))
    assert len(shown) == MOST_IMAGES
    assert [c.row for c in shown[:11]] == [*range(0, 1000, 100), 1]
    page = Page(report_html(report(*checks, images=1000), data(dict.fromkeys(range(1000), png(1)))))
    assert len(page.pictures) == MOST_IMAGES
    assert page.text.count("and 18 more") == 10


def test_the_page_stays_small_whatever_the_names():
    worst = "'" * 400
    violations = tuple(Violation(row=row, path=worst, detail=worst) for row in range(30))
    checks = [check(f"check-{i}", found=30, violations=violations) for i in range(40)]
    data = ReportData(classes=tuple(ClassCount(worst, 1, 1, 0, 1, 0, 0) for _ in range(3000)))
    assert len(report_html(report(*checks), data).encode()) < 1_000_000


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


def test_no_choice_of_images_is_offered_where_the_problem_needs_others():
    checks = check(rows=(3,)), check("annotation", found=1, severity="refuse batch")
    text = " ".join(Page(report_html(report(*checks, admitted=False))).text)
    assert f"retain quarantine release {BATCH}" in text
    assert "--leave-out" not in text
