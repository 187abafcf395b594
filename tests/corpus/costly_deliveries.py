"""Deliveries of few bytes that stand for many, and files that end the process that reads them."""

import io
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from tests.corpus.cases import Whole
from tests.corpus.files import whole

Make = Callable[[Path], object]


def _table(name: str, columns: Callable[[], dict[str, object]], **options: object) -> Make:
    """A folder of ten images and a Parquet file."""

    def make(folder: Path) -> None:
        _ten(folder)
        parquet.write_table(pa.table(columns()), folder / name, **options)

    return make


def _alone(columns: Callable[[], dict[str, object]], **options: object) -> Make:
    """A folder of one Parquet file with images in it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        parquet.write_table(pa.table(columns()), folder / "a.parquet", **options)

    return make


def _csv(lines: Callable[[], str], columns: str = "path,label") -> Make:
    def make(folder: Path) -> None:
        _ten(folder)
        (folder / "manifest.csv").write_text(f"{columns}\n{lines()}")

    return make


def _tar(members: Callable[[], Sequence[tuple[str, bytes]]]) -> Make:
    def make(folder: Path) -> None:
        folder.mkdir()
        with tarfile.open(folder / "a.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, content in members():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))

    return make


def _ten(folder: Path) -> None:
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.png").write_bytes(whole("PNG", f"ten {number}"))


def _changed(make: Make, before: bytes, after: bytes) -> Make:
    """The same with some bytes of its Parquet file exchanged."""

    def change(folder: Path) -> None:
        make(folder)
        (file,) = folder.glob("*.parquet")
        content = file.read_bytes()
        assert before in content, before
        file.write_bytes(content.replace(before, after))

    return change


def _images() -> dict[str, object]:
    cells = [{"bytes": whole("PNG", f"cell {number}"), "path": f"{number}.png"} for number in range(4)]
    return {"image": cells, "label": ["cat", "dog", "cat", "dog"]}


def _many(value: str | bytes, times: int) -> pa.Array:
    """A column in which a text stands once, as Parquet writes it, or an image as often as there are rows."""
    if isinstance(value, bytes):
        return pa.repeat(pa.scalar(value), times)
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, np.int32)), [value])


def _cells(value: bytes, times: int) -> pa.Array:
    """The same as `_many`, for a value that memory does not hold so often."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, np.int32)), pa.array([value]))


def _deep() -> dict[str, object]:
    kind = pa.string()
    for _ in range(400):
        kind = pa.struct([("a", kind)])
    return _images() | {"deep": pa.nulls(4, kind)}


def _cut(make: Make, change: Callable[[bytes], bytes]) -> Make:
    def cut(folder: Path) -> None:
        make(folder)
        (file,) = folder.glob("*.parquet")
        file.write_bytes(change(file.read_bytes()))

    return cut


def _linked(number: int, link: Callable[[Path, Path], object]) -> Make:
    """Very many names of one image in a class folder."""

    def make(folder: Path) -> None:
        (folder / "cat").mkdir(parents=True)
        (folder / "cat" / "one.png").write_bytes(np.random.default_rng(0).bytes(9_000))
        for name in range(number):
            link(folder / "cat" / "one.png", folder / "cat" / f"{name}.png")

    return make


def _holes(folder: Path) -> None:
    (folder / "cat").mkdir(parents=True)
    for number in range(8):
        with (folder / "cat" / f"{number}.png").open("wb") as file:
            file.write(whole("PNG", f"hole {number}"))
            file.truncate(60_000_000)


def _hole_of_a_tar(folder: Path) -> None:
    _tar(lambda: [("1.png", whole("PNG")), ("1.cls", b"cat")])(folder)
    os.truncate(folder / "a.tar", 2**40)


TOO_MANY_ROWS, TOO_MUCH_TEXT, TOO_LONG_A_ROW = "ingest.max_rows", "ingest.max_text", "ingest.max_row_text"
EXPANDS, MISSING, COLUMNS = "ingest.max_expansion", "ingest.max_missing", "ingest.max_columns"
NO_PARQUET = "no readable Parquet file|the process that lists it"
OPTIONAL, REPEATED = b"%\x02\x18\x05bytes", b"%\x0a\x18\x05bytes"
NOISE = np.random.default_rng(1).bytes(128_000)

