"""Deliveries in COCO's format."""

import json

import pytest

from dataset.deliveries.delivery import read_delivery
from records.errors import UnreadableBatch
from tasks.ingest.settings import IngestParams
from tests.dataset.deliveries.masks import lay_out, picture, png, taken, values_of

# The same as in COCO's way below: dogs, cats, and the rest of a crowd.
MASK = [[0, 1, 1, 255], [0, 2, 2, 2], [0, 0, 0, 255]]
NAMES = "background\ndog\ncat\n"
CATEGORIES = [{"id": 90, "name": "cat", "supercategory": "animal"}, {"id": 4, "name": "dog"}]
DOG = {"id": 1, "image_id": 5, "category_id": 4, "segmentation": [[1, 0, 3, 0, 3, 1, 1, 1]]}
CAT = {"id": 2, "image_id": 5, "category_id": 90, "segmentation": {"size": [3, 4], "counts": [4, 1, 2, 1, 2, 1, 1]}}
CROWD = {"image_id": 5, "category_id": 90, "iscrowd": 1, "segmentation": {"size": [3, 4], "counts": [9, 3]}}


def image(number=5, name="1.png", **more):
    return {"id": number, "file_name": name, "height": 3, "width": 4, **more}


def coco(*images, annotations=(DOG, CAT, CROWD), categories=CATEGORIES, **more):
    known = {
        "info": {"year": 2017},
        "images": images or [image()],
        "annotations": annotations,
        "categories": categories,
    }
    return json.dumps(known | more)


def cat(number):
    return CAT | {"image_id": number, "segmentation": [[0, 0, 4, 0, 4, 3, 0, 3]]}


def folder(place, content, called="annotations.json", **more):
    return lay_out(place, {"images/1.png": picture(), called: content, **more})


def test_outlines_become_masks(tmp_path):
    batch, (row,) = taken(folder(tmp_path / "in", coco()), tmp_path)
    assert (batch.annotation, batch.mask_classes, batch.classes) == (
        "mask",
        ("background", "cat", "dog"),
        ("cat", "dog"),
    )
    assert (row["path"], row["label"], row["problem"], row["labelled_for"]) == ("images/1.png", "cat/dog", "", "")
    assert values_of(row) == [[0, 2, 2, 255], [0, 1, 1, 1], [0, 0, 0, 255]]


def test_the_same_mask_has_the_same_id_in_each_format(tmp_path):
    voc = {"JPEGImages/1.png": picture(), "SegmentationClass/1.png": png(MASK, "P"), "classes.txt": NAMES}
    mask_folder = {"images/1.png": picture(), "masks/1.png": png(MASK), "classes.txt": NAMES}
    ids = {
        (row["annotation_id"], row["label"], row["image"], row["annotation"], tuple(row["class_pixels"]))
        for number, files in enumerate((voc, mask_folder, {"images/1.png": picture(), "annotations.json": coco()}))
        for row in taken(lay_out(tmp_path / str(number), files), tmp_path / f"home {number}")[1]
    }
    assert len(ids) == 1


def test_ids_and_the_order_in_the_file_change_nothing(tmp_path):
    other = {4: 1, 90: 0}
    annotations = [one | {"category_id": other[one["category_id"]], "image_id": 77} for one in (CROWD, CAT, DOG)]
    categories = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    content = coco(image(77), annotations=annotations, categories=categories)
    spaced = json.dumps(json.loads(content), indent=4)
    backwards = json.dumps(dict(reversed(json.loads(content).items())))
    batches = {
        taken(folder(tmp_path / str(number), text, called), tmp_path / f"home {number}")[0].digest
        for number, (text, called) in enumerate(
            [
                (coco(), "annotations.json"),
                (content, "of monday.json"),
                (spaced, "a.JSON"),
                ("\ufeff" + backwards, "b.json"),
            ]
        )
    }
    assert len(batches) == 1


def test_images_without_annotations_are_background_and_those_not_there_are_missing(tmp_path):
    more = {"images/deep/2.png": picture(2), "3.png": picture(3), "images/unlisted.png": picture(4)}
    images = [
        image(),
        image(7, "\ud800"),
        image(1, "deep/2.png"),
        image(2, "3.png"),
        image(3, "gone.png"),
        image(4, "../in/3.png"),
    ]
    _, rows = taken(folder(tmp_path / "in", coco(*images), **more), tmp_path)
    assert [(row["path"], row["label"], row["problem"]) for row in rows] == [
        ("../in/3.png", "", "outside"),
        ("3.png", "background", ""),
        ("\\ud800", "", "missing"),
        ("gone.png", "", "missing"),
        ("images/1.png", "cat/dog", ""),
        ("images/deep/2.png", "background", ""),
    ]


