"""The inbox is emptied only of what is safe in the archive, and nothing that arrived is ever lost."""

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections import Counter
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from adapters.datastore import DataStore
from dataset import processes
from dataset.batches import list_batches
from dataset.deliveries.delivery import read_delivery
from dataset.split import split_of
from records.addresses import WorkspaceFile
from records.errors import Unavailable, UnreadableBatch, WrongInput
from records.experience import Report
from tasks.ingest import apart, inbox, taking
from tasks.ingest.readiness import is_folder, mark
from tasks.ingest.settings import IngestParams
from tasks.workspace.creation import create
from tasks.workspace.workspace import Workspace

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
    for name in ("tuesday", "monday.csv", ".DS_Store", "monday.csv._READY", "later.tar._READY"):
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


def splits(workspace: Workspace, batch: str) -> dict[str, str]:
    """Image to split."""
    table = parquet.read_table(workspace.batches / batch / "images-00000.parquet", columns=["image", "split"])
    return dict(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))


def test_the_key_of_a_workspace_decides_the_split_of_what_is_taken(workspace, deliver):
    def take(name: str) -> dict[str, str]:
        arrival = inbox.take(workspace, deliver(workspace.inbox / name, {"bar": 40}), DAY, PARAMS)
        return splits(workspace, arrival.batch.id)

    unkeyed = take("monday")
    assert unkeyed == {image: split_of(image, 0.5, 0) for image in unkeyed}
    other = Workspace(Path(shutil.copytree(workspace.root, workspace.root.with_name("other"), symlinks=True)))
    for batch in other.batches.iterdir():
        shutil.rmtree(batch)
    DataStore(other.root).commit_data("Begin anew")
    WorkspaceFile(split_key="7c" * 16).write(other.settings)
    delivery = deliver(other.inbox / "monday", {"bar": 40})
    keyed = splits(other, inbox.take(other, delivery, DAY, PARAMS).batch.id)
    assert keyed == {image: split_of(image, 0.5, 0, "7c" * 16) for image in unkeyed}
    assert keyed != unkeyed


def test_what_is_held_back_does_not_count_as_a_beginning(workspace, deliver):
    def tests(name: str, seed: int) -> tuple[str, int]:
        delivery = deliver(workspace.inbox / name, {"bar": 60}, seed)
        batch = inbox.take(workspace, delivery, DAY, IngestParams(enough_test_images=25)).batch.id
        return batch, list(splits(workspace, batch).values()).count("test")

    held_back, of_first = tests("monday", 1)
    report = Report(batch=held_back, source="", images=60, admitted=False, summary="", checks=())
    report.write(workspace.quarantine / held_back / "report.json")
    assert (of_first > 20, tests("tuesday", 2)[1] > 20, tests("wednesday", 3)[1] < 20) == (True, True, True)


def test_a_delivery_that_was_not_committed_stays_and_is_taken_the_next_time(workspace, deliver):
    delivery = deliver(workspace.inbox / "monday", {"bar": 2})
    lock = stop_git(workspace)
    with pytest.raises(Unavailable, match="`git add` failed.* monday is written as .* but not committed; it stays"):
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


def kept(workspace: Workspace, batch_id: str) -> list[str]:
    """What lies in quarantine of what was delivered with a batch."""
    folder = apart.kept_aside(workspace, batch_id)
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())


def during(change):
    """Tells of progress by changing something, once: images were read by then, and not committed."""
    calls = []

    def tell(done, total):
        if not calls:
            change()
        calls.append(done)

    return tell


def moved(workspace: Workspace, name: str = "monday") -> Path:
    """Where a delivery lies that is being taken: a sender may hold a handle of it."""
    (place,) = (workspace.state / "taking").glob("*/delivery")
    return place / name


def test_what_changed_after_it_was_read_is_kept(workspace, deliver):
    delivery = deliver(workspace.inbox / "monday", {"bar": 6})
    content = [(delivery / "bar" / f"{n:04d}.png").read_bytes() for n in range(6)]

    def change():
        delivery = moved(workspace)
        (delivery / "bar" / "0000.png").write_bytes(content[1])
        (delivery / "bar" / "0001.png").write_bytes(b"longer" + content[1])
        same = bytearray(content[2])
        same[-1] ^= 1
        (delivery / "bar" / "0002.png").write_bytes(same)
        os.utime(delivery / "bar" / "0002.png", (1, 1))
        (delivery / "bar" / "new").write_bytes(content[0])
        (delivery / "bar" / "new").rename(delivery / "bar" / "0003.png")
        (delivery / "bar" / "0004.png").write_bytes(content[4])
        (delivery / "bar" / "late.png").write_bytes(b"late")
        (delivery / ".late").write_bytes(b"late")
        (delivery / ".DS_Store").touch()

    batch = inbox.take(workspace, delivery, DAY, PARAMS, during(change)).batch.id
    assert kept(workspace, batch) == [
        ".late", "bar/0000.png", "bar/0001.png", "bar/0002.png", "bar/0003.png", "bar/late.png"
    ], "what was written again as it was is in the batch"  # fmt: skip
    assert not list(workspace.inbox.iterdir())


