"""Refused images go out as files and come back as an edited manifest."""

import csv
import errno
import re
import shutil
import unicodedata
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from records.errors import WrongInput
from records.experience import Check, Report, Violation
from tasks.ingest import inbox
from tasks.ingest.settings import IngestParams
from tasks.quarantine.export import _protected, _restored, read_files, rows_of, write_files
from tasks.workspace.creation import create
from tasks.workspace.local_data import facts_of
from tasks.workspace.workspace import Workspace

LABELS = ("=1+1", "+a", "-a", "@a", "'a", "'=a", "a=b", "a,b", 'a"b', "x;=run|' '!A0", "x; =1", "＝1+1", "a;'b", "−1")


@pytest.fixture(scope="module")
def place(tmp_path_factory, deliver) -> Workspace:
    workspace = create(tmp_path_factory.mktemp("files") / "workspace")
    folder = deliver(workspace.inbox / "monday", {"bar": 2, **dict.fromkeys(LABELS, 1)})
    (folder / "bar" / "=cmd|' '!A0.png").write_bytes(b"no image")
    (folder / "bar" / "link.png").symlink_to("/etc/hostname")
    inbox.take(workspace, folder, date(2026, 3, 2), IngestParams())
    return workspace


@pytest.fixture
def report(place) -> Report:
    """All images were refused but the two good bars."""
    (batch,) = [path.name for path in place.batches.iterdir()]
    facts = facts_of(place, batch)
    rows = [row for row, path in enumerate(facts["path"]) if not path.startswith("bar/000")]
    violations = tuple(Violation(row=row, path=facts["path"][row], detail="=found") for row in rows)
    check = Check(name="bad", severity="refuse image", meaning="", remedy="", passed=False, found=len(rows),
                  violations=violations)  # fmt: skip
    return Report(batch=batch, source="monday", images=len(facts), admitted=False, summary="", checks=(check,))


def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def rewrite(folder: Path, kept: list[dict[str, str]]) -> Path:
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, kept[0].keys())
        writer.writeheader()
        writer.writerows(kept)
    return folder / "manifest.csv"


def test_refused_images_are_written_under_names_of_ours(place, report, tmp_path):
    written = write_files(place, report, tmp_path / "look")
    assert (written.images, written.without) == (len(LABELS) + 1, 1)
    rows = lines(tmp_path / "look")
    assert {path.name for path in (tmp_path / "look" / "images").iterdir()} == {Path(t["path"]).name for t in rows}
    for line in rows:
        row = int(line["row"])
        assert line["path"] == f"images/{row:06d}.{'bin' if 'cmd' in line['original'] else 'png'}"
        assert (tmp_path / "look" / line["path"]).is_file()
        assert line["reason"] == "bad (=found)"
    assert (tmp_path / "look" / rows[-1]["path"]).parent == tmp_path / "look" / "images"


def test_no_cell_is_a_formula_and_every_label_comes_back(place, report, tmp_path):
    write_files(place, report, tmp_path / "look")
    rows = lines(tmp_path / "look")
    assert not [value for line in rows for value in line.values() if value[:1] in ("=", "+", "-", "@", "\t", "\r")]
    listed = read_files(tmp_path / "look" / "manifest.csv", report)
    facts = facts_of(place, report.batch)
    assert not listed.every
    assert dict(listed.labels) == {row: facts["label"][row] for row in listed.labels}
    assert set(listed.labels.values()) == {"bar", *LABELS}


CELLS = st.text(st.sampled_from("=+-@＝＋－＠−'\";,|\t\r\n a1；é"), max_size=12)


@given(CELLS)
def test_no_part_of_a_cell_begins_as_a_formula_and_all_come_back(text):
    protected = _protected(text)
    assert _restored(protected) == text
    for part in re.split(r"[;,|\t\r\n；]", protected):
        assert unicodedata.normalize("NFKC", part.lstrip(' "\u00a0'))[:1] not in ("=", "+", "-", "@", "−")


def test_what_nobody_protected_is_taken_as_it_is():
    assert [_restored(text) for text in ("=a", "x;=a", "'b", "", "'")] == ["=a", "x;=a", "'b", "", "'"]


def test_all_images_are_written_if_wanted(place, report, tmp_path):
    written = write_files(place, report, tmp_path / "look", every=True)
    assert (written.images, written.without) == (report.images - 1, 1)
    assert read_files(tmp_path / "look" / "manifest.csv", report).every
    assert rows_of(report.model_copy(update={"admitted": True})) == report.faulty_rows()


def test_what_a_person_deleted_and_changed_is_what_comes_back(place, report, tmp_path):
    write_files(place, report, tmp_path / "look")
    first, second, *_ = lines(tmp_path / "look")
    manifest = rewrite(tmp_path / "look", [first | {"label": "column"}, second])
    assert read_files(manifest, report).labels[int(first["row"])] == "column"
    assert len(read_files(manifest, report).labels) == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"row": "0x1"}, "Row '0x1' in .* is none of the images that wait. Delete lines and change labels,"),
        ({"row": "999"}, "Row '999' in .* is none of the images"),
        ({"batch": "2026-01-01-00000000"}, "is no manifest of 2026-03-02-.*: it is one of 2026-01-01-00000000"),
        ({"lists": "some"}, "the column 'lists' was changed"),
    ],
)
def test_a_manifest_that_is_none_is_refused(place, report, tmp_path, change, sentence):
    write_files(place, report, tmp_path / "look")
    first, *_ = lines(tmp_path / "look")
    with pytest.raises(WrongInput, match=sentence):
        read_files(rewrite(tmp_path / "look", [first | change]), report)


def test_a_line_twice_and_other_files_are_refused(place, report, tmp_path):
    write_files(place, report, tmp_path / "look")
    first, *_ = lines(tmp_path / "look")
    with pytest.raises(WrongInput, match="is named twice"):
        read_files(rewrite(tmp_path / "look", [first, first]), report)
    with pytest.raises(WrongInput, match="has no column 'row'. Edit the manifest.csv that"):
        read_files(rewrite(tmp_path / "look", [{"path": "a", "label": "b"}]), report)
    with pytest.raises(WrongInput, match="gone is not a file"):
        read_files(tmp_path / "gone", report)
    with pytest.raises(WrongInput, match="is not empty"):
        write_files(place, report, tmp_path / "look")
    shutil.rmtree(tmp_path / "look")


def test_a_label_is_one_however_its_letters_are_composed(place, report, tmp_path):
    write_files(place, report, tmp_path / "look")
    first, *_ = lines(tmp_path / "look")
    manifest = rewrite(tmp_path / "look", [first | {"label": unicodedata.normalize("NFD", "Käse")}])
    assert read_files(manifest, report).labels[int(first["row"])] == "K\u00e4se"


def test_a_folder_that_cannot_be_written_is_told(place, report, tmp_path):
    (tmp_path / "file").touch()
    for folder in (Path("/proc/look"), tmp_path / "file" / "look", tmp_path / ("x" * 300)):
        with pytest.raises(WrongInput, match=f"{folder} cannot be written: .*Name another folder"):
            write_files(place, report, folder)


def test_what_was_begun_is_removed(place, report, tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(Path, "write_bytes", full)
    for folder in (tmp_path / "new" / "look", tmp_path / "empty"):
        with pytest.raises(WrongInput, match="cannot be written: No space left on device"):
            write_files(place, report, folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]
