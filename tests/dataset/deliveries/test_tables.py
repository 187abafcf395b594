"""Parquet files with the images in them, from the delivery to the rows of the batch."""

import json
import random
import threading
from datetime import date

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from dataset.decoding.formats import BadImage
from dataset.deliveries.delivery import read_delivery
from dataset.deliveries.reading import Reader, close_kept
from dataset.deliveries.tables import LARGEST_GROUP, OPEN_TABLE, Cell, Cells
from records.errors import UnreadableBatch

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def features(**names):
    """The metadata that `datasets` writes for columns of class names."""
    feature_types = {column: {"_type": "ClassLabel", "names": given} for column, given in names.items()}
    return {"huggingface": json.dumps({"info": {"features": feature_types | {"image": {"_type": "Image"}}}})}


def write_table(path, columns, metadata=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns).replace_schema_metadata(metadata)
    parquet.write_table(table, path, **options)
    return path


def images(*contents, paths=None):
    structs = [
        None if content is None else {"bytes": content, "path": path}
        for content, path in zip(contents, paths or [None] * len(contents), strict=True)
    ]
    return pa.array(structs, IMAGE)


def test_a_hugging_face_file_becomes_a_batch(tmp_path, taken, picture):
    columns = {
        "image": images(picture(1, 2), picture(3), None, b"", paths=["a.png", None, None, "d.png"]),
        "label": pa.array([1, 0, 1, 0], pa.int64()),
        "coarse": [0, 1, 0, None],
        "day": ["2026-01-01", None, "Ä", ""],
        "boxes": [[1, 2], [], None, [3]],
        "vector": [b"1", b"2", b"3", b"4"],
    }
    metadata = features(label=["cat", "dog"], coarse=["pet", "wild"])
    ingested = taken(write_table(tmp_path / "train.parquet", columns, metadata))
    assert (ingested.batch.source, ingested.batch.classes) == ("train.parquet", ("cat", "dog"))
    assert ingested.batch.columns == ("coarse", "day", "image.path")
    assert ingested.select("path", "label", "problem", "encoded") == [
        ("#000000", "dog", "", picture(1, 2)),
        ("#000001", "cat", "", picture(3)),
        ("#000002", "dog", "missing", None),
        ("#000003", "cat", "empty", b""),
    ]
    assert ingested.select("user.coarse", "user.day", "user.image.path") == [
        ("pet", "2026-01-01", "a.png"),
        ("wild", "", ""),
        ("pet", "Ä", ""),
        ("", "", "d.png"),
    ]


def test_a_folder_of_files_is_one_delivery(tmp_path, taken, picture):
    for number in (1, 0):
        columns = {"image": images(picture(number), picture(number + 10)), "label": ["a", "b"]}
        write_table(tmp_path / "data" / f"train-{number:05d}-of-00002.parquet", columns)
    ingested = taken(tmp_path / "data")
    assert (ingested.batch.source, ingested.batch.columns) == ("data", ()), "paths that are all empty are no column"
    assert ingested.select("path", "label", "encoded") == [
        ("train-00000-of-00002.parquet#000000", "a", picture(0)),
        ("train-00000-of-00002.parquet#000001", "b", picture(10)),
        ("train-00001-of-00002.parquet#000000", "a", picture(1)),
        ("train-00001-of-00002.parquet#000001", "b", picture(11)),
    ]


def test_the_same_content_in_other_row_groups_and_under_another_name_adds_nothing(tmp_path, taken, picture):
    columns = {"image": images(*(picture(n) for n in range(9))), "label": ["a", "b", "c"] * 3}
    first = taken(write_table(tmp_path / "monday.parquet", columns))
    again = taken(write_table(tmp_path / "tuesday.parquet", columns, row_group_size=2, compression="zstd"))
    assert (again.known, again.batch) == (True, first.batch)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("name", ["image", "png"])
def test_a_binary_column_will_do(tmp_path, taken, picture, kind, name):
    columns = {name: pa.array([picture(1), None], kind), "label": pa.array(["a", "b"]).dictionary_encode()}
    ingested = taken(write_table(tmp_path / "m.parquet", columns))
    assert ingested.select("label", "problem", "encoded") == [("a", "", picture(1)), ("b", "missing", None)]


