"""What becomes of masks in the inbox, in other processes, in corrections, and on their way to a network."""

import json
import os
from datetime import date

import numpy as np
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from dataset.annotations import fit_mask
from dataset.deliveries.allowance import Caps
from dataset.deliveries.delivery import read_delivery
from records.errors import UnreadableBatch, WrongInput
from tasks.ingest import taking
from tasks.ingest.apart import reasons_of
from tasks.ingest.corrections import Correction, correct
from tasks.ingest.ingest import ingest, ingest_delivery
from tasks.ingest.settings import IngestParams
from tasks.workspace.workspace import Workspace
from tests.dataset.deliveries.masks import lay_out, picture, png, taken, values_of
from tests.dataset.deliveries.test_coco import coco, image

DAY = date(2026, 3, 2)
MASK = [[0, 1, 1, 255], [0, 2, 2, 2], [0, 0, 0, 255]]
CLASSES = "background\ndog\ncat\n"


def folder(place, masks, images=None, **more):
    """Images with a mask each, by the names of both."""
    pictures = {
        f"images/{name}.png": picture(number) for number, name in enumerate(masks if images is None else images)
    }
    files = {f"masks/{name}.png": mask if isinstance(mask, bytes) else png(mask) for name, mask in masks.items()}
    return lay_out(place, {**pictures, **files, "classes.txt": CLASSES, **more})


# The inbox


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    workspace = Workspace(tmp_path / "shop")
    workspace.inbox.mkdir(parents=True)
    return workspace


def take(workspace, delivery, meanwhile=lambda delivery: None):
    """What a night does with a delivery, but for the commit; `meanwhile` is called once it is listed."""
    with taking.moved_out(workspace, delivery) as moved:
        found = read_delivery(moved.delivery)
        meanwhile(moved.delivery)
        batch = ingest_delivery(workspace.batches, workspace.state / "staging", found, DAY, IngestParams()).batch
        moved.committed(batch.id, found)
        moved.take_apart()
    return batch


def test_masks_go_once_they_are_in_the_batch(workspace):
    more = {"labelled_for.txt": "cat"}
    batch = take(workspace, folder(workspace.inbox / "monday", {"a/1": MASK, "2": MASK}, **more))
    assert (batch.annotation, batch.images) == ("mask", 2)
    assert list(workspace.inbox.iterdir()) == []
    assert not (workspace.quarantine / batch.id).exists()


def test_masks_that_are_not_in_the_batch_stay_with_the_names_of_their_classes(workspace):
    masks = {"1": MASK, "2": b"broken", "lone": MASK}
    source = folder(workspace.inbox / "monday", masks, ("1", "2", "unmasked"), **{"notes.md": "x"})
    batch = take(workspace, source)
    assert list(workspace.inbox.iterdir()) == []
    assert reasons_of(workspace, batch.id) == {
        "masks/2.png": "the mask of 'images/2.png' is not in the batch: masks/2.png: its first bytes are those of no "
        "image format",
        "masks/lone.png": "a mask of no image in the batch",
        "classes.txt": "it names the classes of what is kept beside it",
        "notes.md": "it is no part of the batch",
    }
    files = workspace.quarantine / batch.id / "files"
    assert (files / "masks" / "2.png").read_bytes() == b"broken"
    assert (files / "classes.txt").read_text() == CLASSES


def test_a_mask_that_changed_after_it_was_listed_stays(workspace):
    def change(delivery):
        (delivery / "masks" / "1.png").write_bytes(png(MASK[::-1]))

    batch = take(workspace, folder(workspace.inbox / "monday", {"1": MASK, "2": MASK}), change)
    assert reasons_of(workspace, batch.id) == {
        "masks/1.png": "it is not as it was when it was read",
        "classes.txt": "it names the classes of what is kept beside it",
    }


def test_a_file_of_outlines_stays_and_its_images_go(workspace):
    files = {"images/1.png": picture(), "images/unlisted.png": picture(2), "annotations.json": coco()}
    batch = take(workspace, lay_out(workspace.inbox / "monday", files))
    assert reasons_of(workspace, batch.id) == {
        "annotations.json": "it tells single objects apart, and the batch holds only their classes",
        "images/unlisted.png": "it is no part of the batch",
    }


# Processes, limits


def test_processes_change_nothing_and_a_delivery_can_be_sent_to_them(tmp_path):
    sources = [
        folder(tmp_path / "folder", {"1": MASK, "2": b"", "3": MASK[::-1]}),
        lay_out(
            tmp_path / "coco", {"images/1.png": picture(), "annotations.json": coco(image(), image(6, "gone.png"))}
        ),
    ]
    for source in sources:
        one, other = (
            ingest(tmp_path / str(number), tmp_path / "staging", source, DAY, IngestParams(), workers=number).batch
            for number in (0, 2)
        )
        assert one == other