def test_files_named_in_other_ways_by_a_manifest_are_in_the_batch(workspace, deliver):
    delivery = deliver(workspace.inbox / "monday", {"bar": 2})
    (delivery / "manifest.csv").write_text("path,label\n./bar/0000.png,bar\nbar//0001.png,bar\n")
    batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
    assert (kept(workspace, batch), list(workspace.inbox.iterdir())) == ([], [])


def test_names_that_are_no_utf8_are_in_the_batch(workspace, deliver):
    delivery = deliver(workspace.inbox / "monday", {"bar": 1})
    (delivery / "bar" / "0000.png").rename(delivery / "bar" / os.fsdecode(b"caf\xe9.png"))
    batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
    assert (kept(workspace, batch), list(workspace.inbox.iterdir())) == ([], [])


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_table(path: Path, contents: list[bytes]) -> Path:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    image = pa.array([{"bytes": content, "path": None} for content in contents], struct)
    parquet.write_table(pa.table({"image": image, "label": ["a"] * len(contents)}), path)
    return path


@pytest.mark.parametrize("kind", ["tar", "tars", "table", "tables", "manifest"])
@pytest.mark.parametrize("case", ["whole", "too large", "changed"])
def test_a_shard_goes_once_all_of_its_images_are_in_the_batch(workspace, picture, kind, case):
    """Also with a `_READY` in it, or beside it."""
    good, large = [picture(1), picture(2)], picture(3) + bytes(5000)
    contents = [*good, large] if case == "too large" else good
    delivery = workspace.inbox / "monday"
    members = {f"{n}.{kind}": c for n, content in enumerate(contents) for kind, c in (("png", content), ("cls", b"0"))}
    if kind in ("tars", "tables", "manifest"):
        delivery.mkdir()
    if kind == "tars":
        write_tar(delivery / "a.tar", {"9.png": picture(9), "9.cls": b"0"})
        (delivery / "classes.txt").write_text("cat")
        shard = write_tar(delivery / "b.tar", members)
    elif kind == "tables":
        write_table(delivery / "a.parquet", [picture(9)])
        shard = write_table(delivery / "b.parquet", contents)
    elif kind == "manifest":
        shard = write_table(delivery / "manifest.parquet", contents)
    else:
        delivery = workspace.inbox / ("monday.tar" if kind == "tar" else "monday.parquet")
        shard = write_tar(delivery, members) if kind == "tar" else write_table(delivery, contents)
    mark(delivery)
    inside = "" if shard == delivery else shard.name
    touch = during(lambda: os.utime(moved(workspace, delivery.name) / inside, (1, 1)))
    progress = touch if case == "changed" else during(lambda: None)
    arrival = inbox.take(workspace, delivery, DAY, IngestParams(max_bytes=4000), progress)
    assert arrival.batch.images == len(contents) + (kind in ("tars", "tables"))
    # A number in a tar means nothing without the names beside it.
    beside = ["classes.txt"] if kind == "tars" else []
    assert kept(workspace, arrival.batch.id) == ([] if case == "whole" else [shard.name, *beside])
    assert not list(workspace.inbox.iterdir())


def test_what_is_kept_replaces_nothing_that_is_kept(workspace, deliver):
    for number, extra in enumerate([b"x", b"x", b"y"]):
        delivery = deliver(workspace.inbox / "monday", {"bar": 1})
        (delivery / "bar" / "large.png").write_bytes(extra * 5000)
        (delivery / "bar" / "link.png").symlink_to("/etc/hostname")
        batch = inbox.take(workspace, delivery, DAY, IngestParams(max_bytes=4000)).batch.id
        assert kept(workspace, batch)[:1] == ["bar/large.png"], number
    assert kept(workspace, batch) == ["bar/large.png", "bar/large.png~1", "bar/link.png"]


class Killed(BaseException):
    """As by a power cut: nothing that follows is done."""


def kill_at(patch, number: int) -> Counter:
    """The `number`-th change of a name, made by handles of folders, is not made any more, nor any that follows."""
    done: Counter = Counter()

    def fatal(name, function):
        def called(*args, **kwargs):
            if any(word.endswith("dir_fd") for word in kwargs):
                done["calls"] += 1
                if done["calls"] >= number:
                    raise Killed(f"{name} {args}")
            return function(*args, **kwargs)

        return called

    for name in ("rename", "link", "unlink", "rmdir", "mkdir"):
        patch.setattr(os, name, fatal(name, getattr(os, name)))
    return done


def lying(workspace: Workspace) -> list[str]:
    """Names of all files in the inbox and where deliveries are taken, hidden ones included."""
    found = [*workspace.inbox.rglob("*"), *(workspace.state / "taking").rglob("*/delivery/**/*")]
    found += (workspace.state / "taking").rglob("*/marker/*")
    found += (workspace.state / "taking").rglob("*/apart/*")
    return sorted(path.name for path in found if path.is_symlink() or not path.is_dir())


def places(workspace: Workspace, batch_id: str) -> Counter:
    """How often each delivered file lies in the inbox, on its way, or in quarantine, by its name."""
    return Counter([*lying(workspace), *(Path(name).name for name in kept(workspace, batch_id))])


def is_empty(workspace: Workspace) -> bool:
    """Nothing is in the inbox, and nothing is on its way."""
    return not [*workspace.inbox.iterdir(), *(workspace.state / "taking").glob("*")]