@pytest.mark.parametrize("name", ["label", "labels", "class", "category", "fine_label", "target"])
def test_the_label_may_have_several_names(tmp_path, taken, picture, name):
    columns = {name: ["a"], "img": images(picture(1)), "mask": images(picture(2))}
    assert taken(write_table(tmp_path / "m.parquet", {**columns, "image": images(picture(3))})).select(
        "label", "encoded"
    ) == [("a", picture(3))]


def test_labels_that_are_no_good_are_rows_that_say_so(tmp_path, taken, picture):
    columns = {"image": images(*(picture(n) for n in range(4))), "label": [0, -1, 2, None]}
    ingested = taken(write_table(tmp_path / "m.parquet", columns, features(label=["cat", "dog"])))
    assert ingested.select("label", "problem", "detail") == [
        ("cat", "", ""),
        ("-1", "label-number", "class -1, but the names of classes go from 0 to 1"),
        ("2", "label-number", "class 2, but the names of classes go from 0 to 1"),
        ("", "label-missing", "the row has no label"),
    ]
    assert all(row["encoded"] for row in ingested.rows)


@pytest.mark.parametrize(
    "schema_note", [None, "{", '{"info": {"features": [1]}}', '{"info": {"features": {"label": {"names": 1}}}}']
)
def test_numbers_without_names_are_labels_as_they_are(tmp_path, taken, picture, schema_note):
    columns, metadata = {"image": images(picture(1)), "label": [7]}, schema_note and {"huggingface": schema_note}
    assert taken(write_table(tmp_path / "m.parquet", columns, metadata)).select("label", "problem") == [("7", "")]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int8(), pa.dictionary(pa.int8(), pa.string())])
def test_whole_numbers_with_a_fraction_of_zero_are_the_same_labels(tmp_path, taken, picture, kind):
    """So pandas writes a column of whole numbers in which one is missing."""
    values = [1, None, 0] if not pa.types.is_dictionary(kind) else ["1", None, "0"]
    labels = pa.array(values).cast(kind)
    columns, metadata = (
        {"image": images(picture(1), picture(2), picture(3)), "label": labels},
        features(label=["a", "b"]),
    )
    ingested = taken(write_table(tmp_path / "m.parquet", columns, metadata))
    assert ingested.select("label", "problem") == [("b", ""), ("", "label-missing"), ("a", "")]
    write_table(tmp_path / "n" / "manifest.parquet", {"path": ["1", "2", "3"], "label": labels})
    ingested = taken(tmp_path / "n", where="other")
    assert ingested.select("label") == [("1",), ("",), ("0",)]


def test_not_a_number_is_no_label(tmp_path, taken, picture):
    ingested = taken(write_table(tmp_path / "m.parquet", {"image": images(picture(1)), "label": [float("nan")]}))
    assert ingested.select("label", "problem") == [("", "label-missing")]


def test_large_cells_are_not_read(tmp_path, taken, picture):
    columns = {"image": images(picture(1), bytes(5000), picture(2)), "label": ["a", "a", "b"]}
    ingested = taken(write_table(tmp_path / "m.parquet", columns), max_bytes=4000)
    assert ingested.select("problem", "bytes", "sha256")[1] == ("too-large", 5000, "")
    assert ingested.select("encoded") == [(picture(1),), (None,), (picture(2),)]


def test_a_table_with_path_and_label_stays_a_manifest(tmp_path, taken, picture):
    (tmp_path / "1.png").write_bytes(picture(1))
    ingested = taken(write_table(tmp_path / "m.parquet", {"path": ["1.png"], "label": ["a"]}))
    assert ingested.select("path", "encoded") == [("1.png", picture(1))]
    with pytest.raises(UnreadableBatch, match="Column 'vector' of .* holds binary values"):
        taken(write_table(tmp_path / "m.parquet", {"path": ["1.png"], "label": ["a"], "vector": [b"1"]}))
    columns = {"path": ["x.png"], "label": ["a"], "image": images(picture(2))}
    ingested = taken(write_table(tmp_path / "manifest.parquet", columns))
    assert ingested.select("path", "encoded", "user.path") == [("#000000", picture(2), "x.png")]


