"""Tar shards in the layout of WebDataset, from the delivery to the rows of the batch."""

import io
import json
import os
import tarfile

import pytest

from dataset.batches import list_batches
from records.errors import UnreadableBatch


def write_tar(path, files):
    """A tar of name to bytes, text, or what becomes JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files if isinstance(files, list) else files.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            content = json.dumps(content) if isinstance(content, dict | list) else content
            content = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_a_tar_becomes_a_batch(tmp_path, taken, picture):
    files = {
        "a/1.png": picture(1, 2),
        "a/1.cls": "cat\n",
        "a/2.PNG": picture(3),
        "a/2.json": {"label": "dog", "captured_at": "2026-01-01", "iso": 100, "flash": True, "boxes": [1], "x": None},
        "b/3.label.txt": "owl",
        "b/3.png": picture(4),
        "b/4.txt": "emu",
        "b/4.png": picture(5),
        ".hidden.png": b"",
        "__meta__.json": {"x": 1},
    }
    ingested = taken(write_tar(tmp_path / "monday.tar", files))
    assert (ingested.batch.source, ingested.batch.classes) == ("monday.tar", ("cat", "dog", "emu", "owl"))
    assert ingested.batch.columns == ("captured_at", "flash", "iso", "x")
    assert ingested.select("path", "label", "problem", "encoded") == [
        ("a/1.png", "cat", "", picture(1, 2)),
        ("a/2.PNG", "dog", "", picture(3)),
        ("b/3.png", "owl", "", picture(4)),
        ("b/4.png", "emu", "", picture(5)),
    ]
    assert ingested.select("user.captured_at", "user.flash", "user.iso", "user.x")[:2] == [
        ("", "", "", ""),
        ("2026-01-01", "True", "100", ""),
    ]


@pytest.mark.parametrize(
    ("beside", "label"),
    [
        ({"cls": "a", "label.txt": "b", "json": {"label": "c"}, "txt": "d"}, "a"),
        ({"label.txt": "b", "json": {"label": "c"}, "txt": "d"}, "b"),
        ({"json": {"label": "c"}, "txt": "a caption"}, "c"),
        ({"json": {"label": None}, "txt": "d"}, "d"),
        ({"json": {"label": 7}}, "7"),
    ],
)
def test_the_label_is_the_first_that_there_is(tmp_path, taken, picture, beside, label):
    files = {"1.png": picture(1)} | {f"1.{kind}": content for kind, content in beside.items()}
    assert taken(write_tar(tmp_path / "m.tar", files)).select("label", "problem") == [(label, "")]


def test_shards_are_one_delivery_and_numbers_get_names(tmp_path, taken, picture):
    folder = tmp_path / "monday"
    write_tar(folder / "s-1.tar", {"1.png": picture(1), "1.cls": "1", "2.png": picture(2), "2.json": {"label": 0}})
    write_tar(folder / "s-0.tar", {"1.png": picture(3), "1.cls": "0", "2.png": picture(4), "2.cls": "2"})
    write_tar(folder / "s-2.tar", {"1.png": picture(5), "1.cls": "-1", "2.png": picture(6), "2.cls": "one"})
    (folder / "classes.txt").write_bytes("cat\r\ndög\n\n".encode())
    (folder / "_READY").touch()
    (folder / ".DS_Store").touch()
    ingested = taken(folder)
    assert ingested.batch.source == "monday"
    assert ingested.select("path", "label", "problem", "detail") == [
        ("s-0.tar#1.png", "cat", "", ""),
        ("s-0.tar#2.png", "2", "label-number", "class 2, but the names of classes go from 0 to 1"),
        ("s-1.tar#1.png", "dög", "", ""),
        ("s-1.tar#2.png", "cat", "", ""),
        ("s-2.tar#1.png", "-1", "label-number", "class -1, but the names of classes go from 0 to 1"),
        ("s-2.tar#2.png", "one", "", ""),
    ]
    assert all(row["encoded"] for row in ingested.rows), "a label that is no good is no reason not to keep the image"


def test_the_same_content_again_adds_nothing(tmp_path, taken, picture):
    files = {"1.png": picture(1), "1.cls": "a", "2.png": picture(2), "2.cls": "b"}
    first = taken(write_tar(tmp_path / "monday.tar", files))
    again = taken(write_tar(tmp_path / "tuesday.tar", list(files.items())[::-1]))
    assert (first.known, again.known, again.batch) == (False, True, first.batch)


@pytest.mark.unhurried
def test_processes_change_nothing(tmp_path, taken, picture):
    files = {f"{n:04d}.png": picture(n % 256, n // 256) for n in range(2100)}
    files |= {f"{n:04d}.cls": str(n % 3) for n in range(2100)}
    source = write_tar(tmp_path / "m.tar", files)
    one, two = taken(source, where="one"), taken(source, workers=2, where="two")
    assert one.rows == two.rows
    assert one.batch == two.batch


def link(name):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return name, info


def test_what_is_wrong_with_a_sample_is_a_row_that_says_so(tmp_path, taken, picture):
    files = [
        ("big.png", picture(*range(200)) + bytes(3000)), ("big.cls", "a"),
        ("broken.png", picture(*range(200))[:45]), ("broken.cls", "a"),
        ("../up.png", picture(1)), ("../up.cls", "a"),
        link("link.png"), ("link.cls", "a"),
        ("linked.png", picture(2)), link("linked.cls"),
        ("twice.png", picture(3)), ("twice.png", picture(4)), ("twice.cls", "a"),
        ("two.png", picture(5)), ("two.jpg", picture(6)), ("two.cls", "a"),
        ("texts.png", picture(7)), ("texts.cls", "a"), ("texts.cls", "b"),
        ("none.npy", b"1"), ("none.cls", "a"),
        ("mask.png", picture(8)), ("mask.seg.png", picture(9)), ("mask.cls", "a"),
        ("v.1.png", picture(10)), ("v.cls", "a"),
        ("nolabel.png", picture(11)),
        ("json.png", picture(12)), ("json.json", "{"),
        ("list.png", picture(13)), ("list.json", [1]),
        ("deep.png", picture(14)), ("deep.json", "[" * 100_000),
        ("nested.png", picture(15)), ("nested.json", {"label": ["a"]}),
        ("latin.png", picture(16)), ("latin.cls", "Käse".encode("latin-1")),
        ("long.png", picture(17)), ("long.cls", "x" * (2**20 + 1)),
        ("lines.png", picture(18)), ("lines.cls", "a\nb"),
        ("slash.png", picture(19)), ("slash.cls", "a/b"),
        ("blank.png", picture(20)), ("blank.cls", " "),
    ]  # fmt: skip
    ingested = taken(write_tar(tmp_path / "m.tar", files), max_bytes=2000)
    assert {
        path: (problem, bool(encoded)) for path, problem, encoded in ingested.select("path", "problem", "encoded")
    } == {
        "../up.png": ("outside", False),
        "big.png": ("too-large", False),
        "blank.png": ("label-empty", True),
        "broken.png": ("truncated", True),
        "deep.png": ("label-unreadable", True),
        "json.png": ("label-unreadable", True),
        "latin.png": ("label-unreadable", True),
        "lines.png": ("label-control", True),
        "link.png": ("link", False),
        "linked.png": ("label-unreadable", True),
        "list.png": ("label-unreadable", True),
        "long.png": ("label-unreadable", True),
        "mask.png": ("", True),
        "nested.png": ("label-unreadable", True),
        "nolabel.png": ("label-missing", True),
        "none": ("missing", False),
        "slash.png": ("label-slash", True),
        "texts.png": ("label-unreadable", True),
        "twice.png": ("several", False),
        "two.png": ("several", False),
        "v.1.png": ("", True),
    }
    assert all(bool(detail) == bool(problem) for detail, problem in ingested.select("detail", "problem"))
    assert b"root:" not in b"".join(row["encoded"] or b"" for row in ingested.rows)
    assert not (tmp_path / "up.png").exists()


@pytest.mark.parametrize("label", ["NaN", "Infinity", "-Infinity", "true", "false", "0.5"])
def test_what_names_no_class_in_json_is_no_label(tmp_path, taken, picture, label):
    ingested = taken(write_tar(tmp_path / "m.tar", {"1.png": picture(1), "1.json": f'{{"label": {label}}}'}))
    ((name, problem, detail),) = ingested.select("label", "problem", "detail")
    assert (name, problem) == ("", "label-unreadable")
    assert detail.startswith(f"label in its .json is {label}, which names no class")


def test_a_whole_number_in_json_may_have_a_fraction_of_zero(tmp_path, taken, picture):
    ingested = taken(write_tar(tmp_path / "m.tar", {"1.png": picture(1), "1.json": '{"label": 3.0}'}))
    assert ingested.select("label", "problem") == [("3", "")]


def test_what_json_may_hold_can_be_stored(tmp_path, taken, picture):
    files = {"1.png": picture(1), "1.json": '{"label": "a", "\\ud800": "\\udfff", "": 1, "n": NaN, "a": 1, "a": 2}'}
    ingested = taken(write_tar(tmp_path / "m.tar", files))
    assert ingested.batch.columns == ("\\ud800", "a", "n")
    assert ingested.select("user.\\ud800", "user.a", "user.n") == [("\\udfff", "2", "nan")]


def two_kinds(folder, picture):
    write_tar(folder / "a.tar", {"1.png": picture(1)})
    (folder / "b.parquet").touch()


def beside(name):
    def write(folder, picture):
        write_tar(folder / "a.tar", {"1.png": picture(1), "1.cls": "0"})
        if name == "link.tar":
            (folder / name).symlink_to(folder / "a.tar")
        elif name == "pipe.tar":
            os.mkfifo(folder / name)
        else:
            (folder / name).write_bytes(b"" if name == "classes.txt" else b"\x1f\x8b" * 600)

    return write


def many_keys(folder, picture):
    files = {f"{n}.json": {f"key{n}": 1} for n in range(101)} | {f"{n}.png": picture(n) for n in range(101)}
    write_tar(folder / "a.tar", files)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (two_kinds, r"holds .tar and .parquet files. Make two deliveries of them"),
        (beside("notes.md"), r"'notes.md' lies beside the .tar files of .*alone, and classes.txt; take it away"),
        (beside("link.tar"), r"'link.tar' lies beside the .tar files"),
        (beside("pipe.tar"), r"'pipe.tar' lies beside the .tar files"),
        (beside("b.tar.gz"), r"b.tar.gz is a compressed tar. Unpack it"),
        (beside("b.TGZ"), r"b.TGZ is a compressed tar. Unpack it"),
        (beside("b.tar"), r"b.tar is compressed \(gzip\)"),
        (beside("classes.txt"), r"classes.txt is empty. Write the name of a class on each line"),
        (many_keys, r"have more than 100 different keys"),
        (lambda folder, picture: write_tar(folder / "a.tar", {}), r"is empty: it holds no samples"),
        (lambda folder, picture: write_tar(folder / "a.tar", {".x.png": b"", "__MACOSX/a.png": b""}), r"no samples"),
    ],
)
def test_shards_that_cannot_be_taken_are_one_sentence(tmp_path, taken, picture, write, sentence):
    folder = tmp_path / "delivery"
    folder.mkdir()
    write(folder, picture)
    with pytest.raises(UnreadableBatch, match=sentence) as error:
        taken(folder)
    assert "delivery" in str(error.value)
    assert list_batches(taken.batches) == ()


def test_a_compressed_tar_by_name(tmp_path, taken):
    (tmp_path / "monday.tar.gz").write_bytes(b"")
    with pytest.raises(UnreadableBatch, match=r"monday.tar.gz is a compressed tar. Unpack it to a plain .tar"):
        taken(tmp_path / "monday.tar.gz")
