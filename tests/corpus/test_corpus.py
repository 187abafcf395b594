"""Every case of the corpus through the real path: ingested, validated, reported."""

import csv
import json
import os
import re
import stat
import sys
import unicodedata
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pyarrow.parquet as parquet
import pytest

from dataset.batches import list_batches
from dataset.deliveries.items import LONGEST_LABEL
from records.errors import UnreadableBatch
from records.experience import RejectedBatch
from reports.quarantine.page import report_html
from tasks.ingest.examine import LONGEST_PATH, cut
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams
from tasks.validate.earlier import EarlierImages
from tasks.validate.settings import ValidateParams
from tasks.validate.validate import validate
from tests.corpus.delivery_cases import DELIVERIES
from tests.corpus.files import whole
from tests.corpus.image_cases import IMAGES
from tests.corpus.mask_cases import CLASSES, MASKED, MASKS, OUTLINES
from tests.corpus.name_cases import NAMES
from tests.corpus.row_cases import ROWS

FILES = (*IMAGES, *NAMES)
DAY = date(2026, 1, 5)
SECRET = whole("PNG", "a secret outside the delivery")
ALL_IMAGES = ValidateParams(
    severity={"blank": "off", "class-scarce": "off"}, refused_share=1, min_train=1, min_test=1, min_train_per_class=0,
    min_test_per_class=0,
)  # fmt: skip
"""Judges images alone, and not what they show: most are noise. A class may have one image."""
SHARES = IngestParams(test_share=0.5)
FEW = ValidateParams(refused_share=0.5, min_train=1, min_test=1, min_train_per_class=0, min_test_per_class=0)


# The real path


class Seen:
    """What became of a delivery."""

    def __init__(self, batch, table, report):
        self.batch, self.table, self.report = batch, table, report
        self.rows = {row.path: row for row in table.itertuples()}

    def details(self, path):
        """Checks that complain of a row, with their details. Of warnings only that of frames counts."""
        number = self.rows[path].Index
        checks = [c for c in self.report.checks if c.severity != "warn" or c.name == "animation"]
        return {c.name: k.detail for c in checks for k in c.violations if k.row == number}

    def admitted(self, path):
        return self.rows[path].Index not in self.report.refused_rows()


def judged(table, batch, params):
    try:
        return validate(table, batch, EarlierImages.of([]), (), params)[1]
    except RejectedBatch as rejected:
        return rejected.report


def taken(source, home, params):
    """Ingest a delivery, validate it, and give what became of it. It must be as it was, and nothing else be opened."""
    before = everything_at(source)
    with opened_only_below(source, home):
        batch = ingest(home / "batches", home / "staging", source, DAY, SHARES).batch
    assert everything_at(source) == before
    shards = [home / "batches" / batch.id / shard.name for shard in batch.shards]
    assert not any(SECRET in shard.read_bytes() for shard in shards)
    table = facts_of(home / "batches", batch)
    report = judged(table, batch, params)
    assert_harmless(report)
    return Seen(batch, table, report)


def facts_of(batches, batch):
    tables = [parquet.read_table(batches / batch.id / shard.name).to_pandas() for shard in batch.shards]
    return pd.concat(tables, ignore_index=True).drop(columns="encoded")


def everything_at(source):
    """What can be known of a delivery from outside: each name, its status, its bytes."""
    found = {}
    below = [] if source.is_symlink() else source.rglob("*")
    for path in filter(os.path.lexists, (source, *below)):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK) else b""
        target = str(path.readlink()) if stat.S_ISLNK(status.st_mode) else ""
        found[path] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino, target, content)
    return found


class opened_only_below:
    """A block in which files below some folders may be opened, and those of Python; anything else is an error.

    Python tells of every `open` and `scandir`, whoever calls them; libraries in C go unheard, so shards are looked
    through as well.
    """

    at_work = None

    def __init__(self, *folders):
        programs = (sys.prefix, sys.base_prefix, Path(__file__).parents[2], "/usr/lib", "/proc", "/dev/urandom")
        self.folders = tuple(os.path.realpath(folder) for folder in (*folders, *programs))
        self.strange = []

    def __enter__(self):
        opened_only_below.at_work = self

    def __exit__(self, *error):
        opened_only_below.at_work = None
        assert self.strange == []

    def hear(self, path):
        if isinstance(path, str | bytes | os.PathLike):
            real = os.path.realpath(os.fsdecode(path))
            if not any(real == folder or real.startswith(folder + os.sep) for folder in self.folders):
                self.strange.append(real)