def test_row_groups_are_read_forwards_and_only_once_by_a_process(tmp_path, picture):
    columns = {"image": images(*(picture(n) for n in range(200))), "label": ["a"] * 200}
    source = write_table(tmp_path / "m.parquet", columns, row_group_size=90)
    delivery = read_delivery(source)
    seen = []
    for start in range(0, 200, 64):
        with Reader(delivery.folder, 10_000) as reader:
            seen += [reader.read(item) for item in delivery.items[start : start + 64]]
        assert OPEN_TABLE.cells is not None
        seen.append(id(OPEN_TABLE.cells).to_bytes(8))
    assert len({found for found in seen if len(found) == 8}) == 1, "the file stays open from part to part"
    assert [found for found in seen if len(found) != 8] == [picture(n) for n in range(200)]
    with Reader(delivery.folder, 10_000) as reader:
        assert [reader.read(delivery.items[n]) for n in (5, 150, 3)] == [picture(n) for n in (5, 150, 3)]
    others = []
    thread = threading.Thread(target=lambda: others.append(OPEN_TABLE.cells))
    thread.start()
    thread.join()
    assert others == [None]
    close_kept()


def test_a_file_that_changes_while_it_is_read_is_unreadable_images(tmp_path, picture):
    source = write_table(tmp_path / "m.parquet", {"image": images(picture(1), picture(2)), "label": ["a", "b"]})
    delivery = read_delivery(source)
    for change in (lambda: source.write_bytes(b"PAR1 and no more"), source.unlink):
        change()
        with Reader(delivery.folder, 10_000) as reader, pytest.raises(BadImage, match="unreadable|missing"):
            reader.read(delivery.items[1])
    write_table(source, {"image": images(picture(1)), "label": ["a"]})
    cells = Cells(source.open("rb"))
    with pytest.raises(BadImage, match="unreadable"):
        cells.read(Cell(0, 7, "image.bytes"))
    cells.close()


def not_utf8():
    return pa.array([b"\xff"], pa.binary()).view(pa.string())


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"image": images(b"1")}, r"has no column for the label; it has: image. Name it label"),
        ({"image": images(b"1"), "label": [[1]]}, r"Column 'label' of .* holds list"),
        ({"a": images(b"1"), "b": [b"2"], "label": [1]}, r"several columns that could hold the image: a, b. Name one"),
        ({"image": images(), "label": pa.array([], pa.string())}, r"its files have no rows"),
        ({"image": images(b"1"), "label": not_utf8()}, r"holds text that is not in UTF-8"),
        ({"label": ["a"]}, r"has no column of images; it has: label"),
        (
            {"image": images(b"1"), "label": [True]},
            r"Column 'label' of .* holds bool values; a label is a name or a wh",
        ),
        (
            {"image": images(b"1"), "label": [0.5]},
            r"Column 'label' of .* holds 0.5; a label is a name or a whole number",
        ),
        ({"image": images(b"1"), "label": [float("inf")]}, r"Column 'label' of .* holds inf; a label is"),
        ({"image": images(b"1"), "label": [1e300]}, r"Column 'label' of .* holds 1e\+300; a label is"),
        (
            {"image": images(b"1"), "label": [date(2026, 1, 5)]},
            r"Column 'label' of .* holds date32.day. values; a label",
        ),
        ({"path": ["1.png"], "label": [True]}, r"Column 'label' of .* holds bool values; a label is a name"),
        ({"path": ["1.png"], "label": [0.5]}, r"Column 'label' of .* holds 0.5; a label is a name"),
    ],
)
def test_a_table_that_cannot_be_taken_is_one_sentence(tmp_path, taken, columns, sentence):
    write_table(tmp_path / "delivery" / ("manifest.parquet" if "path" in columns else "a.parquet"), columns)
    with pytest.raises(UnreadableBatch, match=sentence) as error:
        taken(tmp_path / "delivery")
    assert "delivery" in str(error.value)
    assert "\n" not in str(error.value)


def test_files_of_one_delivery_have_the_same_columns(tmp_path, taken, picture):
    write_table(tmp_path / "d" / "a.parquet", {"image": images(picture(1)), "label": ["a"]})
    write_table(tmp_path / "d" / "b.parquet", {"image": images(picture(1)), "label": ["a"], "day": [1]})
    with pytest.raises(UnreadableBatch, match=r"b.parquet has other columns than a.parquet. Make two deliveries"):
        taken(tmp_path / "d")


def test_damaged_pages_are_one_sentence_before_anything_is_taken(tmp_path, taken, picture):
    columns = {"image": images(*(picture(n) for n in range(50))), "label": ["a"] * 50}
    source = write_table(tmp_path / "m.parquet", columns, compression="gzip")
    content = bytearray(source.read_bytes())
    content[200:400] = bytes(200)
    source.write_bytes(content)
    with pytest.raises(UnreadableBatch, match=r"m.parquet is no readable Parquet file"):
        taken(source)


