"""A batch is held back while its report lies there; the refused images of an admitted one have a report, too."""

import io
import shutil
import subprocess
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from records.errors import WrongInput
from records.experience import Report, Violation
from records.registration import RunFile
from records.rows import packed
from tasks import stages
from tasks.ingest import inbox
from tasks.ingest.settings import IngestParams
from tasks.quarantine import store
from tasks.quarantine.export import rows_of
from tasks.quarantine.report_data import data, thumbnail
from tasks.workspace.creation import create
from tasks.workspace.workspace import Workspace

DAY = date(2026, 3, 2)
GOOD, TRUNCATED, TWINS = "0000.png", "half.png", ("twin-a.png", "twin-b.png")


@pytest.fixture(scope="module")
def rejected(tmp_path_factory, deliver) -> tuple[Path, Report]:
    """A workspace with two batches, of which the first was rejected, and the report on it. Nobody alters it."""
    workspace = create(tmp_path_factory.mktemp("quarantine") / "workspace")
    delivery = deliver(workspace.inbox / "monday", {"bar": 8, "column": 8})
    content = (delivery / "bar" / GOOD).read_bytes()
    (delivery / "bar" / TRUNCATED).write_bytes(content[:60])
    for label, name in zip(("bar", "column"), TWINS, strict=True):
        Image.new("L", (30, 12), 128).save(delivery / label / name)
    (delivery / "bar" / "link.png").symlink_to("/etc/hostname")
    bad = inbox.take(workspace, delivery, DAY, IngestParams()).batch.id
    inbox.take(workspace, deliver(workspace.inbox / "tuesday", {"bar": 3}, seed=1), date(2026, 3, 3), IngestParams())
    _, (report,) = stages.run_validate(workspace, RunFile(batches=(bad,)))
    assert not report.admitted
    return workspace.root, report


@pytest.fixture
def workspace(rejected, tmp_path) -> Workspace:
    return Workspace(Path(shutil.copytree(rejected[0], tmp_path / "shop", symlinks=True)))


@pytest.fixture
def report(rejected) -> Report:
    return rejected[1]


def git(workspace: Workspace, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=workspace.root, capture_output=True, text=True, check=True).stdout


def test_page_and_record_are_written_and_committed(workspace, report):
    page = store.set_aside(workspace, report)
    folder = workspace.quarantine / report.batch
    assert page == folder / "report.html"
    assert TRUNCATED in page.read_text()
    assert Report.read(folder / "report.json") == report
    assert git(workspace, "log", "-1", "--format=%s").strip() == f"Quarantine {report.batch}"
    assert git(workspace, "show", "--name-only", "--format=").split() == [
        f"quarantine/{report.batch}/report.html",
        f"quarantine/{report.batch}/report.json",
    ]
    assert git(workspace, "status", "--porcelain") == ""


def test_what_is_committed_of_a_batch_with_very_many_bad_images_is_little(workspace, deliver):
    delivery = deliver(workspace.inbox / "wednesday", {"bar": 9}, seed=2)
    missing = (f"{'very/long/' * 20}{number}.png" for number in range(10_000))
    paths = [*(f"bar/{n:04d}.png" for n in range(9)), *missing]
    (delivery / "manifest.csv").write_text("path,label\n" + "".join(f"{path},bar\n" for path in paths))
    batch = inbox.take(workspace, delivery, DAY, IngestParams()).batch
    _, (report,) = stages.run_validate(workspace, RunFile(batches=(batch.id,)))
    page = store.set_aside(workspace, report)
    (again,) = store.reports(workspace)
    assert len(again.faulty_rows()) == len(rows_of(again, every=False)) == 10_000
    assert "and 9,976 more" in page.read_text()
    assert [path.stat().st_size < 100_000 for path in page.parent.iterdir()] == [True, True]


def test_of_many_images_those_that_were_corrected_since_wait_no_more(workspace, report):
    rows = tuple(range(report.images))
    violation = Violation(row=0, path="bar/0000.png", detail="told")
    refused = {"severity": "refuse image", "passed": False, "found": len(rows)}
    many = report.checks[0].model_copy(update={**refused, "violations": (violation,), "rows": packed(rows)})
    left = store._without(report.model_copy(update={"checks": (many,)}), frozenset(range(3)))
    assert (left.faulty_rows(), left.checks[0].violations, left.checks[0].found) == (rows[3:], (), len(rows) - 3)
    none = store._without(left, frozenset(rows))
    assert (none.faulty_rows(), none.checks[0].rows, none.checks[0].passed) == ((), "", True)


def test_to_set_aside_twice_is_to_set_aside_once(workspace, report):
    store.set_aside(workspace, report)
    commit = git(workspace, "rev-parse", "HEAD")
    store.set_aside(workspace, report)
    assert git(workspace, "rev-parse", "HEAD") == commit


def test_a_batch_in_quarantine_is_not_pending_until_its_record_is_taken_away(workspace, report):
    before = store.pending(workspace, ())
    assert len(before) == 2
    store.set_aside(workspace, report)
    assert store.reports(workspace) == (report,)
    assert store.pending(workspace, ()) == before[1:]
    (workspace.quarantine / report.batch / "report.json").unlink()
    assert store.reports(workspace) == ()
    assert store.pending(workspace, ()) == before