def test_a_kill_before_the_batch_is_committed_takes_nothing(workspace, deliver):
    """Wherever it is killed on its way out of the inbox and back, the delivery is there once, with what marks it."""
    for name in ("monday", "monday.tar"):
        killed = 0
        for number in range(1, 50):
            delivery = workspace.inbox / name
            if name == "monday":
                deliver(delivery, {"bar": 2})
            else:
                delivery.write_bytes(b"tar")
            mark(delivery)
            before = lying(workspace)
            with pytest.MonkeyPatch.context() as patch:
                kill_at(patch, number)
                try:
                    with taking.moved_out(workspace, delivery):
                        pass
                except Killed:
                    killed += 1
                else:
                    break
            assert [path.name for path in inbox.waiting(workspace)] == [name], "who looks finds it, wherever it is"
            inbox.finish_taking(workspace)
            assert lying(workspace) == before
            assert [path.name for path in inbox.waiting(workspace)] == [name]
            shutil.rmtree(workspace.inbox)
            workspace.inbox.mkdir()
        assert killed >= 10
        assert not list((workspace.state / "taking").iterdir())
        shutil.rmtree(workspace.inbox)
        workspace.inbox.mkdir()


def test_a_kill_at_any_point_leaves_each_file_in_one_place(workspace, deliver):
    def send(folder: Path) -> Path:
        deliver(folder, {"bar": 2, "column": 1})
        (folder / "bar" / "large.png").write_bytes(bytes(5000))
        (folder / "column" / "link.png").symlink_to("/etc/hostname")
        return folder

    odd = Counter({"large.png": 1, "link.png": 1})
    delivery = send(workspace.inbox / "monday")
    batch = inbox.take(workspace, delivery, DAY, IngestParams(max_bytes=4000)).batch.id
    assert places(workspace, batch) == odd
    killed = 0
    for number in range(1, 100):
        shutil.rmtree(workspace.quarantine)
        moved = taking.moved_out(workspace, send(workspace.inbox / "monday"))
        with moved, pytest.MonkeyPatch.context() as patch:
            moved.committed(batch, read_delivery(moved.delivery))
            kill_at(patch, number)
            try:
                moved.take_apart()
            except Killed:
                killed += 1
            else:
                break
        found = places(workspace, batch)
        assert Counter({name: found[name] for name in odd}) == odd, "what is in no batch is never in two places"
        inbox.finish_taking(workspace)
        assert places(workspace, batch) == odd
        assert is_empty(workspace)
    assert killed >= 12, "each file is moved, then removed or kept, and the folders go"


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


@pytest.mark.parametrize("name", ["monday.csv", "monday.parquet"])
def test_a_manifest_beside_the_folder_that_it_names_is_refused_and_the_folder_waits(workspace, deliver, name):
    photos, other = (deliver(workspace.inbox / folder, {"bar": 2}) for folder in ("photos", "other"))
    manifest, paths = workspace.inbox / name, ["./photos/bar/0000.png", "photos/bar/0001.png"]
    if name == "monday.csv":
        manifest.write_text("path,label\n" + "".join(f"{path},cat\n" for path in paths) + "half a li")
    else:
        parquet.write_table(pa.table({"path": paths, "label": ["cat"] * 2}), manifest)
    kind = manifest.suffix
    assert inbox.named_beside(workspace) == {
        photos: f"is named by {name} beside it; it is taken once that lies in it as manifest{kind}, or "
        "is taken away, or after a day, as it is."
    }
    with pytest.raises(UnreadableBatch, match=f"^{name} names files beside it, .*put .* as manifest{kind}, with paths"):
        inbox.take(workspace, manifest, DAY, PARAMS)
    assert inbox.waiting(workspace) == (manifest, other, photos)
    manifest.unlink()
    write_table(manifest.with_suffix(".parquet"), [b"photos"])
    assert inbox.named_beside(workspace) == {}


def test_what_cannot_become_a_batch_stays(workspace):
    (workspace.inbox / "monday" / "bar").mkdir(parents=True)
    with pytest.raises(UnreadableBatch, match="holds no files"):
        inbox.take(workspace, workspace.inbox / "monday", DAY, PARAMS)
    assert [path.name for path in inbox.waiting(workspace)] == ["monday"]
    assert list_batches(workspace.batches) == ()


def test_what_an_earlier_retain_left_half_taken_is_ended(workspace, deliver):
    """It took deliveries apart in the inbox itself, under a hidden name."""
    delivery = deliver(workspace.inbox / "monday", {"bar": 3})
    (delivery / "bar" / "odd.png").symlink_to("/etc/hostname")
    copy = shutil.copytree(delivery, workspace.state / "copy", symlinks=True)
    batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
    shutil.rmtree(workspace.quarantine)
    (copy / "bar" / "0000.png").unlink()
    copy.rename(workspace.inbox / f".taken-{batch}-1700000000")
    stranger = workspace.inbox / ".taken-..-1700000000"
    stranger.mkdir()
    assert inbox.waiting(workspace) == ()
    assert not workspace.quarantine.exists(), "who only looks changes nothing"
    inbox.finish_taking(workspace)
    assert list(workspace.inbox.iterdir()) == [stranger]
    assert (workspace.quarantine / batch / "files" / "bar" / "odd.png").is_symlink()


