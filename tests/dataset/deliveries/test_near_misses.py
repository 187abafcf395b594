"""Folders that are nearly a delivery of images with masks."""

import pytest

from dataset.deliveries.delivery import read_delivery
from records.errors import UnreadableBatch
from tests.dataset.deliveries.masks import lay_out


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            ["annotations/instances_train2017.json", "annotations/instances_val2017.json", "train2017/1.jpg"],
            "Call the folder of the images images, and move instances_train2017.json or another one beside it",
        ),
        (
            ["images/1.jpg", "annotations/instances_default.json"],
            "move instances_default.json beside it as annotations",
        ),
        (["images/1.jpg", "masks/1.png"], "write the names of the classes into classes.txt beside them"),
        (["images/street/1.jpg", "masks/street/1.png"], "write the names of the classes into classes.txt"),
        (["Images/1.jpg", "Masks/1.png", "classes.txt"], "'Images' and 'Masks' .*Call the folders images and masks"),
        (["jpegimages/1.jpg", "segmentationclass/1.png"], "Call the folders JPEGImages and SegmentationClass"),
        (["VOC2012/JPEGImages/1.jpg", "VOC2012/SegmentationClass/1.png"], "'VOC2012' .* one folder too deep"),
        (["monday/images/1.jpg", "monday/annotations.json"], "'monday' .* one folder too deep"),
        (["monday/images/1.jpg", "monday/masks/1.png", "monday/classes.txt"], "Deliver that folder itself"),
    ],
)
def test_what_is_nearly_a_layout_is_one_sentence(tmp_path, names, sentence):
    source = lay_out(tmp_path / "in", dict.fromkeys(names, b""))
    with pytest.raises(UnreadableBatch, match=sentence):
        read_delivery(source)


@pytest.mark.parametrize(
    "names",
    [
        ["images/1.jpg", "masks/2.jpg"],
        ["images/1.jpg", "masks/1.jpg", "text/1.jpg"],
        ["annotations/1.jpg", "photos/1.jpg"],
        ["cat/images/1.jpg", "cat/masks/1.jpg", "dog/1.jpg"],
        ["jpegimages/1.jpg", "photos/1.jpg"],
    ],
)
def test_classes_may_be_called_so(tmp_path, names):
    source = lay_out(tmp_path / "in", dict.fromkeys(names, b""))
    assert [item.label for item in read_delivery(source).items] == [name.split("/")[0] for name in names]
