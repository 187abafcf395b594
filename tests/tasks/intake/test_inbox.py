"""The inbox is emptied only of what is safe in the archive, and nothing that arrived is ever lost."""

import errno
import io
import os
import re
import shutil
import subprocess
import tarfile
from collections import Counter
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from adapters.datastore import DataStore
from models.images import split_of
from records.addresses import WorkspaceFile
from records.errors import Unavailable, UnreadableBatch, WrongInput
from records.experience import Report
from tasks.creation import create
from tasks.intake import inbox
from tasks.intake.ingest import IngestParams, list_batches
from tasks.intake.readiness import mark
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
        batch = inbox.take(workspace, delivery, DAY, IngestParams(enough_test=25)).batch.id
        return batch, list(splits(workspace, batch).values()).count("test")

    held_back, of_first = tests("monday", 1)
    report = Report(batch=held_back, source="", images=60, admitted=False, summary="", checks=())
    report.write(workspace.quarantine / held_back / "report.json")
    assert (of_first > 20, tests("tuesday", 2)[1] > 20, tests("wednesday", 3)[1] < 20) == (True, True, True)


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


def kept(workspace: Workspace, batch_id: str) -> list[str]:
    """What lies in quarantine of what was delivered with a batch."""
    folder = inbox.kept_aside(workspace, batch_id)
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())


def during(change):
    """Tells of progress by changing something, once: images were read by then, and not committed."""
    told = []

    def tell(done, total):
        if not told:
            change()
        told.append(done)

    return tell


def test_what_changed_after_it_was_read_is_kept(workspace, deliver):
    delivery = deliver(workspace.inbox / "monday", {"bar": 6})
    content = [(delivery / "bar" / f"{n:04d}.png").read_bytes() for n in range(6)]

    def change():
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
    progress = during(lambda: os.utime(shard, (1, 1))) if case == "changed" else during(lambda: None)
    arrival = inbox.take(workspace, delivery, DAY, IngestParams(max_bytes=4000), progress)
    assert arrival.batch.images == len(contents) + (kind in ("tars", "tables"))
    assert kept(workspace, arrival.batch.id) == ([] if case == "whole" else [shard.name])
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


def kill_at(patch, folder: Path, number: int) -> Counter:
    """The `number`-th change that is made below a folder is not made any more, nor any that follows."""
    done: Counter = Counter()

    def fatal(name, function):
        def called(path, *args, **kwargs):
            if isinstance(path, str | Path) and Path(path).is_relative_to(folder):
                done["calls"] += 1
                if done["calls"] >= number:
                    raise Killed(f"{name} {path}")
            return function(path, *args, **kwargs)

        return called

    for name in ("rename", "replace", "unlink", "rmdir", "mkdir"):
        patch.setattr(os, name, fatal(name, getattr(os, name)))
    return done


def places(workspace: Workspace, batch_id: str) -> Counter:
    """How often each delivered file lies in the inbox or in quarantine, by its name."""
    found = [path for path in workspace.inbox.rglob("*") if path.is_symlink() or path.is_file()]
    return Counter([Path(name).name for name in (*map(str, found), *kept(workspace, batch_id))])


def test_a_kill_at_any_point_leaves_each_file_in_one_place(workspace, deliver):
    def send(folder: Path) -> Path:
        deliver(folder, {"bar": 2, "column": 1})
        (folder / "bar" / "large.png").write_bytes(bytes(5000))
        (folder / "column" / "link.png").symlink_to("/etc/hostname")
        return folder

    odd = Counter({"large.png": 1, "link.png": 1})
    delivery = send(workspace.inbox / "monday")
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, delivery, 1)
        with pytest.raises(Killed, match="rename .*monday"):
            inbox.take(workspace, delivery, DAY, IngestParams(max_bytes=4000))
    (batch,) = list_batches(workspace.batches)
    assert last_commit(workspace).startswith(f"Ingest {batch}"), "it is committed,"
    assert places(workspace, batch) == Counter({"0000.png": 2, "0001.png": 1}) + odd, "and still there,"
    inbox.take(workspace, delivery, DAY, IngestParams(max_bytes=4000))
    assert places(workspace, batch) == odd, "until the next night"
    killed = 0
    for number in range(1, 100):
        shutil.rmtree(workspace.quarantine)
        send(workspace.inbox / f"{inbox.TAKEN}{batch}")
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, workspace.root, number)
            try:
                inbox.finish_taking(workspace)
            except Killed:
                killed += 1
            else:
                break
        found = places(workspace, batch)
        assert Counter({name: found[name] for name in odd}) == odd, "what is in no batch is never in two places"
        inbox.finish_taking(workspace)
        assert places(workspace, batch) == odd
        assert not list(workspace.inbox.iterdir())
    assert killed >= 8, "three images, two moves, three folders, at least"


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
        photos: f"is named by {name} beside it; it is taken once that lies in it as manifest{kind}, or is taken away."
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