def deny(patch, name: str, refuses) -> None:
    """As the system does for all but its administrator; `refuses` is asked about a name and the handle it is in."""
    real = getattr(os, name)

    def denied(path, *args, **kwargs):
        handles = [handle for word, handle in kwargs.items() if word in ("dir_fd", "src_dir_fd")]
        if handles and refuses(str(path), handles[0]):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    patch.setattr(os, name, denied)


def is_writable(handle: int) -> bool:
    return bool(os.fstat(handle).st_mode & 0o200)


def test_a_copy_of_a_read_only_folder_is_removed(workspace, deliver, monkeypatch):
    delivery = deliver(workspace.inbox / "monday", {"bar": 2})
    (delivery / "bar" / "deep").mkdir()
    (delivery / "bar" / "deep" / "link.png").symlink_to("/etc/hostname")
    for folder in (delivery / "bar" / "deep", delivery / "bar", delivery):
        folder.chmod(0o555)
    for name in ("unlink", "rmdir", "rename"):
        deny(monkeypatch, name, lambda _, handle: not is_writable(handle))
    # A folder that moves gets another one above it, which is written into it.
    deny(
        monkeypatch,
        "rename",
        lambda name, handle: name == "monday" and not os.stat(name, dir_fd=handle).st_mode & 0o200,
    )
    batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
    assert (kept(workspace, batch), is_empty(workspace)) == (["bar/deep/link.png"], True)


def test_what_cannot_be_removed_is_told_and_stops_nothing_else(workspace, deliver, monkeypatch):
    first = deliver(workspace.inbox / "a", {"bar": 2})
    with monkeypatch.context() as patch:
        deny(patch, "rename", lambda name, _: name == "0001.png")
        batch = inbox.take(workspace, first, DAY, PARAMS).batch.id
        second = taking.moved_out(workspace, deliver(workspace.inbox / "b", {"bar": 2}))
        with second:
            second.committed(batch, read_delivery(second.delivery))
        (second.delivery / "bar" / "0001.png").unlink()
        ((name, sentence),) = inbox.finish_taking(workspace).items()
    assert name == "a"
    assert lying(workspace) == ["0001.png"]
    assert sentence.startswith("it is in the archive, but ")
    assert sentence.endswith("/delivery/a/bar/0001.png cannot be removed: Permission denied. Remove it by hand.")
    assert inbox.finish_taking(workspace) == {}
    assert is_empty(workspace)


def test_a_delivery_that_cannot_be_moved_is_taken_where_it_lies(workspace, deliver, monkeypatch, caplog):
    delivery = deliver(workspace.inbox / "monday", {"bar": 2})
    with monkeypatch.context() as patch:
        deny(patch, "rename", lambda name, _: name == "monday")
        batch = inbox.take(workspace, delivery, DAY, PARAMS).batch
    assert "monday stays in the inbox: it cannot be moved out of it (Permission denied)" in caplog.text
    assert lying(workspace) == ["0000.png", "0001.png"]
    again = inbox.take(workspace, delivery, DAY, PARAMS)
    assert (again.known, again.batch, is_empty(workspace)) == (True, batch, True)


def test_what_is_a_file_in_one_delivery_may_be_a_folder_in_the_next(workspace, deliver, tmp_path):
    def leave_file(delivery):
        (delivery / ".notes").write_bytes(b"file")

    def leave_folder(delivery):
        (delivery / ".notes").mkdir()
        (delivery / ".notes" / "1").write_bytes(b"in a folder")

    def leave_link(delivery):
        (delivery / ".notes").symlink_to(tmp_path / "elsewhere")

    (tmp_path / "elsewhere").mkdir()
    for leave in (leave_link, leave_folder, leave_file, leave_folder):
        delivery = deliver(workspace.inbox / "monday", {"bar": 1})
        leave(delivery)
        batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
    assert kept(workspace, batch) == [".notes", ".notes~1/1", ".notes~2"]
    assert not list((tmp_path / "elsewhere").iterdir()), "no link is followed"


def test_a_file_that_is_replaced_before_it_goes_is_kept(workspace, picture, monkeypatch):
    delivery = write_tar(workspace.inbox / "monday.tar", {"1.png": picture(1), "1.cls": b"a"})
    later = write_tar(workspace.state / "later.tar", {"2.png": picture(2), "2.cls": b"a"})
    rename, times = os.rename, []

    def replace_first(path, *args, **kwargs):
        if path == "monday.tar":
            times.append(path)
            if len(times) == 2:  # The first time it is moved out of the inbox; now it has been looked at, and goes.
                (place,) = (workspace.state / "taking").rglob("delivery")
                later.replace(place / "monday.tar")
        rename(path, *args, **kwargs)

    monkeypatch.setattr(os, "rename", replace_first)
    batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
    assert kept(workspace, batch) == ["monday.tar"]
    assert not list(workspace.inbox.iterdir())