COSTLY_DELIVERIES = (
    # Rows, columns and text
    Whole(
        "five million rows in Parquet",
        _table("manifest.parquet", lambda: {"path": _many("1.png", 5_000_000), "label": _many("cat", 5_000_000)}),
        TOO_MANY_ROWS,
    ),
    Whole("two million rows of CSV", _csv(lambda: "1.png,a\n" * 2_000_000), TOO_MANY_ROWS),
    Whole(
        "forty columns of 64 KiB",
        _table(
            "manifest.parquet",
            lambda: {
                "path": _many("1.png", 1000),
                "label": _many("cat", 1000),
                **{f"c{number}": _many("x" * 2**16, 1000) for number in range(40)},
            },
        ),
        TOO_LONG_A_ROW,
    ),
    Whole(
        "a label of 64 KiB in 40000 rows",
        _table("manifest.parquet", lambda: {"path": _many("1.png", 40_000), "label": _many("x" * 2**16, 40_000)}),
        TOO_MUCH_TEXT,
    ),
    Whole(
        "a column of 64 KiB in 40000 rows of images",
        _alone(
            lambda: {
                "image": _many(b"x", 40_000),
                "label": _many("cat", 40_000),
                "note": _many("x" * 2**16, 40_000),
            }
        ),
        TOO_MUCH_TEXT,
    ),
    Whole(
        "a row of 200 KB of CSV",
        _csv(lambda: "1.png,cat," + ",".join(["x" * 20_000] * 10) + "\n", "path,label,a,b,c,d,e,f,g,h,i,j"),
        TOO_LONG_A_ROW,
    ),
    Whole(
        "5000 columns of a manifest",
        _table(
            "manifest.parquet",
            lambda: {"path": ["1.png"], "label": ["cat"], **{f"c{number}": ["x"] for number in range(5000)}},
        ),
        COLUMNS,
    ),
    Whole("5000 columns beside images", _alone(lambda: _images() | {f"c{n}": ["x"] * 4 for n in range(5000)}), COLUMNS),
    Whole("5000 columns of CSV", _csv(lambda: "", "path,label," + ",".join(map(str, range(5000)))), COLUMNS),
    Whole(
        "200 keys beside images in a tar",
        _tar(
            lambda: [
                ("1.png", whole("PNG")),
                ("1.json", json.dumps({f"k{n}": n for n in range(200)} | {"label": 1}).encode()),
            ]
        ),
        "more than 100 different keys",
    ),
    Whole(
        "a text of 900 KB beside an image in a tar",
        _tar(lambda: [("1.png", whole("PNG")), ("1.json", json.dumps({"label": "a", "note": "x" * 900_000}).encode())]),
        TOO_LONG_A_ROW,
    ),
    # Images many times over
    Whole(
        "one image in 3000 rows",
        _alone(lambda: {"image": _many(NOISE, 3000), "label": _many("a", 3000)}),
        "Quarantined.* 2999 left out: 2999 named twice",
    ),
    Whole(
        "one image of 10 MB in 3000 rows",
        _alone(lambda: {"image": _cells(NOISE * 80, 3000), "label": _many("a", 3000)}),
        "Quarantined.* 2999 left out: 2999 named twice",
    ),
    Whole(
        "one image in 3000 rows with as many labels",
        _alone(lambda: {"image": _many(NOISE, 3000), "label": [str(number) for number in range(3000)]}),
        EXPANDS,
    ),
    Whole(
        "one small image in 100000 rows",
        _alone(lambda: {"image": _many(whole("PNG"), 100_000), "label": _many("a", 100_000)}),
        MISSING,
    ),
    Whole("one file in 3000 rows", _csv(lambda: "1.png,cat\n" * 3000), "Quarantined.* 2999 left out: 2999 named twice"),
    Whole("one file in 100000 rows", _csv(lambda: "1.png,cat\n" * 100_000), MISSING),
    Whole(
        "one empty file in 100000 rows",
        lambda folder: (_csv(lambda: "0,cat\n" * 100_000)(folder), (folder / "0").touch()),
        MISSING,
    ),
    Whole("one file under 5000 names", _linked(5000, lambda one, name: os.link(one, name)), EXPANDS),
    Whole("holes instead of images", _holes, "Quarantined.* too large to open"),
    Whole("a tar of a tebibyte of nothing", _hole_of_a_tar, "nearly all holes"),
    # What is not there
    Whole("100000 rows that name nothing", _csv(lambda: "".join(f"x{n}.png,a\n" for n in range(100_000))), MISSING),
    Whole("20000 rows that lead out", _csv(lambda: "../1.png,a\n" * 20_000), MISSING),
    Whole("20000 links", _linked(20_000, lambda one, name: name.symlink_to(one.name)), MISSING),
    Whole(
        "20000 cells without an image",
        _alone(lambda: {"image": pa.nulls(20_000, pa.binary()), "label": _many("a", 20_000)}),
        MISSING,
    ),
    Whole("20000 samples without an image", _tar(lambda: [(f"{n}.cls", b"a") for n in range(20_000)]), MISSING),
    # What ends the process that reads it, or makes a library raise what nobody expects
    Whole("Parquet that contradicts its levels", _changed(_alone(_images), OPTIONAL, REPEATED), NO_PARQUET),
    Whole(
        "Parquet with a name that is no text",
        _changed(
            _table("manifest.parquet", lambda: {"path": ["1.png"], "label": ["a"], "n0te": ["x"]}),
            b"n0te",
            b"n\xff\xfee",
        ),
        NO_PARQUET,
    ),
    Whole(
        "Parquet with a label column that is no text",
        _changed(_alone(lambda: _images() | {"n0te": ["x"] * 4}), b"n0te", b"n\xff\xfee"),
        NO_PARQUET,
    ),
    Whole("Parquet that is encrypted", _cut(_alone(_images), lambda encoded: encoded[:-4] + b"PARE"), NO_PARQUET),
    Whole(
        "Parquet whose footer claims two gigabytes",
        _cut(_alone(_images), lambda encoded: encoded[:-8] + b"\xff\xff\xff\x7fPAR1"),
        NO_PARQUET,
    ),
    Whole(
        "Parquet whose footer is of no length",
        _cut(_alone(_images), lambda encoded: encoded[:-8] + bytes(4) + b"PAR1"),
        NO_PARQUET,
    ),
    Whole(
        "Parquet whose pages are noise",
        _cut(_alone(_images), lambda encoded: encoded[:4] + b"\x15\xff" * 300 + encoded[604:]),
        NO_PARQUET,
    ),
    Whole("Parquet of structs in structs", _alone(_deep), f"Admitted|Quarantined|{NO_PARQUET}"),
    Whole("Parquet without a column", _alone(dict), "has no column of images"),
    Whole("Parquet of no image but text", _alone(lambda: {"label": ["a"], "text": ["b"]}), "has no column of images"),
    Whole(
        "Parquet with a name of a megabyte",
        _alone(lambda: {"x" * 1_000_000: ["a"], "label": ["b"]}),
        "has no column of images",
    ),
    Whole(
        "Parquet in 1000 row groups",
        _alone(
            lambda: {"image": [whole("PNG", f"group {number % 10}") for number in range(1000)], "label": ["a"] * 1000},
            row_group_size=1,
        ),
        "Admitted: 10 of 1000|Quarantined",
    ),
    Whole(
        "JSON in JSON a hundred thousand deep",
        _tar(lambda: [("1.png", whole("PNG")), ("1.json", b'{"a":' * 100_000)]),
        "Quarantined",
    ),
    *(
        Whole(
            f"a label that is {label} in JSON",
            _tar(lambda label=label: [("1.png", whole("PNG")), ("1.json", f'{{"label": {label}}}'.encode())]),
            "Quarantined.* 1 without a usable label",
        )
        for label in ("NaN", "true", "0.5")
    ),
    Whole(
        "a tar with a name as long as a name can be",
        lambda folder: (
            _tar(lambda: [("1.png", whole("PNG")), ("1.cls", b"cat")])(folder),
            (folder / "a.tar").rename(folder / ("x" * 251 + ".tar")),
        ),
        "Quarantined",
    ),
    Whole(
        "a number of 10000 digits in JSON",
        _tar(lambda: [("1.png", whole("PNG")), ("1.json", b'{"label": ' + b"1" * 10_000 + b"}")]),
        "Quarantined",
    ),
)