def test_hard_links_to_one_mask_are_not_a_thousand(tmp_path):
    noise = png(np.random.default_rng(0).integers(0, 3, (300, 300), dtype=np.uint8))
    source = folder(tmp_path / "in", {"0": noise}, [str(number) for number in range(100)])
    for number in range(1, 100):
        os.link(source / "masks" / "0.png", source / "masks" / f"{number}.png")
    with pytest.raises(UnreadableBatch, match="unpacks to .* bytes of images"):
        read_delivery(source)


@pytest.mark.parametrize(
    ("caps", "sentence"), [({"rows": 5}, "more than the 5 rows"), ({"text": 200}, "bytes of text")]
)
def test_masks_are_counted(tmp_path, caps, sentence):
    source = folder(tmp_path / "in", {str(number): MASK for number in range(3)})
    with pytest.raises(UnreadableBatch, match=sentence):
        read_delivery(source, Caps(**caps))


# Corrections


def test_a_correction_keeps_masks_and_takes_no_other_label(tmp_path):
    original, rows = taken(folder(tmp_path / "in", {"1": MASK, "2": [[1] * 4] * 3}), tmp_path)

    def make(labels):
        correction = Correction(labels, replaces=True)
        return correct(tmp_path / "batches", tmp_path / "staging", original, correction, DAY, 2**20)

    batch = make({1: "dog"})
    assert (batch.annotation, batch.mask_classes, batch.classes) == ("mask", original.mask_classes, ("dog",))
    shard = tmp_path / "batches" / batch.id / batch.shards[0].name
    assert parquet.read_table(shard).to_pylist() == rows[1:]
    with pytest.raises(WrongInput, match=r"images/1\.png of .* has a mask, and its label says what is in it"):
        make({0: "dog"})


# Any mask


@st.composite
def masks(draw):
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    values = st.sampled_from([0, 1, 2, 3, 255])
    rows = st.lists(st.lists(values, min_size=width, max_size=width), min_size=height, max_size=height)
    return draw(rows)


NAMES = ("background", "dog", "cat", "ant")


@given(mask=masks(), order=st.permutations(range(1, 4)), kind=st.sampled_from(["L", "P", "colours", "runs"]))
@settings(max_examples=15, deadline=None)
def test_any_mask_is_the_same_in_the_batch_and_at_its_size(tmp_path_factory, mask, order, kind):
    height, width = len(mask), len(mask[0])
    place = tmp_path_factory.mktemp("any")
    meaning = {"background": 0, "ant": 1, "cat": 2, "dog": 3}
    names = ("background", *(NAMES[number] for number in order))
    files = {"images/1.png": picture(0, height, width)}
    if kind == "runs":
        files["annotations.json"] = _runs(np.array(mask), names)
    elif kind == "colours":
        colours = np.random.default_rng(len(mask)).permutation(2**24)[:256]
        listed = {name: f"#{colours[value]:06x}" for value, name in enumerate(names)}
        entries = [{"name": name, "color": colour} for name, colour in listed.items()]
        files["classes.json"] = json.dumps([*entries, {"name": "void", "id": 255, "color": f"#{colours[255]:06x}"}])
        codes = colours[np.array(mask)]
        files["masks/1.png"] = png(np.dstack([codes >> 16, codes >> 8 & 255, codes & 255]).astype(np.uint8))
    else:
        files |= {"masks/1.png": png(mask, kind), "classes.txt": "\n".join(names)}
    _, (row,) = taken(lay_out(place / "in", files), place)
    expected = np.vectorize(lambda value: value if value == 255 else meaning[names[value]])(np.array(mask))
    assert row["problem"] == ""
    assert np.array_equal(fit_mask(row["annotation"], height, width), expected)
    assert values_of(row) == expected.tolist()
    assert row["class_pixels"] == [int((expected == value).sum()) for value in range(4)]
    assert row["label"] == ("/".join(n for n, v in meaning.items() if v and (expected == v).any()) or "background")


def _runs(mask, names):
    """Objects that do not overlap, each class one; what nobody knows is a crowd."""
    height, width = mask.shape
    annotations = []
    for value, name in [*enumerate(names)][1:] + [(255, names[1])]:
        flat = (mask == value).T.ravel()
        ends = np.flatnonzero(np.diff(flat, prepend=False)).tolist()
        counts = np.diff([0, *ends, flat.size]).tolist()
        outline = {"size": [height, width], "counts": counts}
        category = {"image_id": 1, "category_id": names.index(name), "iscrowd": int(value == 255)}
        annotations.append(category | {"segmentation": outline})
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    images = [{"id": 1, "file_name": "1.png", "height": height, "width": width}]
    return json.dumps({"images": images, "categories": categories, "annotations": annotations})


def test_a_mask_of_an_image_that_is_turned_is_as_the_image_is_seen(tmp_path):
    exif = Pillow.Exif()
    exif[274] = 6
    turned = png(np.zeros((4, 3), np.uint8), exif=exif)
    _, (row,) = taken(
        lay_out(tmp_path / "in", {"images/1.png": turned, "masks/1.png": png(MASK), "classes.txt": CLASSES}), tmp_path
    )
    assert (row["problem"], row["width"], row["height"]) == ("", 4, 3)
