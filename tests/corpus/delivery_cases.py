"""Whole deliveries: manifests and folders as they should not be, and some that only look so."""

import io
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from tests.corpus.cases import MARKUP, Whole
from tests.corpus.files import (
    whole,
)


def _manifest(content: str | bytes, name: str = "manifest.csv") -> Callable[[Path], object]:
    """A delivery of ten good images and a manifest."""

    def make(folder: Path) -> None:
        folder.mkdir()
        for number in range(10):
            (folder / f"{number}.png").write_bytes(whole("PNG", f"ten {number}"))
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def _parquet(**columns: object) -> Callable[[Path], object]:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return _manifest(file.getvalue(), "manifest.parquet")


def _classes(*names: str) -> Callable[[Path], object]:
    """A delivery with six images in each of some class folders."""

    def make(folder: Path) -> None:
        for name in names:
            (folder / name).mkdir(parents=True)
            for number in range(6):
                (folder / name / f"{number}.png").write_bytes(whole("PNG", f"{name} {number}"))

    return make


def _then(first: Callable[[Path], object], second: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: (first(folder), second(folder))


TEN = "".join(f"{number}.png,cat\n" for number in range(10))
PATHS = [f"{number}.png" for number in range(10)]
NO_COLUMN = "has no column 'path'; it has: "
NOT_UTF8 = "is not in UTF-8: byte 0x"

DELIVERIES = (
    Whole("manifest with a byte order mark", _manifest("\ufeffpath,label\n" + TEN), "Admitted: all 10 images"),
    Whole(
        "manifest with line ends of old Macintoshes",
        _manifest(("path,label\n" + TEN).replace("\n", "\r")),
        "Admitted: all 10 images",
    ),
    Whole("manifest with empty lines", _manifest("\n\npath,label\n\n" + TEN + "\n"), "Admitted: all 10 images"),
    Whole(
        "manifest with hostile columns",
        _manifest(
            f'path,label,"{MARKUP}","a\nb",=1+1,nul\0,\u202e,path ,image\n' + TEN.replace("\n", ",1,2,3,4,5,6,7\n")
        ),
        "Admitted: all 10 images",
    ),
    Whole(
        "manifest with two labels for one path",
        _manifest("path,label\n1.png,dog\n" + TEN),
        "Admitted: 9 of 11 images; 2 .* refused: 2 with two labels",
    ),
    Whole(
        "manifest with a path twice",
        _manifest("path,label\n./1.png,cat\n" + TEN),
        "Admitted: 10 of 11 images; 1 left out: 1 named twice",
    ),
    Whole(
        "manifest of numbers in Parquet",
        _parquet(path=PATHS, label=[3] * 10, share=[0.5] * 10),
        "Admitted: all 10 images",
    ),
    Whole(
        "manifest without a label in Parquet",
        _parquet(path=PATHS, label=[None, *["cat"] * 9]),
        "Admitted: 9 of 10 images; 1 .* refused: 1 without a usable label",
    ),
    Whole(
        "manifest of whole numbers with a fraction of zero, and none, in Parquet",
        _parquet(path=PATHS, label=[float("nan"), *[3.0] * 9]),
        "Admitted: 9 of 10 images; 1 .* refused: 1 without a usable label",
    ),
    Whole(
        "manifest of fractions in Parquet", _parquet(path=PATHS, label=[0.5] * 10), "'label' .* holds 0.5; a label is"
    ),
    Whole("manifest of yes and no in Parquet", _parquet(path=PATHS, label=[True] * 10), "'label' .* holds bool values"),
    Whole("manifest in UTF-16", _manifest(("path,label\n" + TEN).encode("utf-16")), NOT_UTF8 + "ff"),
    Whole("manifest in UTF-16 without a mark", _manifest(("path,label\n" + TEN).encode("utf-16-le")), NO_COLUMN),
    Whole("manifest in Latin-1", _manifest("path,label\n1.png,Käse\n".encode("latin-1")), NOT_UTF8 + "e4"),
    Whole("manifest with semicolons", _manifest("path;label\n1.png;cat\n"), "commas between"),
    Whole("manifest with tabs", _manifest("path\tlabel\n1.png\tcat\n"), "commas between"),
    Whole("manifest with a header twice", _manifest("path,label,label\n1.png,cat,dog\n"), "two columns 'label'"),
    Whole("manifest without a header", _manifest(TEN), NO_COLUMN + "0.png, cat"),
    Whole("manifest in capitals", _manifest("Path,Label\n" + TEN), NO_COLUMN + "Path, Label"),
    Whole("manifest without labels", _manifest("path\n1.png\n"), "has no column 'label'"),
    Whole("manifest with a nameless column", _manifest("path,label,\n1.png,cat,\n"), "Column 3 of .* has no name"),
    Whole("manifest with a short row", _manifest("path,label\n1.png\n"), "Line 2 of .* has 1 value"),
    Whole("manifest with a long row", _manifest("path,label\n1.png,cat,dog\n"), "Line 2 of .* has 3 values"),
    Whole("manifest with an open quote", _manifest('path,label\n"1.png,cat\n'), "no readable CSV file"),
    Whole(
        "manifest with a value of a megabyte",
        _manifest("path,label,note\n1.png,cat," + "x" * 2**20 + "\n"),
        "Line 2 of .* longer than 131072 characters",
    ),
    Whole(
        "manifest of a million columns",
        _manifest("path,label," + ",".join(map(str, range(1_000_000))) + "\n"),
        "has 1000002 columns, more than the 1000 that are allowed .ingest.max_columns",
    ),
    Whole("manifest with markup as header", _manifest(MARKUP + ",label\n" + TEN), NO_COLUMN),
    Whole("manifest with control characters as header", _manifest("\x1b[31mpath,\u202elabel\n" + TEN), NO_COLUMN),
    Whole("manifest of no bytes", _manifest(""), NO_COLUMN + "none"),
    Whole("manifest of a header alone", _manifest("path,label\n"), "has no rows"),
    Whole("manifest that is an image", _manifest(whole("PNG", "manifest")), NOT_UTF8 + "89"),
    Whole(
        "manifest of Parquet that is text", _manifest("path,label\n" + TEN, "manifest.parquet"), "no readable Parquet"
    ),
    Whole(
        "manifest of Parquet that is cut",
        _then(_parquet(path=["1.png"], label=["cat"]), lambda folder: os.truncate(folder / "manifest.parquet", 200)),
        "no readable Parquet",
    ),
    Whole(
        "manifest of Parquet with a damaged page",
        _then(
            _parquet(path=["1.png"] * 99, label=["cat"] * 99),
            lambda folder: _overwrite(folder / "manifest.parquet", 10, b"\xff" * 20),
        ),
        "no readable Parquet",
    ),
    Whole(
        "manifest of Parquet with no rows",
        _parquet(path=pa.array([], pa.string()), label=pa.array([], pa.string())),
        "has no rows",
    ),
    Whole(
        "manifest of Parquet with lists",
        _parquet(path=["1.png"], label=["cat"], boxes=[[1, 2]]),
        "Column 'boxes' .* holds list",
    ),
    Whole("manifest of Parquet with bytes", _parquet(path=["1.png"], label=[b"cat"]), "Column 'label' .* holds binary"),
    Whole(
        "manifest of Parquet with structures",
        _parquet(path=[{"a": "1.png"}], label=["cat"]),
        "Column 'path' .* holds struct",
    ),
    Whole(
        "a folder called manifest.csv",
        _then(_manifest("", "x"), lambda folder: (folder / "manifest.csv").mkdir()),
        "manifest.csv is no ordinary file",
    ),
    Whole(
        "a pipe called manifest.csv",
        _then(_manifest("", "x"), lambda folder: os.mkfifo(folder / "manifest.csv")),
        "manifest.csv is no ordinary file",
    ),
    Whole(
        "a link called manifest.csv",
        _then(_manifest("", "x"), lambda folder: (folder / "manifest.csv").symlink_to("/etc/passwd")),
        "manifest.csv is no ordinary file",
    ),
    Whole(
        "two manifests",
        _then(_manifest("path,label\n" + TEN), lambda folder: (folder / "manifest.parquet").write_bytes(b"")),
        "holds two manifests",
    ),
    Whole("nothing", lambda folder: folder.mkdir(), "is empty"),
    Whole("only what is not seen", lambda folder: _classes(".hidden", "__MACOSX")(folder), "is empty"),
    Whole(
        "an empty class",
        _then(_classes("cat"), lambda folder: (folder / "dog").mkdir()),
        "Class folder 'dog' of .* holds no files",
    ),
    Whole(
        "an image without a class",
        _then(_classes("cat"), lambda folder: (folder / "a.png").write_bytes(b"")),
        "'a.png' lies in .* without a class",
    ),
    Whole(
        "a name of control characters without a class",
        _then(_classes("cat"), lambda folder: (folder / "\x1b[2J\u202e\n.png").write_bytes(b"")),
        "without a class",
    ),
    Whole("folders too deep", _classes("/".join(["deep"] * 40)), "nested deeper than 32"),
    Whole("a file", lambda folder: folder.write_bytes(b"x"), "neither a folder nor a file that ends in"),
    Whole("a pipe", lambda folder: os.mkfifo(folder), "neither a folder nor a file that ends in"),
    Whole("a link", lambda folder: folder.symlink_to(folder.parent), "is a symbolic link"),
    Whole("not there", lambda folder: None, "cannot be read: No such file"),
    Whole(
        "classes that differ in capitals",
        _classes("Cat", "cat"),
        "Admitted: 6 of 12 images; 6 .* refused: 6 with a respelled label",
    ),
    Whole(
        "classes composed and decomposed",
        _classes("Käse", unicodedata.normalize("NFD", "Käse")),
        "Admitted: all 12 images",
    ),
    Whole(
        "classes of markup and formulas",
        _classes(MARKUP.replace("/", "|"), "=1+1", "-rf", "con.png", "' OR 1=1; --"),
        "Admitted: all 30 images",
    ),
    Whole(
        "classes of formulas in full width",
        _classes("\uff1d1+1", "\uff0b1", "x;\uff1dcmd", "\u22121"),
        "Admitted: all 24 images",
    ),
    Whole(
        "classes that differ in what cannot be seen",
        _classes("cat", "ca\u200bt"),
        "Admitted: 6 of 12 images; 6 .* refused: 6 with a label that is not what it seems",
    ),
    Whole(
        "classes that differ in an alphabet",
        _classes("cat", "c\u0430t"),
        "Admitted: 6 of 12 images; 6 .* refused: 6 with a label that is not what it seems",
    ),
    Whole(
        "a class of control characters",
        _classes("cat", "\x1b[31m\u202e\n"),
        "Admitted: 6 of 12 images; 6 .* refused: 6 without a usable label",
    ),
)


def _overwrite(file: Path, place: int, content: bytes) -> None:
    with file.open("r+b") as open_file:
        open_file.seek(place)
        open_file.write(content)