def test_what_is_wrong_with_outlines_is_told_of_their_image_alone(tmp_path):
    wrong = [
        cat(1) | {"segmentation": []},
        cat(2) | {"category_id": 5},
        cat(3) | {"segmentation": {"size": [4, 3], "counts": [12]}},
        cat(5),
    ]
    images = [image(), *(image(number, f"{number}.png") for number in (2, 3)), image(1, "4.png", height=4)]
    more = {f"images/{number}.png": picture(number) for number in (2, 3, 4)}
    images[3] = image(1, "4.png")
    content = coco(*images, image(8, "5.png", height=4), annotations=wrong)
    _, rows = taken(folder(tmp_path / "in", content, **more, **{"images/5.png": picture(5)}), tmp_path)
    assert [row["problem"] for row in rows] == ["", "mask-index", "mask-size", "mask-unreadable", "mask-size"]
    assert rows[1]["detail"] == "image 2 in annotations.json: an object is of category 5, which has no name"


def test_a_category_that_no_text_can_hold_is_told_in_one_that_can_be_stored(tmp_path):
    content = coco(image(1), annotations=[cat(1) | {"category_id": "\ud800"}])
    _, (row,) = taken(folder(tmp_path / "in", content), tmp_path)
    assert row["detail"] == r"image 1 in annotations.json: an object is of category \ud800, which has no name"


def test_what_was_looked_for_as_in_lvis(tmp_path):
    images = [
        image(1, "1.png", neg_category_ids=[4], not_exhaustive_category_ids=[]),
        image(2, "2.png", neg_category_ids=[], not_exhaustive_category_ids=[90]),
        image(3, "3.png", neg_category_ids=[4, 1000]),
        image(4, "4.png", neg_category_ids=[]),
        image(5, "5.png"),
    ]
    files = {f"images/{number}.png": picture(number) for number in range(1, 6)}
    content = coco(*images, annotations=[cat(1), cat(2), cat(5)])
    _, rows = taken(lay_out(tmp_path / "in", {**files, "annotations.json": content}), tmp_path)
    # Cat and dog: all of them. Cats not all outlined: none.
    assert [row["labelled_for"] for row in rows] == ["", "background", "dog", "background", ""]


def test_what_was_looked_for_as_in_mask_folders(tmp_path):
    source = folder(tmp_path / "in", coco(), **{"labelled_for.txt": "cat\n"})
    _, (row,) = taken(source, tmp_path)
    assert row["labelled_for"] == "cat"
    # Neither file is removed: the one says something else without the other.
    assert all(one.strange for one in read_delivery(source).containers)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"labelled_for.txt": "cow"}, "says that 'cow' was looked for, and .*annotations.json has no such class"),
        (
            {"labelled_for.txt": "cat", "annotations.json": coco(image(neg_category_ids=[4]))},
            "labelled_for.txt and image 5 in .* both say what was looked for",
        ),
        ({"labeled_for.txt": "cat"}, "labeled_for.txt in .* is meant as labelled_for.txt: rename it"),
        ({"labelled_for.json": '["cat"]'}, "labelled_for.json in .* is meant as labelled_for.txt"),
        ({"Labelled-for.txt": "cat"}, "Labelled-for.txt in .* is meant as labelled_for.txt"),
    ],
)
def test_what_was_looked_for_is_not_passed_over(tmp_path, files, sentence):
    with pytest.raises(UnreadableBatch, match=sentence):
        taken(lay_out(folder(tmp_path / "in", coco()), files), tmp_path)


def test_names_are_in_utf8(tmp_path):
    categories = [{"id": 90, "name": "K\u00e4se"}, {"id": 4, "name": "\u65e5\u672c"}]
    content = json.dumps(json.loads(coco(image(5, "\u00e4.png"), categories=categories)), ensure_ascii=False)
    source = lay_out(tmp_path / "in", {"images/\u00e4.png": picture(), "annotations.json": content})
    batch, (row,) = taken(source, tmp_path)
    assert batch.mask_classes == ("background", "K\u00e4se", "\u65e5\u672c")
    assert (row["path"], row["label"]) == ("images/\u00e4.png", "K\u00e4se/\u65e5\u672c")