@pytest.mark.parametrize("max_bytes", [4000, 10])
def test_a_kill_while_a_file_goes_is_made_good(workspace, picture, max_bytes):
    params = IngestParams(max_bytes=max_bytes)
    content = {"1.png": picture(1), "1.cls": b"a"}
    batch = inbox.take(workspace, write_tar(workspace.inbox / "monday.tar", content), DAY, params).batch.id
    for number in range(1, 100):
        shutil.rmtree(workspace.quarantine, ignore_errors=True)
        moved = taking.moved_out(workspace, write_tar(workspace.inbox / "monday.tar", content))
        with moved, pytest.MonkeyPatch.context() as patch:
            moved.committed(batch, read_delivery(moved.delivery))
            kill_at(patch, number)
            try:
                moved.take_apart()
            except Killed:
                pass
            else:
                break
        inbox.finish_taking(workspace)
        assert kept(workspace, batch) == ([] if max_bytes == 4000 else ["monday.tar"])
        assert is_empty(workspace)
    assert number >= 6, "the file moves, is removed or kept, and the folders go"


def test_what_is_only_named_as_what_a_macintosh_leaves_is_kept(workspace, deliver, picture):
    delivery = deliver(workspace.inbox / "monday", {"bar": 1})
    (delivery / "bar" / "._0000.png").write_bytes(bytes.fromhex("00051607") + b"Mac OS X")
    (delivery / "bar" / "._1.png").write_bytes(picture(1))
    (delivery / "._link").symlink_to(delivery / "bar" / "._0000.png")
    batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
    assert kept(workspace, batch) == ["._link", "bar/._1.png"]
    assert not list(workspace.inbox.iterdir())


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("inbox", "shop/inbox is the inbox, and what lies in the inbox needs no ingest: run `retain night`."),
        ("", "shop holds the inbox, and what lies in the inbox needs no ingest: run `retain night`."),
        ("..", "shop/.. holds the inbox, and what lies in the inbox needs no ingest: run `retain night`."),
        ("data", "shop/data lies in the archive, and what lies there was ingested already. Name a delivery outside"),
        ("data/batches", "shop/data/batches lies in the archive, and what lies there was ingested already."),
    ],
)
def test_the_workspace_is_no_delivery(workspace, deliver, where, sentence):
    deliver(workspace.inbox / "monday", {"bar": 1})
    with pytest.raises(WrongInput, match=re.escape(sentence)):
        inbox.take(workspace, workspace.root / where, DAY, PARAMS)
    assert list_batches(workspace.batches) == ()


# A sender who means harm


class Hostile(threading.Thread):
    """Exchanges a folder of a delivery for a link that leads out of it, and back, as long as the block lasts.

    It holds a handle of the delivery's folder, so that moving that away does not stop it.
    """

    def __init__(self, delivery: Path, outside: Path) -> None:
        super().__init__(daemon=True)
        self.handle = os.open(delivery, os.O_RDONLY | os.O_DIRECTORY)
        self.outside, self.times, self.over = outside, 0, threading.Event()

    def __enter__(self) -> "Hostile":
        return self

    def __exit__(self, *error) -> None:
        self.over.set()
        self.join()
        os.close(self.handle)

    def run(self) -> None:
        at = self.handle
        while not self.over.is_set():
            for change in (
                lambda: os.rename("bar", ".bar", src_dir_fd=at, dst_dir_fd=at),
                lambda: os.symlink(self.outside, "bar", dir_fd=at),
                lambda: os.unlink("bar", dir_fd=at),
                lambda: os.rename(".bar", "bar", src_dir_fd=at, dst_dir_fd=at),
            ):
                with contextlib.suppress(OSError):  # It may be gone by now.
                    change()
            self.times += 1


@pytest.mark.parametrize("begins", ["before it is listed", "while it is read"])
def test_a_folder_that_becomes_a_link_leads_nobody_out(workspace, deliver, tmp_path, begins):
    delivery = deliver(workspace.inbox / "monday", {"bar": 1000})
    outside = Path(shutil.copytree(delivery / "bar", tmp_path / "outside"))
    for path in outside.iterdir():  # As large, named alike, and older than the delivery.
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    with Hostile(delivery, outside) as hostile, contextlib.suppress(UnreadableBatch):
        if begins == "before it is listed":
            hostile.start()
        inbox.take(workspace, delivery, DAY, PARAMS, during(hostile.start) if not hostile.is_alive() else lambda *_: 0)
    assert hostile.times > (0 if begins == "before it is listed" else 10)
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == before, "nothing outside is removed,"
    batches = list_batches(workspace.batches)
    rows = [row for batch in batches for row in rows_of(workspace, batch)]
    digests = {hashlib.sha256(content).hexdigest() for content in before.values()}
    assert not digests & {row["sha256"] for row in rows}, "nothing outside is read,"
    assert inbox.finish_taking(workspace) == {}
    left = {*lying(workspace), *(Path(name).name for batch in batches for name in kept(workspace, batch))}
    taken = {Path(row["path"]).name for row in rows if row["sha256"]}
    assert before.keys() <= left | taken, "and nothing is lost"


def rows_of(workspace: Workspace, batch: str) -> list[dict]:
    shards = (workspace.batches / batch).glob("*.parquet")
    return [row for shard in shards for row in parquet.read_table(shard, columns=["path", "sha256"]).to_pylist()]


