"""Deliveries in the layout of Pascal VOC."""

import pytest

from dataset.deliveries.voc import CLASSES_OF_VOC
from records.errors import UnreadableBatch
from tests.dataset.deliveries.masks import lay_out, picture, png, taken, values_of

MASK = [[0, 8, 8, 255], [0, 15, 15, 15], [0, 0, 0, 255]]


def voc(place, numbers=(1, 2), **more):
    images = {f"JPEGImages/{number}.png": picture(number) for number in numbers}
    masks = {f"SegmentationClass/{number}.png": png(MASK, "P") for number in numbers}
    return lay_out(place, {**images, **masks, **more})


def test_names_are_those_of_voc(tmp_path):
    batch, rows = taken(voc(tmp_path / "in"), tmp_path)
    assert batch.mask_classes == ("background", *sorted(CLASSES_OF_VOC[1:]))
    assert len(batch.mask_classes) == 21
    assert [(row["path"], row["label"]) for row in rows] == [(f"JPEGImages/{n}.png", "cat/person") for n in (1, 2)]
    assert rows[0]["class_pixels"][8] == 2
    cat, person = batch.mask_classes.index("cat"), batch.mask_classes.index("person")
    assert values_of(rows[0])[1] == [0, person, person, person]
    assert values_of(rows[0])[0] == [0, cat, cat, 255]


def test_a_list_of_classes_gives_others(tmp_path):
    names = "background\n" + "\n".join(f"class {number:02d}" for number in range(1, 16))
    batch, rows = taken(voc(tmp_path / "in", **{"classes.txt": names, "labelled_for.txt": "class 08"}), tmp_path)
    assert batch.classes == ("class 08", "class 15")
    assert [row["labelled_for"] for row in rows] == ["class 08"] * 2


def test_lists_say_which_images_there_are(tmp_path):
    lists = {"train": "1\n\n", "val": "2\r\n9\n../../etc/passwd\n", ".hidden": "3"}
    more = {f"ImageSets/Segmentation/{name}.txt": text for name, text in lists.items()}
    source = voc(tmp_path / "in", (1, 2, 3), **more, **{"Annotations/1.xml": "<annotation/>", "JPEGImages/4.png": b""})
    _, rows = taken(source, tmp_path)
    assert [(row["path"], row["problem"]) for row in rows] == [
        ("JPEGImages/../../etc/passwd.jpg", "missing"),
        ("JPEGImages/1.png", ""),
        ("JPEGImages/2.png", ""),
        ("JPEGImages/9.jpg", "missing"),
    ]


def test_without_lists_an_image_without_a_mask_lacks_one(tmp_path):
    _, rows = taken(voc(tmp_path / "in", (1,), **{"JPEGImages/2.png": picture(2)}), tmp_path)
    assert [row["problem"] for row in rows] == ["", "mask-missing"]


def test_lists_that_cannot_be_used_are_one_sentence(tmp_path):
    name = "ImageSets/Segmentation/train.txt"
    for number, (content, sentence) in enumerate([(b"\xff", "not in UTF-8"), (b"\n", "no images in its folder Image")]):
        with pytest.raises(UnreadableBatch, match=sentence):
            taken(voc(tmp_path / str(number), (1,), **{name: content}), tmp_path)
