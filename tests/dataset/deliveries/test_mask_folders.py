"""Folders of images with a mask file each, taken as batches."""

import json
import re
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image as Pillow

from dataset.shards import KNOWN, KNOWN_OF_MASKS, SHARD_SCHEMA, shard_schema
from records.errors import UnreadableBatch
from tasks.ingest.settings import IngestParams
from tests.corpus.files import chunks, png_header, png_of, whole
from tests.dataset.deliveries.masks import lay_out, picture, png, taken, values_of

MASK = [[0, 1, 1, 255], [0, 2, 2, 2], [0, 0, 0, 255]]
"""Background, dogs, cats in the order of `classes.txt`, and two pixels that nobody knows."""
CLASSES = "background\ndog\ncat\n"


def folder(place, mask, classes=CLASSES, called="classes.txt", **more):
    mask = mask if isinstance(mask, bytes) else png(mask)
    return lay_out(place, {"images/1.png": picture(), "masks/1.png": mask, called: classes, **more})


def test_images_and_masks_of_the_same_name_become_a_batch(tmp_path):
    source = folder(tmp_path / "in", MASK)
    batch, (row,) = taken(source, tmp_path)
    assert (batch.annotation, batch.mask_classes, batch.classes) == (
        "mask",
        ("background", "cat", "dog"),
        ("cat", "dog"),
    )
    assert (row["path"], row["label"], row["problem"]) == ("images/1.png", "cat/dog", "")
    # cat is 1 and dog 2 in the batch: all but the background are sorted.
    assert values_of(row) == [[0, 2, 2, 255], [0, 1, 1, 1], [0, 0, 0, 255]]
    assert Pillow.open(pa.BufferReader(row["annotation"])).mode == "L"
    assert row["class_pixels"] == [5, 3, 2]
    assert (row["ignored"], row["background"], row["labelled_for"]) == (
        pytest.approx(2 / 12),
        pytest.approx(5 / 10),
        "",
    )
    assert len(row["annotation_id"]) == 32


def test_columns_of_masks_stand_behind_the_facts_and_are_not_compressed_again(tmp_path):
    batch, _ = taken(folder(tmp_path / "in", MASK), tmp_path)
    shard = tmp_path / "batches" / batch.id / batch.shards[0].name
    assert parquet.read_schema(shard).equals(shard_schema((), "mask"))
    further = ["annotation", "annotation_id", "labelled_for", "ignored", "background", "class_pixels"]
    assert shard_schema(("note",), "mask").names == [*SHARD_SCHEMA.names, *further, "user.note"]
    assert [*KNOWN, *KNOWN_OF_MASKS] == [
        n for n in shard_schema((), "mask").names if n not in ("encoded", "annotation")
    ]
    group = parquet.ParquetFile(shard).metadata.row_group(0)
    packed = {group.column(i).path_in_schema: group.column(i).compression for i in range(group.num_columns)}
    assert {name for name, how in packed.items() if how == "UNCOMPRESSED"} == {"encoded", "annotation"}


def by_objects(*entries):
    return json.dumps([dict(zip(("name", "id", "color"), entry, strict=False)) for entry in entries])


COLOURS = {0: (0, 0, 0), 1: (255, 0, 128), 2: (0, 9, 0), 255: (224, 224, 192)}
COLOURED = np.array([[COLOURS[value] for value in row] for row in MASK], dtype=np.uint8)
OTHER = {0: 7, 1: 3, 2: 200, 255: 255}
OTHERWISE = [[OTHER[value] for value in row] for row in MASK]
NAMED = [("BG", 0, [0, 0, 0]), ("dog", 1, "#ff0080"), ("cat", 2, [0, 9, 0]), ("void", 255, "#e0e0c0")]