def test_what_a_manifest_names_removes_nothing_else(workspace, picture):
    """An image may be called as if it lay in a tar that is there too, and that nobody looked into."""
    delivery = workspace.inbox / "monday"
    delivery.mkdir()
    write_tar(delivery / "data.tar", {"1.png": picture(1), "1.cls": b"a"})
    (delivery / "classes.txt").write_text("cat\n")
    (delivery / "data.tar#1.png").write_bytes(picture(2))
    (delivery / "manifest.csv").write_text("path,label\ndata.tar#1.png,cat\n")
    batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
    assert kept(workspace, batch) == ["classes.txt", "data.tar"]
    assert set(apart.reasons_of(workspace, batch).values()) == {"it is no part of the batch"}


@pytest.mark.parametrize(
    ("beside", "reason"),
    [
        ({"1.cls": b"\xff\xfe"}, "it holds what retain does not understand: .cls"),
        ({"1.cls": b"a", "1.mask.png": b"mask"}, "it holds what retain does not understand: .mask.png"),
        ({"1.json": b'{"label": "a", "boxes": [[1, 2]]}'}, "it holds what retain does not understand: boxes in .json"),
        ({"1.cls": b"a", "1.txt": b"a photo of a"}, "it holds what retain does not understand: .txt"),
        ({"1.cls": b"a", "1.npy": b"x", ".notes": b"y"}, "it holds what retain does not understand: .notes, .npy"),
        ({"1.cls": b"a", "1.json": b'{"label": "b"}'}, "it holds what retain does not understand: label in .json"),
        ({"1.cls": b"a", "1.json": b'{"label": "a", "camera": 3}'}, ""),
        ({"1.cls": b"a", "._1.png": bytes.fromhex("00051607"), ".DS_Store": b"x"}, ""),
    ],
)
def test_a_tar_of_which_something_is_not_understood_is_kept(workspace, picture, beside, reason):
    delivery = write_tar(workspace.inbox / "monday.tar", {"1.png": picture(1), **beside})
    batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
    assert apart.reasons_of(workspace, batch) == ({"monday.tar": reason} if reason else {})
    assert kept(workspace, batch) == (["monday.tar"] if reason else [])


def test_columns_that_are_not_understood_keep_their_file(workspace, picture):
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string()), ("depth", pa.binary())])
    image = pa.array([{"bytes": picture(1), "path": "1.png", "depth": b"z"}], struct)
    columns = {"image": image, "label": ["a"], "boxes": [[[0.0, 1.0]]], "mask": [b"bits"], "camera": ["left"]}
    parquet.write_table(pa.table(columns), workspace.inbox / "monday.parquet")
    batch = inbox.take(workspace, workspace.inbox / "monday.parquet", DAY, PARAMS).batch
    assert batch.columns == ("camera", "image.path")
    assert apart.reasons_of(workspace, batch.id) == {
        "monday.parquet": "it holds what retain does not understand: boxes, image.depth, mask"
    }
    assert kept(workspace, batch.id) == ["monday.parquet"]


def test_a_file_of_which_rows_repeat_others_goes(workspace, picture):
    write_table(workspace.inbox / "monday.parquet", [picture(1), picture(2), picture(1)])
    batch = inbox.take(workspace, workspace.inbox / "monday.parquet", DAY, PARAMS).batch
    assert (batch.images, kept(workspace, batch.id), is_empty(workspace)) == (3, [], True)


@pytest.mark.parametrize("kind", ["dangling link", "folder"])
def test_nothing_is_written_into_the_inbox(workspace, deliver, tmp_path, kind):
    delivery = deliver(workspace.inbox / "monday", {"bar": 1})
    trap, target = workspace.inbox / f".{os.getpid()}", tmp_path / "made"
    trap.mkdir() if kind == "folder" else trap.symlink_to(target)
    inbox.take(workspace, delivery, DAY, PARAMS)
    assert (os.path.lexists(target), list(workspace.inbox.iterdir())) == (False, [trap])


def test_a_manifest_holds_up_what_it_names_for_a_day_alone(workspace, deliver):
    photos = deliver(workspace.inbox / "photos", {"bar": 1})
    (workspace.inbox / "stranger.csv").write_text("path,label\nphotos/bar/0000.png,cat\nphotos,cat\n,\n")
    came = photos.stat().st_ctime
    assert list(inbox.named_beside(workspace, came + 23 * 3600)) == [photos]
    assert inbox.named_beside(workspace, came + 25 * 3600) == {}


def test_a_folder_with_the_name_of_a_marker_is_told(workspace, deliver):
    folder = deliver(workspace.inbox / "monday._READY", {"bar": 1})
    assert inbox.waiting(workspace) == (folder,)
    with pytest.raises(UnreadableBatch, match=r"monday\._READY is a folder, .* Give the folder another name"):
        inbox.take(workspace, folder, DAY, PARAMS)
    assert inbox.waiting(workspace) == (folder,)


def test_a_name_may_be_as_long_as_a_name_can_be(workspace, picture):
    for number, name in enumerate(("x" * 246 + ".tar", "y" * 251 + ".tar")):
        content = {"1.png": picture(number), "1.cls": b"a", "2.png": b"x" * 5000, "2.cls": b"a"}
        for _ in range(2):
            delivery = write_tar(workspace.inbox / name, content)
            os.utime(delivery, (number, number))
            content["1.cls"] += b" "  # The same images and labels, in another file.
            batch = inbox.take(workspace, delivery, DAY, IngestParams(max_bytes=4000)).batch.id
        assert kept(workspace, batch) == sorted([name, name[: 255 - 2] + "~1"])
        assert is_empty(workspace)


