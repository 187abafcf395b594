"""The inbox is emptied only of what is safe in the archive, and nothing that arrived is ever lost."""

import os
import shutil
import subprocess
from datetime import date
from pathlib import Path

import pytest

from records.errors import Unavailable, UnreadableBatch
from tasks.creation import create
from tasks.intake import inbox
from tasks.intake.ingest import IngestParams, list_batches
from tasks.workspace import Workspace

DAY = date(2026, 3, 2)
PARAMS = IngestParams()


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    return create(tmp_path_factory.mktemp("inbox") / "workspace").root


@pytest.fixture
def workspace(template, tmp_path) -> Workspace:
    return Workspace(Path(shutil.copytree(template, tmp_path / "shop", symlinks=True)))


def git(workspace: Workspace, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=workspace.root, capture_output=True, text=True, check=True).stdout


def last_commit(workspace: Workspace) -> str:
    return git(workspace, "log", "-1", "--format=%s").strip()


def stop_git(workspace: Workspace) -> Path:
    """Git commits nothing while another process holds its lock, which a killed one leaves behind."""
    lock = workspace.root / ".git" / "index.lock"
    lock.touch()
    return lock


def test_deliveries_wait_by_name_and_hidden_files_are_none(workspace):
    for name in ("tuesday", "monday.csv", ".DS_Store"):
        (workspace.inbox / name).touch()
    assert [path.name for path in inbox.waiting(workspace)] == ["monday.csv", "tuesday"]
    shutil.rmtree(workspace.inbox)
    assert inbox.waiting(workspace) == ()


def test_a_delivery_is_taken_once_it_is_committed(workspace, deliver):
    delivery = deliver(workspace.inbox / "monday", {"bar": 2})
    arrival = inbox.take(workspace, delivery, DAY, PARAMS)
    assert list_batches(workspace.batches) == (arrival.batch.id,)
    assert last_commit(workspace) == f"Ingest {arrival.batch.id}: 2 images"
    assert inbox.waiting(workspace) == ()
    assert not (workspace.quarantine / arrival.batch.id).exists()


def test_a_delivery_that_was_not_committed_stays_and_is_taken_the_next_time(workspace, deliver):
    delivery = deliver(workspace.inbox / "monday", {"bar": 2})
    lock = stop_git(workspace)
    with pytest.raises(Unavailable, match="`git add` failed"):
        inbox.take(workspace, delivery, DAY, PARAMS)
    assert len(list(delivery.rglob("*.png"))) == 2
    lock.unlink()
    arrival = inbox.take(workspace, delivery, date(2026, 3, 3), PARAMS)
    assert (arrival.known, arrival.batch.arrived) == (True, DAY)
    assert last_commit(workspace).startswith(f"Ingest {arrival.batch.id}")
    assert inbox.waiting(workspace) == ()


def test_the_same_delivery_again_adds_nothing_and_leaves_the_inbox(workspace, deliver):
    first = inbox.take(workspace, deliver(workspace.inbox / "monday", {"bar": 2}), DAY, PARAMS)
    again = inbox.take(workspace, deliver(workspace.inbox / "monday", {"bar": 2}), date(2026, 3, 9), PARAMS)
    assert (again.known, again.batch) == (True, first.batch)
    assert list_batches(workspace.batches) == (first.batch.id,)
    assert inbox.waiting(workspace) == ()


def test_files_that_are_in_no_batch_are_set_aside(workspace, deliver):
    delivery = deliver(workspace.inbox / "monday", {"bar": 2})
    (delivery / "bar" / "link.png").symlink_to("/etc/hostname")
    (delivery / "bar" / "large.png").write_bytes(bytes(5000))
    os.mkfifo(delivery / "bar" / "pipe.png")
    odd = {path.name: path.lstat() for path in (delivery / "bar").iterdir() if path.name[0] in "lp"}
    arrival = inbox.take(workspace, delivery, DAY, IngestParams(max_bytes=4000))
    assert arrival.batch.images == 5
    assert inbox.waiting(workspace) == ()
    aside = workspace.quarantine / arrival.batch.id / "files" / "bar"
    kept = {path.name: path.lstat() for path in aside.iterdir()}
    assert {name: (s.st_mode, s.st_size) for name, s in kept.items()} == {
        name: (s.st_mode, s.st_size) for name, s in odd.items()
    }
    assert git(workspace, "status", "--porcelain") == "", "they are not versioned"


def test_a_delivery_from_elsewhere_stays(workspace, deliver, tmp_path):
    delivery = deliver(tmp_path / "elsewhere" / "monday", {"bar": 2})
    (delivery / "bar" / "odd.png").symlink_to("/etc/hostname")
    arrival = inbox.take(workspace, delivery, DAY, PARAMS)
    assert arrival.batch.images == 3
    assert len(list(delivery.rglob("*.png"))) == 3
    assert not workspace.quarantine.exists()


def test_a_manifest_is_taken_and_the_images_that_it_names_stay(workspace, deliver):
    deliver(workspace.inbox / "photos", {"bar": 2})
    manifest = workspace.inbox / "monday.csv"
    manifest.write_text("path,label\nphotos/bar/0000.png,bar\nphotos/bar/0001.png,bar\n")
    inbox.take(workspace, manifest, DAY, PARAMS)
    assert [path.name for path in inbox.waiting(workspace)] == ["photos"]
    assert len(list((workspace.inbox / "photos").rglob("*.png"))) == 2


def test_what_cannot_become_a_batch_stays(workspace):
    (workspace.inbox / "monday" / "bar").mkdir(parents=True)
    with pytest.raises(UnreadableBatch, match="holds no files"):
        inbox.take(workspace, workspace.inbox / "monday", DAY, PARAMS)
    assert [path.name for path in inbox.waiting(workspace)] == ["monday"]
    assert list_batches(workspace.batches) == ()


def test_what_an_interrupted_night_left_half_taken_is_ended(workspace, deliver):
    delivery = deliver(workspace.inbox / "monday", {"bar": 3})
    (delivery / "bar" / "odd.png").symlink_to("/etc/hostname")
    copy = shutil.copytree(delivery, workspace.state / "copy", symlinks=True)
    batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
    shutil.rmtree(workspace.quarantine)
    (copy / "bar" / "0000.png").unlink()
    copy.rename(workspace.inbox / f"{inbox.TAKEN}{batch}")
    assert inbox.waiting(workspace) == ()
    assert not workspace.quarantine.exists(), "who only looks changes nothing"
    inbox.finish_taking(workspace)
    assert not list(workspace.inbox.iterdir())
    assert (workspace.quarantine / batch / "files" / "bar" / "odd.png").is_symlink()