def deny(patch, name: str, refuses) -> None:
    """As the system does for all but its administrator."""
    real = getattr(os, name)

    def denied(path, *args, **kwargs):
        if refuses(Path(path)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    patch.setattr(os, name, denied)


def test_a_copy_of_a_read_only_folder_is_removed(workspace, deliver, monkeypatch):
    delivery = deliver(workspace.inbox / "monday", {"bar": 2})
    (delivery / "bar" / "deep").mkdir()
    (delivery / "bar" / "deep" / "link.png").symlink_to("/etc/hostname")
    for folder in (delivery / "bar" / "deep", delivery / "bar", delivery):
        folder.chmod(0o555)
    for name in ("unlink", "rmdir", "rename"):
        deny(monkeypatch, name, lambda path: path.name != "monday" and not path.parent.stat().st_mode & 0o200)
    batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
    assert (kept(workspace, batch), list(workspace.inbox.iterdir())) == (["bar/deep/link.png"], [])


def test_what_cannot_be_removed_is_told_and_stops_nothing_else(workspace, deliver, monkeypatch):
    first = deliver(workspace.inbox / "a", {"bar": 2})
    with monkeypatch.context() as patch:
        deny(patch, "unlink", lambda path: path.name == "0001.png")
        batch = inbox.take(workspace, first, DAY, PARAMS).batch.id
        second = workspace.inbox / f"{inbox.TAKEN}{batch}-9"
        (second / "bar").mkdir(parents=True)
        ((name, sentence),) = inbox.finish_taking(workspace).items()
    assert name.startswith(f"{inbox.TAKEN}{batch}-")
    assert not second.exists()
    assert sentence.startswith("it is in the archive, but ")
    assert sentence.endswith(f"{name}/bar/0001.png cannot be removed: Permission denied. Remove it by hand.")
    assert inbox.finish_taking(workspace) == {}
    assert not list(workspace.inbox.iterdir())


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
    rename = os.rename

    def replace_first(path, *args, **kwargs):
        if Path(path) == delivery:
            later.replace(delivery)
        rename(path, *args, **kwargs)

    monkeypatch.setattr(os, "rename", replace_first)
    batch = inbox.take(workspace, delivery, DAY, PARAMS).batch.id
    assert kept(workspace, batch) == ["monday.tar"]
    assert not list(workspace.inbox.iterdir())


@pytest.mark.parametrize("max_bytes", [4000, 10])
def test_a_kill_while_a_file_goes_is_made_good(workspace, picture, max_bytes):
    params = IngestParams(max_bytes=max_bytes)
    for number in range(1, 100):
        shutil.rmtree(workspace.quarantine, ignore_errors=True)
        delivery = write_tar(workspace.inbox / "monday.tar", {"1.png": picture(1), "1.cls": b"a"})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inbox, "_time_of_disk", lambda folder: 2**62)
            kill_at(patch, workspace.inbox, number)
            try:
                inbox.take(workspace, delivery, DAY, params)
            except Killed:
                pass
            else:
                break
        inbox.finish_taking(workspace)
        for left in inbox.waiting(workspace):
            inbox.take(workspace, left, DAY, params)
        (batch,) = list_batches(workspace.batches)
        assert kept(workspace, batch) == ([] if max_bytes == 4000 else ["monday.tar"])
        assert not list(workspace.inbox.iterdir())
    assert number >= 4, "a folder is made, the file moves there, both go"


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