@pytest.mark.parametrize(
    ("mask", "called", "classes"),
    {
        "palette": (png(MASK, "P"), "classes.txt", CLASSES),
        "16 bits": (png(np.array(MASK, dtype=np.uint16)), "classes.txt", CLASSES),
        "grey with alpha": (png(np.dstack([MASK, np.full((3, 4), 255)]).astype(np.uint8)), "classes.txt", CLASSES),
        "names in a list": (png(MASK), "classes.json", '["_background_", "dog", "cat"]'),
        "names that the first index is not of": (png(MASK), "classes.json", '{"dog": 1, "cat": 2}'),
        "other indices": (png(OTHERWISE), "classes.json", '{"__background__": 7, "dog": 3, "cat": 200}'),
        "a byte order mark": (png(MASK), "classes.txt", "\ufeff" + CLASSES.replace("\n", "\r\n")),
        "colours": (png(COLOURED), "classes.json", by_objects(*NAMED)),
        "a palette of colours alone": (
            png(np.array(Pillow.fromarray(COLOURED).quantize(4).convert("RGB"))),
            "classes.json",
            by_objects(*[(name, *([255] if name == "void" else [None]), colour) for name, _, colour in NAMED]),
        ),
        "under a key": (png(MASK), "classes.json", '{"classes": ["background", "dog", "cat"]}'),
    }.values(),
)
def test_the_same_mask_has_the_same_id_whatever_it_is_written_as(tmp_path, mask, called, classes):
    expected = taken(folder(tmp_path / "plain", MASK), tmp_path / "one")[1][0]
    found = taken(folder(tmp_path / "in", mask, classes, called), tmp_path / "two")[1][0]
    assert found["problem"] == ""
    same = ("annotation", "annotation_id", "label", "class_pixels", "ignored", "background")
    assert [found[name] for name in same] == [expected[name] for name in same]