def _hear(event, arguments):
    if opened_only_below.at_work and event in ("open", "os.scandir", "os.listdir"):
        opened_only_below.at_work.hear(arguments[0])


sys.addaudithook(_hear)


class Page(HTMLParser):
    """The tags of a page and what a reader sees of it."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data):
        self.text.append(data)


def assert_harmless(report):
    page = Page(report_html(report))
    assert page.tags.isdisjoint({"script", "img", "iframe", "object", "form", "a", "base", "link"})
    assert not any(name.startswith("on") or name in ("href", "src") for name in page.attributes)
    lines = [line for text in page.text for line in text.split("\n")]
    assert [line for line in lines if not line.isprintable()] == []
    texts = [
        report.summary,
        report.source,
        *(t for c in report.checks for k in c.violations for t in (k.path, k.detail)),
    ]
    assert [text for text in texts if not text.isprintable()] == []


# Files in a class folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """All files in one delivery, with good ones among them; and the names of those that the system did not allow."""
    home = tmp_path_factory.mktemp("files")
    (home / "secret.png").write_bytes(SECRET)
    folder = home / "delivery" / "cat"
    folder.mkdir(parents=True)
    for name in ("control.png", "zzz.png"):
        (folder / name).write_bytes(whole("PNG", f"control {name}"))
    refused = set()
    for case in FILES:
        try:
            case.make(folder / called(case).split("/")[0])
        except OSError:
            refused.add(case.name)
    seen = taken(home / "delivery", home / "workspace", ALL_IMAGES)
    seen.refused = refused
    return seen


def called(case):
    return case.called or f"{case.name}.png"


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.name)
def test_a_file_gets_its_verdict(files, case):
    if case.name in files.refused:
        pytest.skip("this system does not allow such a file")
    path = f"cat/{called(case)}"
    if case.unseen:
        assert path not in files.rows
        return
    details = files.details(path)
    assert " ".join(details) == case.verdict
    assert all(re.search(case.sentence, detail) for detail in details.values())
    assert files.admitted(path) == (case.verdict in ("", "animation"))


def test_good_files_beside_bad_ones_are_admitted(files):
    assert [(files.details(f"cat/{name}"), files.admitted(f"cat/{name}")) for name in ("control.png", "zzz.png")] == [
        ({}, True)
    ] * 2


# Rows of a manifest


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    home = tmp_path_factory.mktemp("rows")
    (home / "secret.png").write_bytes(SECRET)
    folder = home / "delivery"
    (folder / "sub").mkdir(parents=True)
    (folder / "control.png").write_bytes(whole("PNG", "control"))
    (folder / "link.png").symlink_to("control.png")
    (folder / "linked").symlink_to("..")
    lines = [("control.png", "cat", "")]
    for number, case in enumerate(ROWS):
        if not case.name.startswith("path"):
            (folder / f"{number}.png").write_bytes(whole("PNG", f"row {number}"))
        lines.append((path_of(number), case.label, case.note))
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "label", "note"), *lines])
    return taken(folder, home / "workspace", ALL_IMAGES)


def path_of(number):
    case = ROWS[number]
    return case.path if case.name.startswith("path") else f"{number}.png"


@pytest.mark.parametrize("number", range(len(ROWS)), ids=lambda number: ROWS[number].name)
def test_a_row_gets_its_verdict(rows, number):
    # What is longer than can be used is kept as far as that can be seen.
    case, path = ROWS[number], cut(path_of(number), LONGEST_PATH)
    details = rows.details(path)
    assert " ".join(details) == case.verdict
    assert all(re.search(case.sentence, detail) for detail in details.values())
    assert rows.admitted(path) == (not case.verdict)
    row = rows.table.loc[rows.rows[path].Index]
    assert (row["label"], row["user.note"]) == (cut(unicodedata.normalize("NFC", case.label), LONGEST_LABEL), case.note)


def test_a_good_row_beside_bad_ones_is_admitted(rows):
    assert (rows.details("control.png"), rows.admitted("control.png")) == ({}, True)


# Masks of images


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    """All masks in one delivery, and all outlines in another one; rows by the case's name."""
    home = tmp_path_factory.mktemp("masks")
    (home / "secret.png").write_bytes(SECRET)
    names = {f"{number}.png": name for number, name in enumerate((*(case.name for case in MASKS), *OUTLINES))}
    for folder in ("one/images", "one/masks", "other/images"):
        (home / folder).mkdir(parents=True)
    for number, name in enumerate(names):
        folder = "one" if number < len(MASKS) else "other"
        (home / folder / "images" / name).write_bytes(whole("PNG", f"masked {name}"))
    for number, case in enumerate(MASKS):
        case.make(home / "one" / "masks" / f"{number}.png")
    (home / "one" / "classes.txt").write_text(CLASSES)
    images, annotations = [], []
    for number, (outline, _, _) in enumerate(OUTLINES.values(), start=len(MASKS)):
        images.append({"id": number, "file_name": f"{number}.png", "height": 24, "width": 24})
        annotations.append({"image_id": number, "category_id": 1, "segmentation": outline})
    images.append({"id": -1, "file_name": "../../secret.png", "height": 24, "width": 24})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (home / "other" / "annotations.json").write_text(json.dumps(content))
    rows = {}
    for folder in ("one", "other"):
        seen = taken(home / folder, home / f"workspace {folder}", ALL_IMAGES)
        rows |= {names.get(path.removeprefix("images/"), path): row for path, row in seen.rows.items()}
    return rows