def test_an_inbox_on_another_file_system_is_emptied_too(workspace, deliver, tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no other file system here")
        workspace.inbox.rmdir()
        workspace.inbox.symlink_to(other)
        delivery = deliver(workspace.inbox / "monday", {"bar": 2})
        (delivery / "bar" / "link.png").symlink_to("/etc/hostname")
        (delivery / "bar" / "large.png").write_bytes(bytes(5000))
        batch = inbox.take(workspace, delivery, DAY, IngestParams(max_bytes=4000)).batch.id
        assert kept(workspace, batch) == ["bar/large.png", "bar/link.png"]
        assert lying(workspace) == []
        assert [path.name for path in workspace.inbox.iterdir()] == [".taking"]
        assert (workspace.inbox / ".taking").stat().st_mode & 0o077 == 0
        (workspace.inbox / ".taking").rmdir()
        (workspace.inbox / ".taking").symlink_to(tmp_path)
        again = inbox.take(workspace, deliver(workspace.inbox / "monday", {"bar": 2}), DAY, PARAMS)
        assert again.batch.images == 2
        assert lying(workspace) == [".taking", "0000.png", "0001.png"], "where somebody else could be, nothing is taken"


def test_what_a_reader_did_not_expect_concerns_that_delivery_alone(workspace, deliver, monkeypatch):
    delivery = deliver(workspace.inbox / "monday", {"bar": 1})

    def fail(*_, **__):
        raise IndexError("list index\nout of range")

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "read_table", fail)  # The lowest that is asked once the batch is written.
        with pytest.raises(
            UnreadableBatch, match=r"monday could not be taken \(IndexError: list index.*out of range\)"
        ):
            inbox.take(workspace, delivery, DAY, PARAMS)
    assert inbox.waiting(workspace) == (delivery,)