def test_an_admitted_batch_of_which_images_were_refused_has_an_entry_and_is_pending(workspace, report):
    admitted = report.model_copy(update={"admitted": True})
    store.file(workspace, (admitted,))
    assert store.reports(workspace) == (admitted,)
    assert report.batch in store.pending(workspace, ())
    (entry,) = store.entries(workspace)
    assert (entry.admitted, entry.refused, entry.images) == (True, 4, 20)
    assert git(workspace, "log", "-1", "--format=%s").strip() == f"Set aside images of {report.batch}"


def test_an_entry_goes_when_the_gate_finds_nothing_any_more(workspace, report):
    store.file(workspace, (report,))
    folder = workspace.quarantine / report.batch
    store.file(workspace, (report.model_copy(update={"admitted": True, "checks": ()}),), "by ada")
    left = sorted(path.name for path in folder.rglob("*.*"))
    assert left == ["files.json", "link.png"], "what was not taken from the inbox stays, with the reason"
    assert git(workspace, "log", "-1", "--format=%s").strip() == f"Release {report.batch} by ada"
    assert git(workspace, "status", "--porcelain") == ""


def test_what_a_killed_command_did_not_commit_is_committed(workspace, report):
    store.set_aside(workspace, report)
    for path in store.files_of(workspace, report.batch):
        path.unlink()
    assert store.finish(workspace) == ()
    assert git(workspace, "status", "--porcelain") == ""
    head = git(workspace, "rev-parse", "HEAD")
    assert store.finish(workspace) == ()
    assert git(workspace, "rev-parse", "HEAD") == head


def test_an_entry_is_found_by_the_beginning_of_its_batch(workspace, report):
    store.set_aside(workspace, report)
    other = report.model_copy(update={"batch": f"{DAY}-00000000"})
    other.write(workspace.quarantine / other.batch / "report.json")
    assert store.find(workspace, report.batch) == report
    assert store.find(workspace, report.batch[:13]) == report
    with pytest.raises(WrongInput, match=f"'{DAY}' fits {DAY}-00000000, {report.batch}. Write more of the id."):
        store.find(workspace, str(DAY))
    for text in ("1999", ""):
        with pytest.raises(WrongInput, match=f"Nothing in quarantine begins with '{text}'; there are {DAY}-00000000"):
            store.find(workspace, text)


def test_what_was_learned_is_not_pending(workspace):
    first, second = store.pending(workspace, ())
    assert store.pending(workspace, (first,)) == (second,)
    assert store.pending(workspace, (second, first)) == ()


def test_only_what_can_be_decoded_has_a_thumbnail(workspace, report):
    rows = {c.path.rpartition("/")[2]: c.row for check in report.checks for c in check.violations}
    assert {TRUNCATED, "link.png", *TWINS} <= set(rows)
    shown = data(workspace, report).pictures
    for name in (TRUNCATED, "link.png"):
        assert shown[f"{report.batch}#{rows[name]}"].thumbnail == b""
    for label, name in zip(("bar", "column"), TWINS, strict=True):
        picture = shown[f"{report.batch}#{rows[name]}"]
        assert (picture.label, picture.path) == (label, f"{label}/{name}")
        with Image.open(io.BytesIO(picture.thumbnail)) as image:
            # As small as it is: the page enlarges it.
            assert (image.format, image.size) == ("PNG", (30, 12))


def test_the_counterpart_is_shown_if_it_is_still_there(workspace, report):
    other = next(b for b in store.pending(workspace, ()) if b != report.batch)
    for like, known in ((f"{other}#1", True), ("2026-01-01-00000000#1", False), ("nonsense#x", False)):
        violation = Violation(row=0, path="a.png", detail="", like=like)
        check = report.checks[0].model_copy(update={"passed": False, "found": 1, "violations": (violation,)})
        shown = data(workspace, report.model_copy(update={"checks": (check,)})).pictures
        assert (like in shown) == known
        assert shown[f"{report.batch}#0"].thumbnail


def test_a_photograph_becomes_a_small_jpeg():
    pixels = np.random.default_rng(0).integers(0, 255, (900, 1200, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    with Image.open(io.BytesIO(thumbnail(file.getvalue()))) as image:
        assert (image.format, image.size) == ("JPEG", (256, 192))


def test_classes_are_counted(workspace, report):
    counts = {c.label: (c.images, c.admitted, c.refused) for c in data(workspace, report).classes}
    assert counts == {"bar": (11, 8, 3), "column": (9, 8, 1)}


def test_why_files_were_kept_is_never_committed(workspace):
    """Workspaces of before have a .gitignore that does not name it."""
    ignore = workspace.root / ".gitignore"
    ignore.write_text(ignore.read_text().replace("/quarantine/*/files.json\n", ""))
    assert "files.json" in git(workspace, "status", "--porcelain", "--untracked-files=all")
    head = git(workspace, "rev-parse", "HEAD")
    assert store.finish(workspace) == ()
    assert git(workspace, "rev-parse", "HEAD") == head