def few_bits(bits, colour):
    """A PNG file of 4 x 3 pixels of so few bits, each row 0, 1, 1, 0."""
    row = sum(value << bits * (3 - place) for place, value in enumerate((0, 1, 1, 0))) << max(0, 8 - 4 * bits)
    rows = b"".join(b"\0" + row.to_bytes(max(1, bits // 2), "big") for _ in range(3))
    palette = [(b"PLTE", bytes(12))] if colour == 3 else []
    return png_of([png_header(4, 3, bits, colour), *palette, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("colour", [0, 3])
def test_indices_of_few_bits_are_not_stretched(tmp_path, bits, colour):
    _, (row,) = taken(folder(tmp_path / "in", few_bits(bits, colour)), tmp_path)
    assert values_of(row) == [[0, 2, 2, 0]] * 3


SIXTEEN = np.array(MASK, dtype=np.uint16)


@pytest.mark.parametrize(
    ("mask", "problem", "detail"),
    [
        (png([[0, 1, 1]] * 4), "mask-size", "it has 3 x 4 pixels, and the image has 4 x 3"),
        (png([[0, 1, 1, 9]] * 3), "mask-index", "3 of its pixels are 9, an index without a name"),
        (png(SIXTEEN * 300), "mask-mode", "16 bits and reach"),
        (png(COLOURED), "mask-mode", "a picture in colours"),
        (png(np.dstack([MASK, MASK]).astype(np.uint8)), "mask-mode", "transparent"),
        (b"", "mask-unreadable", "no bytes"),
        (b"nothing", "mask-unreadable", "no image format"),
        (png(MASK)[:48], "mask-unreadable", "ends before"),
        (png(np.zeros((200, 200), np.uint8)), "mask-unreadable", "200 x 200 pixels, more than the 1000 that are"),
        (png(np.random.default_rng(0).integers(0, 2, (300, 300), dtype=np.uint8)), "mask-unreadable", "bytes, more"),
        (whole("JPEG"), "mask-unreadable", "JPEG; a mask is a PNG file"),
        (png(MASK).replace(b"IDAT", b"IDAX"), "mask-unreadable", "damaged|ends before"),
    ],
)
def test_what_is_wrong_with_a_mask_is_told_of_its_image(tmp_path, mask, problem, detail):
    params = IngestParams(max_pixels=1000, max_bytes=5000)
    _, (row,) = taken(folder(tmp_path / "in", mask), tmp_path, params)
    assert (row["problem"], row["label"], row["annotation"], row["annotation_id"]) == (problem, "", None, "")
    assert (row["class_pixels"], len(row["sha256"]), row["width"]) == ([], 64, 4)
    assert row["detail"].startswith("masks/1.png: ")
    assert re.search(detail, row["detail"])


@pytest.mark.parametrize("cut", [0, 12, 14, 18])
def test_a_mask_with_another_pixel_is_no_mask_also_where_its_checksum_is_cut_off(tmp_path, cut):
    rows = zlib.compress(b"\0\1\1\2\2" * 3, 0)
    good = png_of([png_header(4, 3, 8, 0), (b"IDAT", rows), (b"IEND", b"")])
    pixel = good.index(rows) + 7 + 3
    damaged = good[:pixel] + b"\1" + good[pixel + 1 :]
    assert good[pixel] == 2
    _, (row,) = taken(folder(tmp_path / "in", damaged[: len(damaged) - cut]), tmp_path)
    assert (row["problem"], row["annotation"]) == ("mask-unreadable", None)


@pytest.mark.parametrize("further", [(b"tEXt", b"a text in which Pillow would read bits"), png_header(4, 3, 2, 0)])
def test_a_mask_whose_header_is_not_its_first_chunk_is_not_taken_for_background(tmp_path, further):
    header, *others = chunks(png(MASK))
    for parts in ([further, header, *others], [header, further, *others]):
        _, (row,) = taken(folder(tmp_path / str(len(list(tmp_path.iterdir()))), png_of(parts)), tmp_path)
        good = parts[0] == header and further[0] == b"tEXt"
        assert row["problem"] == ("" if good else "mask-unreadable")
        assert good or "the PNG file is damaged" in row["detail"]


def test_a_colour_without_a_name_is_told(tmp_path):
    source = folder(tmp_path / "in", png(COLOURED), '{"dog": "#ff0080", "cat": [1, 2, 3]}', "classes.json")
    _, (row,) = taken(source, tmp_path)
    assert (row["problem"], row["detail"]) == (
        "mask-mode", "masks/1.png: a pixel of it has the colour #e0e0c0, which has no name",
    )  # fmt: skip


def test_a_mask_is_not_asked_for_where_the_image_is_damaged(tmp_path):
    source = folder(tmp_path / "in", b"", **{"images/2.png": picture(2), "images/1.png": b""})
    _, rows = taken(source, tmp_path)
    assert [row["problem"] for row in rows] == ["empty", "mask-missing"]


def test_masks_belong_to_images_by_folder_and_name(tmp_path):
    images = {f"images/{name}": picture(number) for number, name in enumerate(("a/1.x.png", "b/1.x.jpg", "c/1.png"))}
    masks = {"masks/a/1.x.png": png([[1] * 4] * 3), "masks/b/1.x.png": png([[2] * 4] * 3), "masks/1.png": png(MASK)}
    _, rows = taken(lay_out(tmp_path / "in", {**images, **masks, "classes.txt": CLASSES}), tmp_path)
    assert [(row["label"], row["problem"]) for row in rows] == [("dog", ""), ("cat", ""), ("", "mask-missing")]


def test_two_masks_of_one_name_are_no_mask(tmp_path):
    _, (row,) = taken(folder(tmp_path / "in", MASK, **{"masks/1.gif": b""}), tmp_path)
    assert row["problem"] == "mask-unreadable"
    assert "2 masks have this name" in row["detail"]


def test_links_are_not_followed(tmp_path):
    source = folder(tmp_path / "in", MASK, **{"images/2.png": picture(2)})
    (source / "masks" / "2.png").symlink_to("1.png")
    _, rows = taken(source, tmp_path)
    assert [row["problem"] for row in rows] == ["", "mask-unreadable"]
    assert "symbolic link" in rows[1]["detail"]


# What is in a list of classes


def test_a_first_class_that_is_not_the_background_is_a_class(tmp_path):
    batch, (row,) = taken(folder(tmp_path / "in", MASK, "void\ndog\ncat\n"), tmp_path)
    assert batch.mask_classes == ("background", "cat", "dog", "void")
    assert (row["label"], row["background"], row["class_pixels"]) == ("cat/dog/void", 0.0, [0, 3, 2, 5])


def test_nothing_but_background_is_a_label_of_its_own_and_no_class(tmp_path):
    for value in (0, 255):
        batch, (row,) = taken(folder(tmp_path / str(value), [[value] * 4] * 3), tmp_path / f"home {value}")
        assert (row["label"], batch.classes, row["ignored"]) == ("background", (), value / 255)
        assert row["background"] == 1 - value / 255


def test_a_longer_list_of_classes_is_another_batch_and_the_same_mask(tmp_path):
    one, (row,) = taken(folder(tmp_path / "in", MASK), tmp_path / "one")
    other, (same,) = taken(folder(tmp_path / "in", MASK, f"{CLASSES}ant\n"), tmp_path / "other")
    assert (one.digest == other.digest, row["annotation_id"] == same["annotation_id"]) == (False, True)
    assert row["annotation"] != same["annotation"]


def test_the_digest_covers_masks(tmp_path):
    digests = [
        taken(folder(tmp_path / str(number), mask, **more), tmp_path / f"home {number}")[0].digest
        for number, (mask, more) in enumerate(
            [
                (MASK, {}),
                (png(MASK, "P"), {}),
                (MASK[::-1], {}),
                (b"broken", {}),
                (b"broken too", {}),
                (MASK, {"labelled_for.txt": "cat"}),
            ]
        )
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 5


@pytest.mark.parametrize(
    ("named", "text"), [("dog\ncat\n", ""), ("cat\n", "cat"), ("background\ncat", "cat"), ("BG", "background")]
)
def test_classes_that_were_looked_for(tmp_path, named, text):
    _, (row,) = taken(folder(tmp_path / "in", MASK, **{"labelled_for.txt": named}), tmp_path / "one")
    key = json.dumps({"dog": 1, "cat": 2, "labelled_for": named.split()})
    _, (same,) = taken(folder(tmp_path / "key", MASK, key, "classes.json"), tmp_path / "other")
    assert (row["labelled_for"], same["labelled_for"]) == (text, text)


MANY = "\n".join(f"class {number}" for number in range(255))
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"classes.json": "[]"}, "two lists of classes, classes.txt and classes.json"),
        ({"classes.txt": MANY}, "names 255 classes beside the background; a mask can tell 254 apart"),
        ({"classes.txt": "dog\nca/t\n"}, "a class called 'ca/t', which can be none: the label holds a slash"),
        ({"classes.txt": "dog\n\x1b[2J\n"}, "which can be none: .*control"),
        ({"classes.txt": "dog\n\ncat"}, "Line 2 of .*classes.txt is empty"),
        ({"classes.txt": "dog\nK\u00e4se\nKa\u0308se"}, "names 'K\u00e4se' twice"),
        ({"classes.txt": "bg\nbackground"}, "names 'background' twice"),
        ({"classes.txt": "background\n"}, "names no class beside the background"),
        ({"classes.txt": ""}, "Line 1 of .* is empty"),
        ({"classes.txt": b"\xff\xfe"}, "is not in UTF-8"),
        ({"classes.txt": "x" * 2**21}, "has more than the 1,048,576 bytes"),
        ({"labelled_for.txt": "cow"}, "says that 'cow' was looked for, and .*classes.txt has no such class"),
        ({"classes.json": "{"}, "no readable JSON file"),
        ({"classes.json": DEEP}, "nested too deeply"),
        ({"classes.json": "1"}, "says of no class"),
        ({"classes.json": '{"dog": 1, "dog": 2}'}, "two keys 'dog'"),
        ({"classes.json": '{"dog": 1, "cat": 1}'}, "two names to index 1"),
        ({"classes.json": '{"dog": "#ffffff", "cat": [255, 255, 255]}'}, "two names to colour #ffffff"),
        ({"classes.json": '{"dog": 256}'}, "'dog' the index 256"),
        ({"classes.json": '{"dog": -1}'}, "'dog' the index -1"),
        ({"classes.json": '{"dog": true}'}, "'dog' the index True"),
        ({"classes.json": '{"dog": NaN}'}, "'dog' 'nan', which is neither an index nor a colour"),
        ({"classes.json": '{"dog": "red"}'}, "'dog' 'red'"),
        ({"classes.json": '{"dog": [1, 2, 256]}'}, "neither an index nor a colour"),
        ({"classes.json": '[{"name": "dog"}]'}, "'dog' neither an id nor a color"),
        ({"classes.json": '{"dog": 1' + "0" * 5000 + "}"}, "no readable JSON file"),
    ],
)
def test_a_list_of_classes_that_cannot_be_used_is_one_sentence(tmp_path, files, sentence):
    given = {"images/1.png": picture(), "masks/1.png": png(MASK), **files}
    if "classes.json" not in given or "two lists" in sentence:
        given.setdefault("classes.txt", CLASSES)
    source = lay_out(tmp_path / "in", given)
    with pytest.raises(UnreadableBatch, match=sentence) as refused:
        taken(source, tmp_path)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1000


# What a folder of masks is not


def test_a_class_may_be_called_images(tmp_path):
    for number, files in enumerate(
        (
            {"images/1.png": picture()},
            {"images/1.png": picture(), "masks/2.png": picture(2)},
            {"images/1.png": picture(), "masks/1.png": picture(2), "text/1.png": picture(3)},
            {"images/1.png": picture(), "annotations/1.png": picture(2)},
            {"masks/1.png": picture(), "JPEGImages/1.png": picture(3)},
        )
    ):
        batch, rows = taken(lay_out(tmp_path / str(number), files), tmp_path / f"home {number}")
        assert (batch.annotation, batch.mask_classes) == ("", ())
        assert {row["label"] for row in rows} == {name.split("/")[0] for name in files}


def test_no_images_is_one_sentence(tmp_path):
    source = lay_out(tmp_path / "in", {"masks/1.png": png(MASK), "classes.txt": CLASSES})
    (source / "images").mkdir()
    with pytest.raises(UnreadableBatch, match="there are no images in its folder images"):
        taken(source, tmp_path)