def test_a_full_disk_is_told_truly(workspace, deliver, monkeypatch):
    delivery = deliver(workspace.inbox / "monday", {"bar": 1})

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("mkdir", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(Unavailable, match=r"is full.* Nothing of monday was taken\."):
                inbox.take(workspace, delivery, DAY, PARAMS)
        assert (inbox.waiting(workspace), list_batches(workspace.batches)) == ((delivery,), ())
    assert not inbox.take(workspace, delivery, DAY, PARAMS).known


def test_a_delivery_that_comes_back_replaces_no_other(workspace, deliver):
    first = deliver(workspace.inbox / "monday", {"bar": 1})
    with taking.moved_out(workspace, first):
        deliver(workspace.inbox / "monday", {"column": 1})
    assert [path.name for path in inbox.waiting(workspace)] == ["monday", "monday~1"]
    tar = write_tar(workspace.inbox / "a.tar", {"1.cls": b"a"})
    mark(tar)
    with taking.moved_out(workspace, tar):
        write_tar(tar, {"2.cls": b"a"})
    assert sorted(path.name for path in workspace.inbox.iterdir()) == [
        "a.tar", "a.tar._READY", "a~1.tar", "monday", "monday~1"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["../../../elsewhere", "2026-03-02", "monday"])
def test_a_record_that_retain_did_not_write_leads_nowhere(workspace, deliver, name):
    """A sender that is the same user to the system can make such folders."""
    folder = workspace.inbox / ".taking" / "00"
    (folder / "delivery").mkdir(parents=True)
    folder.parent.chmod(0o700)
    (folder / "delivery" / "keys").write_text("mine")
    (folder / "taken.json").write_text(json.dumps({"batch": name}))
    there = sorted(path for path in workspace.root.parent.rglob("*") if ".git" not in path.parts)
    assert inbox.finish_taking(workspace) == {
        "keys": f"{folder}/taken.json is not retain's. Look at what lies in {folder} and move it away."
    }
    assert sorted(path for path in workspace.root.parent.rglob("*") if ".git" not in path.parts) == there
    assert inbox.take(workspace, deliver(workspace.inbox / "monday", {"bar": 1}), DAY, PARAMS).batch.images == 1


def test_odd_folders_among_those_of_retain_stop_nothing(workspace, deliver):
    taking_place = workspace.inbox / ".taking"
    for number, make in enumerate((Path.touch, lambda path: path.symlink_to("/etc"), os.mkfifo)):
        for name in ("delivery", "marker", "taken.json"):
            (taking_place / f"{number}{name}").mkdir(parents=True)
            make(taking_place / f"{number}{name}" / name)
    taking_place.chmod(0o700)
    delivery = deliver(workspace.inbox / "monday", {"bar": 1})
    inbox.finish_taking(workspace)
    assert inbox.waiting(workspace) == (delivery,)
    assert inbox.take(workspace, delivery, DAY, PARAMS).batch.images == 1


def test_without_an_inbox_what_was_on_its_way_waits(workspace, deliver):
    """As when a disk is not mounted: nights go on, and nobody is told that it is in the archive."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taking, "put_back", lambda *_: None)  # The night was killed.
        with taking.moved_out(workspace, deliver(workspace.inbox / "monday", {"bar": 1})) as moved:
            where = moved.delivery
    workspace.inbox.rmdir()
    for _ in range(2):
        assert inbox.waiting(workspace) == (where,)
        assert inbox.finish_taking(workspace) == {
            "monday": "a night ended before it was taken, and it cannot be put back into the inbox: No such file or "
            f"directory. It lies in {where.parent}, and the next night tries again."
        }
        workspace.inbox.unlink(missing_ok=True)
        workspace.inbox.symlink_to("nowhere")
    assert inbox.take(workspace, where, DAY, PARAMS).batch.images == 1
    workspace.inbox.unlink()
    workspace.inbox.mkdir()
    inbox.finish_taking(workspace)
    assert inbox.waiting(workspace) == (workspace.inbox / "monday",)
    assert inbox.take(workspace, workspace.inbox / "monday", DAY, PARAMS).known
    assert is_empty(workspace)


def test_what_an_earlier_retain_left_on_another_file_system_is_ended(workspace, deliver, tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no other file system here")
        workspace.inbox.rmdir()
        workspace.inbox.symlink_to(other)
        batch = inbox.take(workspace, deliver(workspace.inbox / "monday", {"bar": 2}), DAY, PARAMS).batch.id
        deliver(workspace.inbox / f".taken-{batch}-1700000000", {"bar": 2})
        inbox.finish_taking(workspace)
        assert lying(workspace) == []


@pytest.mark.parametrize("target", ["nothing", "monday", "elsewhere"])
def test_a_delivery_that_is_a_link_stays_and_leads_nowhere(workspace, deliver, tmp_path, target):
    """To nothing, to itself, or to a folder that is a delivery but for its place."""
    elsewhere = deliver(tmp_path / "elsewhere", {"bar": 1})
    delivery = workspace.inbox / "monday"
    delivery.symlink_to(elsewhere if target == "elsewhere" else target)
    assert (inbox.waiting(workspace), is_folder(delivery)) == ((delivery,), False)
    with pytest.raises(UnreadableBatch, match="monday is a symbolic link, and links are not followed"):
        inbox.take(workspace, delivery, DAY, PARAMS)
    assert (inbox.waiting(workspace), len(list(elsewhere.rglob("*.png")))) == ((delivery,), 1)


HOLE = 2**42
"""Bytes of a file that takes no place; to read it takes an hour."""


def test_what_became_a_hole_of_terabytes_is_not_read(workspace, deliver):
    delivery = deliver(workspace.inbox / "monday", {"bar": 2})
    grow = during(lambda: os.truncate(moved(workspace) / "bar" / "0000.png", HOLE))
    batch = inbox.take(workspace, delivery, DAY, PARAMS, grow).batch.id
    assert (kept(workspace, batch), is_empty(workspace)) == (["bar/0000.png"], True)
    assert apart.reasons_of(workspace, batch) == {"bar/0000.png": "it is not as it was when it was read"}


def test_holes_that_are_sent_twice_are_not_compared(workspace, deliver):
    for _ in range(2):
        delivery = deliver(workspace.inbox / "monday", {"bar": 1})
        (delivery / ".hole").touch()
        os.truncate(delivery / ".hole", HOLE)
        batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
    assert kept(workspace, batch) == [".hole", ".hole~1"]


def test_a_hole_that_goes_to_another_file_system_stays_one(workspace, deliver, tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no other file system here")
        workspace.inbox.rmdir()
        workspace.inbox.symlink_to(other)
        delivery = deliver(workspace.inbox / "monday", {"bar": 1})
        with (delivery / ".hole").open("wb") as hole:
            hole.write(b"begin")
            hole.seek(2**36)
            hole.write(b"end")
        batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
        copy = apart.kept_aside(workspace, batch) / ".hole"
        with copy.open("rb") as hole:
            assert (hole.read(6), hole.seek(2**36), hole.read()) == (b"begin\0", 2**36, b"end")
        assert copy.stat().st_blocks * 512 < 2**20


def test_a_disk_that_is_full_is_given_no_half_copies(workspace, deliver, tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no other file system here")
        workspace.inbox.rmdir()
        workspace.inbox.symlink_to(other)
        delivery = deliver(workspace.inbox / "monday", {"bar": 1})
        (delivery / ".notes").write_bytes(b"notes")

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
            assert kept(workspace, batch) == []
        assert inbox.finish_taking(workspace) == {}
        assert kept(workspace, batch) == [".notes"]


def test_one_process_looks_at_all_manifests(workspace, deliver, monkeypatch):
    photos = deliver(workspace.inbox / "photos", {"bar": 1})
    for number in range(20):
        (workspace.inbox / f"{number}.csv").touch()
    (workspace.inbox / "named.csv").write_text("path,label\nphotos/bar/0000.png,cat\n")
    started = []
    monkeypatch.setattr(processes._Helper, "__init__", counted(processes._Helper.__init__, started))
    assert (list(inbox.named_beside(workspace)), len(started)) == ([photos], 1)


def counted(function, calls: list):
    def called(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs)

    return called


def test_a_name_of_one_long_suffix_gets_another_one_too(workspace):
    first = write_tar(workspace.inbox / ("a." + "x" * 253), {"1.cls": b"a"})
    with taking.moved_out(workspace, first):
        write_tar(first, {"2.cls": b"a"})
    assert sorted(len(path.name) for path in workspace.inbox.iterdir()) == [255, 255]
    assert not list((workspace.state / "taking").iterdir())
