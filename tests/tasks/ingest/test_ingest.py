import csv
import errno
import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image as Pillow

from dataset.batches import count_tests, list_batches, read_batch
from dataset.processes import in_order
from dataset.shards import SHARD_SCHEMA
from dataset.split import split_of
from records.batch import Batch
from records.errors import DamagedState, Unavailable, UnreadableBatch, WrongInput
from records.registration import Night
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams

DAY = date(2026, 1, 5)
LATER = date(2026, 1, 6)
PARAMS = IngestParams(max_bytes=10_000, validation_share=0.1)


def png(*levels):
    file = io.BytesIO()
    Pillow.fromarray(np.array([levels], dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


NOISE = png(*np.random.default_rng(0).integers(0, 256, 9_000))


def lay_out(folder, files):
    """Files by their path; the bytes of a string are its UTF-8."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def manifest(folder, rows, header=("path", "label")):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return folder


@pytest.fixture
def take(tmp_path):
    """Ingest into a workspace of its own."""

    def take(source, day=DAY, params=PARAMS, workers=0, where="workspace", progress=None, key=""):
        home = tmp_path / where
        return ingest(home / "batches", home / "staging", source, day, params, workers, progress, key)

    take.batches = tmp_path / "workspace" / "batches"
    return take


def rows_of(batches, batch):
    tables = [parquet.read_table(batches / batch.id / shard.name) for shard in batch.shards]
    return pa.concat_tables(tables).to_pylist()


def everything_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shapes(tmp_path):
    files = {"round/b.png": png(1, 2), "round/a.png": png(3, 4), "flat/x.png": png(5, 6, 7), "flat/.DS_Store": "x"}
    return lay_out(tmp_path / "shapes", files)


# Good deliveries


def test_a_folder_becomes_a_batch(tmp_path, take):
    progress = []
    arrival = take(shapes(tmp_path), progress=lambda done, total: progress.append((done, total)))
    batch = arrival.batch
    assert not arrival.known
    assert batch.id == f"2026-01-05-{batch.digest[:32]}"
    assert (batch.arrived, batch.source, batch.images, batch.classes) == (DAY, "shapes", 3, ("flat", "round"))
    assert progress[-1] == (3, 3)
    (shard,) = batch.shards
    content = (take.batches / batch.id / shard.name).read_bytes()
    assert (shard.name, shard.rows) == ("images-00000.parquet", 3)
    assert (shard.bytes, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert read_batch(take.batches, batch.id) == batch
    assert list_batches(take.batches) == (batch.id,)


def test_a_row_says_what_an_image_is(tmp_path, take):
    batch = take(shapes(tmp_path)).batch
    rows = rows_of(take.batches, batch)
    assert [row["path"] for row in rows] == ["flat/x.png", "round/a.png", "round/b.png"]
    assert parquet.read_schema(take.batches / batch.id / "images-00000.parquet").equals(SHARD_SCHEMA)
    row = rows[0]
    encoded = png(5, 6, 7)
    assert row["encoded"] == encoded
    assert row["sha256"] == hashlib.sha256(encoded).hexdigest()
    assert row["bytes"] == len(encoded)
    assert row["image"] == hashlib.sha256(b"1x3x1\x05\x06\x07").hexdigest()[:32]
    assert row["split"] == split_of(row["image"], 0.2, 0.1)
    assert (row["label"], row["problem"], row["detail"]) == ("flat", "", "")
    assert (row["format"], row["mode"], row["width"], row["height"], row["frames"]) == ("PNG", "L", 3, 1, 1)
    assert row["brightness"] == pytest.approx(6 / 255)
    assert len(row["phash"]) == 16


def test_a_key_decides_the_split_and_nothing_else(tmp_path, take):
    folder = shapes(tmp_path)
    rows = {key: rows_of(tmp_path / key / "batches", take(folder, where=key, key=key).batch) for key in ("00", "01")}
    for key, found in rows.items():
        assert [row["split"] for row in found] == [split_of(row["image"], 0.2, 0.1, key) for row in found]
    one, other = ([{**row, "split": ""} for row in found] for found in rows.values())
    assert one == other


def splits(batches, batch):
    return Counter(row["split"] for row in rows_of(batches, batch))


def test_of_the_first_deliveries_up_to_half_is_for_tests(tmp_path):
    home, tests = tmp_path / "workspace", []
    params = IngestParams(enough_test_images=80)
    for number in range(4):
        pictures = {f"a/{n}.png": png(number, n) for n in range(100)}
        folder = lay_out(tmp_path / str(number), pictures)
        held = count_tests(home / "batches", (), params.enough_test_images)
        batch = ingest(home / "batches", home / "staging", folder, DAY, params, held=held).batch
        tests.append(splits(home / "batches", batch)["test"])
    # Half, then what is left to 80, then a fifth each.
    wanted = [50, max(20, 80 - tests[0]), 20, 20]
    assert [abs(found - share) < 12 for found, share in zip(tests, wanted, strict=True)] == [True] * 4
    assert count_tests(home / "batches", (), 80) == 80
    assert count_tests(home / "batches", (), 10_000) == sum(tests)
    assert count_tests(home / "batches", list_batches(home / "batches")[1:], 10_000) in tests


@pytest.mark.parametrize(
    ("params", "images", "held", "share"),
    [
        (IngestParams(), 300, 0, 0.5),
        (IngestParams(), 1000, 0, 0.3),
        (IngestParams(), 10_000, 0, 0.2),
        (IngestParams(), 400, 200, 0.25),
        (IngestParams(), 300, 299, 0.2),
        (IngestParams(test_share=0.6), 300, 0, 0.6),
        (IngestParams(validation_share=0.4), 300, 0, 0.3),
        (IngestParams(enough_test_images=0), 300, 0, 0.2),
    ],
)
def test_the_share_for_tests_follows_from_what_is_held(params, images, held, share):
    assert params.share_of_tests(images, held) == pytest.approx(share)


@pytest.mark.parametrize(
    ("params", "tests", "more"),
    [
        (IngestParams(), 90, 220),
        (IngestParams(), 199, 2),
        (IngestParams(test_share=0.2, enough_test_images=0), 90, 550),
        (IngestParams(), 200, None),
        (IngestParams(min_test_images=0), 0, None),
    ],
)
def test_a_first_version_waits_for_test_images(params, tests, more):
    beginning = params.beginning(2, tests)
    assert (beginning and beginning.more) == more


def test_what_a_first_version_waits_for_is_told():
    night = Night(outcome="nothing to learn", beginning=IngestParams().beginning(2, 90))
    assert night.sentence() == (
        "Nothing to learn yet: 2 pending batches hold 90 test images, and a first version waits for 200, as later ones "
        "are judged by them: about 220 images more will do (ingest.min_test_images)."
    )
    assert IngestParams().beginning(1, 90).sentence().startswith("1 pending batch holds 90 test images")


def test_the_digest_is_that_of_paths_labels_columns_and_bytes(tmp_path, take):
    first = manifest(lay_out(tmp_path / "a", {"1.png": png(1)}), [("1.png", "x", "day")], ("path", "label", "light"))

    def text(*parts):
        return b"%d:" % len(parts) + b"".join(b"%d:%s" % (len(p.encode()), p.encode()) for p in parts)

    encoded = png(1)
    row = text("1.png", "x", "day", hashlib.sha256(encoded).hexdigest(), str(len(encoded)))
    assert take(first).batch.digest == hashlib.sha256(text("light") + row).hexdigest()


@pytest.mark.parametrize(
    "files",
    [
        {"a/1.png": png(1), "a/2.png": png(3)},
        {"b/1.png": png(1), "a/2.png": png(2)},
        {"a/1.png": png(1), "a/3.png": png(2)},
        {"a/1.png": png(1)},
    ],
)
def test_another_byte_label_path_or_image_is_another_batch(tmp_path, take, files):
    one = take(lay_out(tmp_path / "one", {"a/1.png": png(1), "a/2.png": png(2)})).batch
    assert take(lay_out(tmp_path / "two", files)).batch.digest != one.digest


@pytest.mark.parametrize("day", [DAY, LATER])
def test_the_same_content_adds_nothing(tmp_path, take, day):
    first = take(shapes(tmp_path)).batch
    before = everything_below(take.batches)
    (tmp_path / "shapes").rename(tmp_path / "again")
    arrival = take(tmp_path / "again", day)
    assert arrival.known
    assert arrival.batch == first
    assert everything_below(take.batches) == before


def test_the_same_content_on_the_same_day_gives_the_same_bytes(tmp_path, take):
    source = shapes(tmp_path)
    take(source, where="here")
    os.utime(source / "flat" / "x.png", (1, 1))
    take(source, where="there")
    assert everything_below(tmp_path / "here" / "batches") == everything_below(tmp_path / "there" / "batches")


def test_processes_and_shards_change_nothing(tmp_path, take):
    files = {f"c{n % 7}/{n:04d}.png": png(n % 256, n // 256) for n in range(2_100)}
    source = lay_out(tmp_path / "many", files)
    small = PARAMS.model_copy(update={"shard_bytes": 1})
    progress = []
    one = take(source, params=small, where="one").batch
    two = take(source, params=small, workers=2, where="two", progress=lambda done, total: progress.append(done)).batch
    assert everything_below(tmp_path / "one" / "batches") == everything_below(tmp_path / "two" / "batches")
    assert [(shard.name, shard.rows) for shard in two.shards] == [
        ("images-00000.parquet", 2048),
        ("images-00001.parquet", 52),
    ]
    assert progress == sorted(progress)
    assert progress[-1] == 2_100
    assert [row["path"] for row in rows_of(tmp_path / "one" / "batches", one)] == sorted(files)


def test_image_bytes_are_not_compressed_again(tmp_path, take):
    batch = take(shapes(tmp_path)).batch
    group = parquet.read_metadata(take.batches / batch.id / "images-00000.parquet").row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert columns["encoded"].compression == "UNCOMPRESSED"
    assert not columns["encoded"].is_stats_set
    assert columns["phash"].compression == "ZSTD"


def test_deeper_folders_keep_the_first_as_label(tmp_path, take):
    source = lay_out(tmp_path / "deep", {"cat/2024/may/1.png": png(1), "cat/.hidden/2.png": png(2)})
    (row,) = rows_of(take.batches, take(source).batch)
    assert (row["path"], row["label"]) == ("cat/2024/may/1.png", "cat")


@pytest.mark.parametrize("kind", ["csv", "parquet", "csv folder", "parquet folder"])
def test_a_manifest_becomes_a_batch(tmp_path, take, kind):
    folder = lay_out(tmp_path / "delivery", {"img/1.png": png(1), "2.png": png(2)})
    table = {
        "label": ["cat", "dog"],
        "path": ["img/1.png", "2.png"],
        "captured_at": ["2026-01-01", None],
        "camera, left": [3, 4],
    }
    if "csv" in kind:
        header = '\ufefflabel,path,captured_at,"camera, left"\r\n'
        lay_out(folder, {"manifest.csv": header + "cat,img/1.png,2026-01-01,3\r\n\r\ndog,2.png,,4\r\n"})
    else:
        parquet.write_table(pa.table(table), folder / "manifest.parquet")
    batch = take(folder if "folder" in kind else folder / f"manifest.{kind}").batch
    assert batch.source == ("delivery" if "folder" in kind else f"manifest.{kind}")
    assert batch.columns == ("captured_at", "camera, left")
    assert batch.classes == ("cat", "dog")
    chosen = ("path", "label", "user.captured_at", "user.camera, left", "problem")
    assert [tuple(row[name] for name in chosen) for row in rows_of(take.batches, batch)] == [
        ("2.png", "dog", "", "4", ""),
        ("img/1.png", "cat", "2026-01-01", "3", ""),
    ]


def test_the_order_of_a_manifest_does_not_matter(tmp_path, take):
    source = lay_out(tmp_path / "delivery", {"1.png": png(1), "2.png": png(2)})
    rows = [("1.png", "b"), ("1.png", "a"), ("2.png", "a")]
    first = take(manifest(source, rows)).batch
    assert take(manifest(source, rows[::-1])).known
    assert [(r["path"], r["label"]) for r in rows_of(take.batches, first)] == sorted(rows)


# Bad images: rows that say so


def test_bad_files_in_a_folder_are_rows_with_a_problem(tmp_path, take):
    outside = lay_out(tmp_path, {"secret.txt": "secret"}) / "secret.txt"
    animated = io.BytesIO()
    frames = [Pillow.new("L", (2, 2), level) for level in (0, 99, 200)]
    frames[0].save(animated, "GIF", save_all=True, append_images=frames[1:])
    source = lay_out(
        tmp_path / "delivery",
        {
            "a/animated.gif": animated.getvalue(),
            "a/cut.png": NOISE[:200],
            "a/good.png": png(1, 2),
            "a/huge.png": b"\x89PNG\r\n\x1a\n" + b"\0" * 20_000,
            "a/nothing.png": b"",
            "a/text.png": "just text",
            "back\\slash/1.png": png(8),
        },
    )
    (source / "a" / "link.png").symlink_to(outside)
    (source / "linked").symlink_to(tmp_path)
    os.mkfifo(source / "a" / "pipe.png")
    rows = {row["path"]: row for row in rows_of(take.batches, take(source).batch)}
    assert {path: row["problem"] for path, row in rows.items()} == {
        "a/animated.gif": "",
        "a/cut.png": "truncated",
        "a/good.png": "",
        "a/huge.png": "too-large",
        "a/link.png": "link",
        "a/nothing.png": "empty",
        "a/pipe.png": "not-a-file",
        "a/text.png": "not-an-image",
        "back\\slash/1.png": "label-slash",
        "linked": "link",
    }
    without_bytes = {path for path, row in rows.items() if row["encoded"] is None}
    assert without_bytes == {"a/huge.png", "a/link.png", "a/pipe.png", "linked"}
    assert all(bool(row["detail"]) == bool(row["problem"]) for row in rows.values())
    assert rows["a/animated.gif"]["frames"] == 3
    assert rows["a/animated.gif"]["brightness"] == 0
    assert (rows["a/huge.png"]["bytes"], rows["a/huge.png"]["sha256"]) == (20_008, "")
    assert rows["a/text.png"]["image"] == hashlib.sha256(b"just text").hexdigest()[:32]
    assert len({row["image"] for row in rows.values()}) == len(rows)
    assert b"secret" not in b"".join(everything_below(take.batches).values())


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("1.png", ""),
        ("./1.png", ""),
        ("sub//1.png", ""),
        ("no.png", "missing"),
        ("1.png/2.png", "missing"),
        ("", "missing"),
        ("n" * 300 + ".png", "missing"),
        ("n" * 300 + "/1.png", "missing"),
        ("C:\\pictures\\1.png", "missing"),
        ("nul\0.png", "missing"),
        ("../secret.png", "outside"),
        ("sub/../../secret.png", "outside"),
        ("sub/../1.png", "outside"),
        ("/etc/passwd", "outside"),
        ("sub", "not-a-file"),
        (".", "not-a-file"),
        ("pipe", "not-a-file"),
        ("link.png", "link"),
        ("linked/secret.png", "link"),
        ("linked/to/deeper.png", "link"),
        ("loop", "link"),
        ('it\'s "quoted"\n.png', ""),
        ("日本語 ünï.png", ""),
        ("$(touch x);.png", ""),
        ("<script>.png", ""),
    ],
)
def test_paths_of_a_manifest_are_data(tmp_path, take, path, problem):
    lay_out(tmp_path, {"secret.png": png(66), "to/deeper.png": png(67)})
    good = ("1.png", "sub/1.png", 'it\'s "quoted"\n.png', "日本語 ünï.png", "$(touch x);.png", "<script>.png")
    source = lay_out(tmp_path / "delivery", dict.fromkeys(good, png(1)))
    (source / "link.png").symlink_to(source / "1.png")
    (source / "linked").symlink_to(tmp_path)
    (source / "loop").symlink_to("loop")
    os.mkfifo(source / "pipe")
    (row,) = rows_of(take.batches, take(manifest(source, [(path, "x")])).batch)
    assert (row["path"], row["problem"]) == (path, problem)
    assert row["encoded"] == (None if problem else png(1))
    assert bool(row["detail"]) == bool(problem)


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ("cat", ""),
        (" cat ", ""),
        ("'; drop", ""),
        ("<b>", ""),
        ("..", ""),
        ("日本語", ""),
        ("", "label-empty"),
        ("  ", "label-empty"),
        ("a/b", "label-slash"),
        ("a\\b", "label-slash"),
        ("a\nb", "label-control"),
        ("a\x00b", "label-control"),
        ("a\x1b[31m", "label-control"),
        ("a\u2028b", "label-control"),
    ],
)
def test_labels_are_kept_as_they_are(tmp_path, take, label, problem):
    source = lay_out(tmp_path / "delivery", {"1.png": png(1, 2)})
    batch = take(manifest(source, [("1.png", label)])).batch
    (row,) = rows_of(take.batches, batch)
    assert (row["label"], row["problem"]) == (label, problem)
    assert row["encoded"] == png(1, 2)
    assert row["width"] == 2
    assert batch.classes == ((label,) if label else ())


def test_what_is_too_long_for_a_class_or_a_file_is_kept_in_short(tmp_path, take):
    """A table compresses a text that stands in every row; whoever reads the batch would hold it once a row."""
    source = lay_out(tmp_path / "source", {"1.png": png(1)})
    rows = [("1.png", "x" * 2**16), ("1.png", "y" * 2**16), ("z" * 2**16, "cat"), ("1.png", "c" * 255)]
    batch = take(manifest(source, rows)).batch
    found = sorted((row["label"], row["path"], row["problem"]) for row in rows_of(take.batches, batch))
    assert found == [
        ("cat", "z" * 4096 + "…", "missing"),
        ("c" * 255, "1.png", ""),
        ("x" * 255 + "…", "1.png", "label-long"),
        ("y" * 255 + "…", "1.png", "label-long"),
    ]
    assert batch.classes == ("cat", "c" * 255, "x" * 255 + "…", "y" * 255 + "…")
    longer = [*rows[:3], ("1.png", "c" * 255), ("1.png", "x" * (2**16 + 1))]
    assert take(manifest(source, longer)).batch.digest != batch.digest


def test_names_that_are_no_utf8_are_kept_readable(tmp_path, take):
    folder = os.fsencode(tmp_path / "delivery" / "cat")
    Path(os.fsdecode(folder)).mkdir(parents=True)
    Path(os.fsdecode(folder + b"/\xff\xfe.png")).write_bytes(png(1))
    Path(os.fsdecode(folder + b"\xff")).mkdir()
    Path(os.fsdecode(folder + b"\xff/1.png")).write_bytes(png(2))
    rows = rows_of(take.batches, take(tmp_path / "delivery").batch)
    assert [(row["path"], row["label"], row["problem"]) for row in rows] == [
        ("cat/\\udcff\\udcfe.png", "cat", ""),
        ("cat\\udcff/1.png", "cat\\udcff", "label-slash"),
    ]


# Bad deliveries: one sentence, and nothing is taken


def bad_table(**columns):
    def write(folder):
        parquet.write_table(pa.table(columns), folder / "manifest.parquet")

    return write


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, r"is empty: it holds no class folders and no manifest"),
        ({".DS_Store": "x", "Thumbs.db": "x", "__MACOSX/a": "x"}, r"is empty"),
        ({"a/1.png": png(1), "b/.DS_Store": "x"}, r"Class folder 'b' of .* holds no files"),
        ({"a/" * 40 + "1.png": png(1)}, r"nested deeper than 32"),
        ({"a/1.png": png(1), "b.png": png(1)}, r"'b.png' lies in .* without a class"),
        ({"manifest.csv": ""}, r"has no column 'path'; it has: none"),
        ({"manifest.csv": "path,label\n"}, r"has no rows"),
        ({"manifest.csv": "file,label\n1.png,x\n"}, r"has no column 'path'; it has: file, label"),
        ({"manifest.csv": "path,class\n1.png,x\n"}, r"has no column 'label'; it has: path, class"),
        ({"manifest.csv": "path;label\n1.png;x\n"}, r"no column 'path'; it has: path;label. .* commas between"),
        ({"manifest.csv": ",path,label\n0,1.png,x\n"}, r"Column 1 of .* has no name"),
        ({"manifest.csv": "path,label,a,a\n1.png,x,1,2\n"}, r"two columns 'a'"),
        ({"manifest.csv": "path,label\n1.png\n"}, r"Line 2 of .* has 1 values, its first line 2"),
        ({"manifest.csv": "path,label\n1.png,a,b\n"}, r"Line 2 of .* has 3 values"),
        ({"manifest.csv": 'path,label\n"1.png,x\n'}, r"no readable CSV"),
        ({"manifest.csv": "path,label\n1.png,Käse\n".encode("latin-1")}, r"not in UTF-8: byte 0xe4"),
        ({"manifest.csv": "path,label\n1.png,x\n".encode("utf-16")}, r"not in UTF-8: byte 0xff"),
        ({"manifest.parquet": "this is no table"}, r"no readable Parquet file"),
        ({"manifest.parquet": ""}, r"no readable Parquet file"),
        ({"manifest.csv": "path,label\n", "manifest.parquet": ""}, r"holds two manifests"),
        ({"manifest.csv/1.png": png(1)}, r"manifest.csv is no ordinary file"),
        (bad_table(path=["1.png"]), r"has no column 'label'"),
        (bad_table(path=pa.array([], pa.string()), label=pa.array([], pa.string())), r"has no rows"),
        (bad_table(path=["1.png"], label=["x"], boxes=[[1, 2]]), r"Column 'boxes' .* holds list"),
        (bad_table(path=["1.png"], label=[b"x"]), r"Column 'label' .* holds binary"),
    ],
)
def test_a_bad_delivery_is_one_sentence_and_nothing_is_taken(tmp_path, take, files, sentence):
    source = tmp_path / "delivery"
    source.mkdir()
    if callable(files):
        files(source)
    else:
        lay_out(source, files)
    before = everything_below(source)
    with pytest.raises(UnreadableBatch, match=sentence) as error:
        take(source)
    assert "delivery" in str(error.value)
    assert "\n" not in str(error.value)
    assert list_batches(take.batches) == ()
    assert everything_below(source) == before


def test_sources_of_the_wrong_kind(tmp_path, take):
    folder = shapes(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "notes.txt").write_text("x")
    os.mkfifo(tmp_path / "pipe.csv")
    for name, sentence in {
        "nowhere": "cannot be read: No such file",
        "link": "is a symbolic link",
        "notes.txt": r"neither a folder nor a file that ends in .csv, .parquet or .tar\.",
        "pipe.csv": "neither a folder nor a file",
    }.items():
        with pytest.raises(UnreadableBatch, match=sentence):
            take(tmp_path / name)


# Decoders that crash

CRASHING = """
import os, sys
from datetime import date
from pathlib import Path
from PIL import Image
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams

sound = Image.open

def crash(file, **options):
    if b"hostile" in file.getvalue():
        os.abort()
    if b"slow" in file.getvalue():
        sum(range(10**12))
    if b"large" in file.getvalue():
        bytearray(2**29)
    if b"odd" in file.getvalue():
        raise StopIteration("what no decoder should raise")
    return sound(file, **options)

Image.open = crash
if __name__ == "__main__":
    home, source, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    params = IngestParams(image_seconds=1, image_memory=2**28, max_crashes=int(sys.argv[4]))
    ingest(home / "batches", home / "staging", source, date(2026, 1, 5), params, workers)
"""


@pytest.mark.slow
def test_an_image_that_crashes_its_decoder_is_a_row_and_all_others_are_taken(tmp_path):
    files = {f"c/{n:04d}.png": png(n % 256, n // 256) for n in range(600)}
    hostile = {"c/0003.png": b"GIF89a hostile", "c/0300.png": b"GIF89a hostile, too", "c/0301.png": b"BM hostile"}
    hostile |= {"c/0302.png": b"GIF89a slow", "c/0303.png": b"GIF89a large", "c/0304.png": b"GIF89a odd"}
    source = lay_out(tmp_path / "delivery", files | hostile)
    (tmp_path / "crashing.py").write_text(CRASHING)
    for workers in ("1", "2"):
        home = tmp_path / workers
        subprocess.run([sys.executable, tmp_path / "crashing.py", home, source, workers, "6"], check=True, timeout=300)
    assert everything_below(tmp_path / "1" / "batches") == everything_below(tmp_path / "2" / "batches")
    batches = tmp_path / "1" / "batches"
    (batch,) = list_batches(batches)
    rows = {row["path"]: row for row in rows_of(batches, read_batch(batches, batch))}
    assert list(rows) == sorted(files)
    assert {path for path, row in rows.items() if row["problem"]} == set(hostile)
    row = rows["c/0300.png"]
    assert (row["problem"], row["detail"]) == ("crash", "its decoder crashed (SIGABRT)")
    assert (row["encoded"], row["sha256"], row["bytes"]) == (None, "", 19)
    assert [rows[f"c/0{number}.png"]["detail"] for number in (302, 303, 304)] == [
        "its decoder took more than 1 s of processor time",
        "its decoder took more memory than 256 MiB",
        "its decoder failed (StopIteration: what no decoder should raise)",
    ]
    assert len({row["image"] for row in rows.values()}) == 600


def test_a_delivery_of_files_that_crash_their_decoder_is_given_up(tmp_path):
    source = lay_out(tmp_path / "delivery", {f"c/{n}.png": b"GIF89a hostile" for n in range(9)})
    (tmp_path / "crashing.py").write_text(CRASHING)
    command = [sys.executable, tmp_path / "crashing.py", tmp_path / "home", source, "1", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (
        "UnreadableBatch: 9 images of delivery crash their decoder, or take more time or memory than is allowed, the "
        "first of them c/0.png; no more than 8 may (ingest.max_crashes). Take them out."
    ) in done.stderr
    assert list_batches(tmp_path / "home" / "batches") == ()


# Kills and full disks

KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams

home, source = Path(sys.argv[1]), Path(sys.argv[2])

def die(done, total):
    os.kill(os.getpid(), signal.SIGKILL)

ingest(home / "batches", home / "staging", source, date(2026, 1, 5), IngestParams(), progress=die)
"""


def test_a_kill_leaves_no_half_batch_and_the_next_ingest_starts_afresh(tmp_path, take):
    source = shapes(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "workspace", source], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list_batches(take.batches) == ()
    assert (take.batches.parent / "staging" / "batch").is_dir()
    (take.batches.parent / "staging" / "batch" / "images-00007.parquet").write_bytes(b"left over")
    batch = take(source).batch
    assert set(everything_below(take.batches)) == {f"{batch.id}/batch.json", f"{batch.id}/images-00000.parquet"}
    assert not (take.batches.parent / "staging" / "batch").exists()


def test_a_full_disk_leaves_nothing_behind(tmp_path, take, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source = shapes(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            Unavailable, match=r"The disk that holds .* is full.*try again. Nothing of shapes was taken"
        ):
            take(source)
    assert list_batches(take.batches) == ()
    assert not (take.batches.parent / "staging" / "batch").exists()
    assert not take(source).known


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path, take):
    source = lay_out(tmp_path / "delivery", {"a/1.png": NOISE})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        with pytest.raises(Unavailable, match=r"could not be written below .*: File too large"):
            take(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list_batches(take.batches) == ()
    assert not (take.batches.parent / "staging" / "batch").exists()


# Reading


def test_reading_batches(tmp_path, take):
    assert list_batches(take.batches) == ()
    with pytest.raises(DamagedState, match="missing"):
        read_batch(take.batches, "2026-01-05-00000000")
    with pytest.raises(WrongInput, match="no batch id"):
        read_batch(take.batches, "../../etc")
    first = take(shapes(tmp_path), LATER).batch
    second = take(lay_out(tmp_path / "more", {"a/1.png": png(9)}), DAY).batch
    lay_out(take.batches, {"notes/x": "", "2026-01-05-aaaaaaaa/images-00000.parquet": ""})
    assert list_batches(take.batches) == (second.id, first.id)


@pytest.mark.parametrize(
    "wrong", [{"test_share": 0}, {"test_share": 0.6, "validation_share": 0.4}, {"max_pixels": 0}, {"colour": "red"}]
)
def test_parameters_are_checked(wrong):
    with pytest.raises(ValueError, match=r"test_share|max_pixels|colour"):
        IngestParams(**wrong)


# Listing elsewhere


def contradictory(file):
    """A Parquet file whose footer says that a column has values only, and counts levels of it that only others have.

    Arrow 25 throws where nobody catches, and the process ends.
    """
    images = [{"bytes": png(n), "path": f"{n}.png"} for n in range(4)]
    parquet.write_table(pa.table({"image": images, "label": ["a", "b", "a", "b"]}), file)
    optional, repeated = b"%\x02\x18\x05bytes", b"%\x0a\x18\x05bytes"
    assert optional in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(optional, repeated))


def misnamed(file):
    """A Parquet file with a column whose name is not in UTF-8: an exception that no library tells of."""
    parquet.write_table(pa.table({"path": ["1.png"], "label": ["cat"], "n0te": ["x"]}), file)
    file.write_bytes(file.read_bytes().replace(b"n0te", b"n\xff\xfete"[:4]))


def test_no_more_images_are_decoded_at_once_than_memory_is_enough_for(tmp_path, monkeypatch):
    files = {f"c/{n:04d}.png": png(n) for n in range(30)}
    source, asked = lay_out(tmp_path / "monday", files), []

    def count(function, parts, workers, *more):
        asked.append(workers)
        return in_order(function, parts, workers, *more)

    monkeypatch.setattr("tasks.ingest.examine.in_order", count)
    monkeypatch.setattr("dataset.processes._free_memory", lambda: 5 * 2**30)
    for memory in (2**30, 2**31, 2**40):
        params = IngestParams(image_memory=memory)
        ingest(tmp_path / "batches", tmp_path / "staging", source, DAY, params, workers=4)
    assert asked == [4, 2, 1]


@pytest.mark.parametrize(
    ("damaged", "why"),
    [(contradictory, r"crashed \(SIGABRT\)"), (misnamed, r"failed \(UnicodeDecodeError: .*\)|no readable Parquet")],
)
def test_a_file_that_ends_the_process_that_lists_it_is_no_batch_and_the_next_delivery_is_taken(tmp_path, damaged, why):
    damaged(tmp_path / "monday.parquet")
    sound = lay_out(tmp_path / "tuesday", {"c/1.png": png(1)})
    for _ in range(2):
        with pytest.raises(UnreadableBatch, match=rf"monday.parquet .*({why})"):
            ingest(tmp_path / "batches", tmp_path / "staging", tmp_path / "monday.parquet", DAY, PARAMS, workers=1)
    assert list_batches(tmp_path / "batches") == ()
    assert ingest(tmp_path / "batches", tmp_path / "staging", sound, DAY, PARAMS, workers=1).batch.images == 1


def test_a_list_that_takes_too_much_is_no_batch(tmp_path, monkeypatch):
    lines = "".join(f"{n}.png,cat\n" for n in range(100_000))
    (tmp_path / "manifest.csv").write_text("path,label\n" + lines)
    monkeypatch.setattr("tasks.ingest.ingest.LISTING_MEMORY", 2**25)
    with pytest.raises(UnreadableBatch, match="more memory than"):
        ingest(tmp_path / "batches", tmp_path / "staging", tmp_path, DAY, PARAMS, workers=1)


# Ids and order


def rename(batches: Path, batch: Batch, name: str, **changes: object) -> None:
    """A batch as it would lie there under another id."""
    (batches / batch.id).rename(batches / name)
    batch.model_copy(update={"id": name, **changes}).write(batches / name / "batch.json")


def test_a_batch_with_the_short_id_of_an_earlier_retain_is_found(tmp_path, take):
    batch = take(shapes(tmp_path)).batch
    rename(take.batches, batch, batch.id[:19])
    again = take(shapes(tmp_path / "again"), LATER)
    assert (again.known, again.batch.id) == (True, batch.id[:19])
    assert list_batches(take.batches) == (batch.id[:19],)
    assert read_batch(take.batches, batch.id[:19]).digest == batch.digest


def test_batches_whose_ids_begin_alike_do_not_meet(tmp_path, take):
    batch = take(shapes(tmp_path)).batch
    other = f"{batch.id[:19]}{'f' * 24}"
    rename(take.batches, batch, other, digest=batch.digest[:8] + "f" * 56)
    again = take(shapes(tmp_path / "again"))
    assert (again.known, again.batch.id) == (False, batch.id)
    assert list_batches(take.batches) == (other, batch.id), "the first of the day is the first"


def test_batches_of_one_day_come_in_the_order_of_their_arrival(tmp_path, take):
    sent = [take(lay_out(tmp_path / str(n), {"a/1.png": png(n)})).batch for n in range(6)]
    later = take(lay_out(tmp_path / "later", {"a/1.png": png(99)}), LATER).batch
    assert [batch.number for batch in (*sent, later)] == [0, 1, 2, 3, 4, 5, 0]
    assert list_batches(take.batches) == tuple(batch.id for batch in (*sent, later))
    assert sorted(batch.id for batch in sent) != [batch.id for batch in sent], "which their names do not tell"


def test_a_file_that_many_rows_name_is_read_and_kept_once_for_each_label(tmp_path, taken, picture):
    lines = ["1.png,cat", "./1.png,cat", "1.png,dog", "a//../1.png,cat", "2.png,cat", "1.png,cat"]
    source = tmp_path / "monday"
    (source / "a").mkdir(parents=True)
    for number in (1, 2):
        (source / f"{number}.png").write_bytes(picture(number))
    (source / "manifest.csv").write_text("\n".join(["path,label", *sorted(lines)]))
    ingested = taken(source)
    (source / "manifest.csv").write_text("\n".join(["path,label", *reversed(lines)]))
    assert taken(source).known, "the order of the rows changes nothing"
    assert ingested.select("path", "label", "problem", "encoded", "detail") == [
        ("./1.png", "cat", "", picture(1), ""),
        ("1.png", "cat", "repeated", None, "the same image and label as ./1.png"),
        ("1.png", "cat", "repeated", None, "the same image and label as ./1.png"),
        ("1.png", "dog", "", picture(1), ""),
        ("2.png", "cat", "", picture(2), ""),
        ("a//../1.png", "cat", "outside", None, "the path leads out of the manifest's folder"),
    ]