def test_an_object_that_is_not_in_utf8_is_told_of_its_image(tmp_path):
    content = coco().encode().replace(b'"iscrowd"', b'"caption": "K\xe4se", "iscrowd"', 1)
    _, (row,) = taken(folder(tmp_path / "in", content), tmp_path)
    assert row["problem"] == "mask-unreadable"
    assert row["detail"].endswith("what is said of its objects is not in UTF-8")


def test_many_categories_are_counted(tmp_path):
    categories = [{"id": number, "name": f"class {number}"} for number in range(300)]
    with pytest.raises(UnreadableBatch, match="names 300 classes beside the background; a mask can tell 254 apart"):
        taken(folder(tmp_path / "in", coco(categories=categories)), tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "no readable JSON file: it ends early|no readable JSON file"),
        ("[]", "no readable JSON file: it has no {"),
        ("{", "no readable JSON file"),
        ("{}", "has no list 'images'"),
        (coco()[:-30], "no readable JSON file"),
        (coco().replace('"images"', '"pictures"'), "has no list 'images'"),
        (coco().replace('"annotations": [', '"annotations": 3, "x": ['), "has no list 'annotations'"),
        ('{"images": [], "categories": [{"id": 1, "name": "a"}], "annotations": []}', "is empty: it names no image"),
        ('{"images": [], "images": []}', "it has two lists images"),
        ('{"images": ' + "[" * 100_000, "nested too deeply"),
        ('{"x": ' + "[" * 100_000, "nested too deeply"),
        ('{"images": [{"id": 1' + "0" * 5000 + "}]}", "no readable JSON file"),
        (coco(image("5")), "element of images whose id is no whole number"),
        (coco(image(True)), "element of images whose id is no whole number"),
        (coco(3), "an element of images that is no object"),
        (coco(image(), image()), "two images with the id 5"),
        (coco(annotations=[cat(99), cat(5), cat(7)]), "2 of 3 annotations in .* not in `images`, .*: image_id 99"),
        (coco(image(), image(6)), "file_name images/1.png stands under two ids, 5 and 6"),
        (coco(image(), image(6, "./1.png")), "stands under two ids, 5 and 6"),
        (coco(image(), image(6, "images/1.png")), "stands under two ids, 5 and 6"),
        (coco({"id": 5}), "image 5 no file_name"),
        (coco(categories=[]), "names no class beside the background"),
        (coco(categories=[*CATEGORIES, *CATEGORIES]), "two categories with the id 90"),
        (coco(categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]), "names 'a' twice"),
        (coco(categories=[{"id": 1, "name": "a/b"}]), "a class called 'a/b', which can be none"),
        (coco(categories=[{"id": 1, "name": "\x1b[2J"}]), "which can be none: .*control"),
        (coco(categories=[{"id": 1}]), "category 1 no name"),
        (coco(annotations=[3]), "an annotation whose image_id is no whole number"),
        (coco(annotations=[{"image_id": "5"}]), "an annotation whose image_id is no whole number"),
        (coco(image(neg_category_ids=3)), "neg_category_ids of image 5 .* is no list"),
        (coco(image(not_exhaustive_category_ids=[[]])), "not_exhaustive_category_ids of image 5 .* is no list"),
        (coco(image(5, "x" * 200_000)), "takes 200,0.. bytes of text"),
        (coco().encode().replace(b'"cat"', b'"c\xe4t"'), "not in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, content, sentence):
    source = folder(tmp_path / "in", content)
    with pytest.raises(UnreadableBatch, match=sentence) as refused:
        taken(source, tmp_path)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a.json": coco(), "b.json": coco()}, "holds 2 JSON files beside images/. Call the one"),
        (
            {"annotations.json": coco(), "masks/1.png": b"", "classes.txt": NAMES},
            "several forms: masks/ and annotations",
        ),
    ],
)
def test_masks_in_several_forms_are_one_sentence(tmp_path, files, sentence):
    with pytest.raises(UnreadableBatch, match=sentence):
        taken(lay_out(tmp_path / "in", {"images/1.png": picture(), **files}), tmp_path)


def test_a_picture_that_is_too_large_is_not_drawn(tmp_path):
    content = coco(image(5, "1.png") | {"height": 10**6, "width": 10**6})
    _, (row,) = taken(folder(tmp_path / "in", content), tmp_path, IngestParams(max_pixels=1000))
    assert (row["problem"], row["annotation"]) == ("mask-size", None)