@pytest.mark.parametrize("case", MASKS, ids=lambda case: case.name)
def test_a_mask_gets_its_problem(masks, case):
    row = masks[case.name]
    assert (row.problem, row.label) == (case.verdict, "" if case.verdict else "dog")
    assert re.search(case.sentence, row.detail)


@pytest.mark.parametrize("name", OUTLINES)
def test_an_outline_gets_its_problem(masks, name):
    _, problem, sentence = OUTLINES[name]
    assert (masks[name].problem, masks[name].label) == (problem, "" if problem else "cat")
    assert re.search(sentence, masks[name].detail)


def test_outlines_of_images_outside_lead_nowhere(masks):
    assert masks["../../secret.png"].problem == "outside"


# Whole deliveries


@pytest.mark.parametrize("case", [*DELIVERIES, *MASKED], ids=lambda case: case.name)
def test_a_delivery_gets_its_sentence(tmp_path, case):
    (tmp_path / "secret.png").write_bytes(SECRET)
    source, home = tmp_path / "delivery", tmp_path / "workspace"
    case.make(source)
    if case.sentence.startswith(("Admitted", "Quarantined")):
        assert re.search(case.sentence, taken(source, home, FEW).report.summary)
        return
    before = everything_at(source)
    with opened_only_below(source, home), pytest.raises(UnreadableBatch, match=case.sentence) as refused:
        ingest(home / "batches", home / "staging", source, DAY, SHARES)
    sentence = str(refused.value)
    assert sentence.isprintable()
    assert len(sentence) < 1000
    assert everything_at(source) == before
    assert list_batches(home / "batches") == ()


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", b"\x1b[2J\n\r", "\u202egpj".encode(), b"<b onclick=x>", b"=1+1", b"-rf", b" "]
)
def test_a_delivery_may_have_any_name(tmp_path, name):
    source, empty = (tmp_path / folder / os.fsdecode(name) for folder in ("good", "empty"))
    empty.mkdir(parents=True)
    for kind in ("cat", "dog"):
        (source / kind).mkdir(parents=True)
        for number in range(6):
            (source / kind / f"{number}.png").write_bytes(whole("PNG", f"{kind} {number}"))
    assert taken(source, tmp_path / "workspace", FEW).report.summary == "Admitted: all 12 images."
    with pytest.raises(UnreadableBatch, match="is empty") as refused:
        ingest(tmp_path / "batches", tmp_path / "staging", empty, DAY, SHARES)
    assert str(refused.value).isprintable()


def test_the_corpus_is_large_and_its_names_differ():
    for table in (FILES, ROWS, (*DELIVERIES, *MASKED)):
        names = [case.name for case in table]
        assert len(names) == len(set(names))
    assert len(FILES) + len(ROWS) + len(DELIVERIES) >= 75


def test_opening_anything_else_is_noticed(tmp_path):
    (tmp_path / "secret.png").write_bytes(SECRET)
    (tmp_path / "delivery").mkdir()
    (tmp_path / "delivery" / "link.png").symlink_to("../secret.png")
    for path in ("secret.png", "delivery/link.png"):
        with pytest.raises(AssertionError, match=r"secret\.png"), opened_only_below(tmp_path / "delivery"):
            (tmp_path / path).read_bytes()