@pytest.mark.slow
def test_a_row_group_that_no_memory_holds_is_refused(tmp_path, taken, picture):
    columns = {"image": images(picture(1), bytes(LARGEST_GROUP)), "label": ["a", "b"]}
    source = write_table(tmp_path / "m.parquet", columns, compression="zstd", row_group_size=2)
    sentence = r"Row group 0 of .*m.parquet holds 256 MiB of images, more than 256. Write the file with fewer rows"
    with pytest.raises(UnreadableBatch, match=sentence):
        taken(source)


@pytest.fixture
def arrow_memory():
    """Bytes that Arrow takes, of the test alone."""
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(pool)
    yield pool
    pa.set_memory_pool(usual)


@pytest.mark.unhurried
@pytest.mark.parametrize("place", ["label", "note", "image.path", "manifest", "manifest of text"])
def test_a_long_value_that_many_rows_share_is_refused_before_it_is_unpacked(tmp_path, arrow_memory, place):
    rows, long = 400, "a" * 10_000_000
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([long]))
    columns = {"image": images(*[b"x"] * rows), "label": ["a"] * rows, "note": ["b"] * rows}
    if place == "image.path":
        columns = {"image": images(b"x", b"x", paths=[long, long]), "label": ["a", "a"]}
    elif place == "manifest of text":
        columns = {"path": ["a", "b"], "label": [long, long]}
    elif place == "manifest":
        columns = {"path": ["a"] * rows, "label": shared}
    else:
        columns[place] = shared
    file = write_table(tmp_path / "m.parquet", columns, compression="zstd")
    assert file.stat().st_size < 10_000
    del columns, shared
    message = r"^Column '.*' of .*m\.parquet holds a value of 10,000,000 bytes, more than the 65,536 that are allowed\."
    with pytest.raises(UnreadableBatch, match=message):
        read_delivery(file)
    assert arrow_memory.max_memory() < 200e6, "not 4 GB"


def test_more_than_there_is_memory_for_is_told(tmp_path, monkeypatch):
    def fail(source, tally):
        raise MemoryError

    monkeypatch.setattr("dataset.deliveries.delivery._read", fail)
    with pytest.raises(UnreadableBatch, match=r"monday takes more memory than there is\. Make several deliveries"):
        read_delivery(tmp_path / "monday")


def test_bytes_that_many_rows_hold_are_read_and_kept_once_for_each_label(tmp_path, taken, picture):
    contents = [picture(1), picture(2), picture(1), picture(1), None, None]
    labels = ["cat", "cat", "cat", "dog", "cat", "cat"]
    folder = write_table(tmp_path / "monday" / "a.parquet", {"image": images(*contents), "label": labels}).parent
    write_table(folder / "b.parquet", {"image": images(picture(2)), "label": ["cat"]})
    assert taken(folder).select("path", "problem", "encoded", "detail") == [
        ("a.parquet#000000", "", picture(1), ""),
        ("a.parquet#000001", "", picture(2), ""),
        ("a.parquet#000002", "repeated", None, "the same image and label as a.parquet#000000"),
        ("a.parquet#000003", "", picture(1), ""),
        ("a.parquet#000004", "missing", None, "the row holds no bytes of an image"),
        ("a.parquet#000005", "missing", None, "the row holds no bytes of an image"),
        ("b.parquet#000000", "repeated", None, "the same image and label as a.parquet#000001"),
    ]


@pytest.mark.unhurried
@pytest.mark.parametrize("struct", [True, False])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_one_image_in_very_many_rows_takes_its_bytes_once(tmp_path, taken, struct, kind):
    noise = random.Random(0).randbytes(100_000)
    cells = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), pa.array([noise], kind))
    column = pa.StructArray.from_arrays([cells], ["bytes"]) if struct else cells
    file = write_table(tmp_path / "monday.parquet", {"image": column, "label": ["cat"] * 3000})
    # Also an image column that Arrow calls a dictionary is one.
    assert file.stat().st_size < 150_000
    ingested = taken(file)
    assert [row["problem"] for row in ingested.rows] == ["not-an-image"] + ["repeated"] * 2999
    assert sum(shard.bytes for shard in ingested.batch.shards) < 250_000
