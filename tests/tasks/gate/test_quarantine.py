"""A batch is in quarantine while its report lies there."""

import io
import shutil
import subprocess
from datetime import date
from pathlib import Path

import pytest
from PIL import Image

from records.experience import Report
from records.registration import RunFile
from tasks import stages
from tasks.creation import create
from tasks.gate import quarantine
from tasks.intake import inbox
from tasks.intake.ingest import IngestParams
from tasks.workspace import Workspace

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
    page = quarantine.set_aside(workspace, report)
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


def test_to_set_aside_twice_is_to_set_aside_once(workspace, report):
    quarantine.set_aside(workspace, report)
    commit = git(workspace, "rev-parse", "HEAD")
    quarantine.set_aside(workspace, report)
    assert git(workspace, "rev-parse", "HEAD") == commit


def test_a_batch_in_quarantine_is_not_pending_until_its_record_is_taken_away(workspace, report):
    before = quarantine.pending(workspace, ())
    assert len(before) == 2
    quarantine.set_aside(workspace, report)
    assert quarantine.quarantined(workspace) == (report,)
    assert quarantine.pending(workspace, ()) == before[1:]
    (workspace.quarantine / report.batch / "report.json").unlink()
    assert quarantine.quarantined(workspace) == ()
    assert quarantine.pending(workspace, ()) == before


def test_what_was_learned_is_not_pending(workspace):
    first, second = quarantine.pending(workspace, ())
    assert quarantine.pending(workspace, (first,)) == (second,)
    assert quarantine.pending(workspace, (second, first)) == ()


def test_only_what_can_be_decoded_has_a_thumbnail(workspace, report):
    rows = {c.path.rpartition("/")[2]: c.row for check in report.checks for c in check.complaints}
    assert {TRUNCATED, "link.png", *TWINS} <= set(rows)
    made = quarantine.thumbnails(workspace, report)
    assert not {rows[TRUNCATED], rows["link.png"]} & set(made)
    for name in TWINS:
        with Image.open(io.BytesIO(made[rows[name]])) as picture:
            # 30 x 12 pixels, enlarged in whole steps so that they can be seen.
            assert (picture.format, picture.size) == ("PNG", (90, 36))
