import os
import shutil
import time
from datetime import date

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image as Pillow

from dataset.archive import Archive
from dataset.decoding.fit import fit
from dataset.images import ImageLimits, decode
from dataset.labels import admitted_rows
from records.batch import Shard
from records.errors import DamagedState
from records.experience import Experience
from records.snapshot import InputSpec
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams

PARAMS = IngestParams(test_share=0.3, validation_share=0.2)
SPEC = InputSpec(channels=1, height=12, width=12, mean=(0.0,), std=(1.0,))
CLASSES = ("square", "column", "bar")


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "batches", tmp_path / "cache")


@pytest.fixture
def take(archive, tmp_path):
    """Ingests a folder and admits all of it but `left_out`."""

    def take(folder, left_out=(), day=date(2026, 3, 2)):
        batch = ingest(archive.batches, tmp_path / "staging", folder, day, PARAMS).batch
        return Experience(
            batch=batch.id, digest=batch.digest, left_out=left_out, classes=batch.classes, train=1, validation=0, test=1
        )

    return take


@pytest.fixture
def shapes(take, deliver, tmp_path):
    return take(deliver(tmp_path / "first", {"bar": 20, "column": 20}))


def paint(folder, side, colours):
    """One flat picture of class `flat` for each colour."""
    (folder / "flat").mkdir(parents=True)
    for number, colour in enumerate(colours):
        mode = "L" if isinstance(colour, int) else "RGB"
        Pillow.new(mode, (side, side), colour).save(folder / "flat" / f"{number:02}.png")
    return folder


def test_the_splits_share_all_images(archive, shapes):
    datasets = {split: archive.dataset([shapes], split, CLASSES, SPEC) for split in ("train", "validation", "test")}
    assert sum(len(dataset) for dataset in datasets.values()) == 40
    assert sorted(np.concatenate([dataset.row for dataset in datasets.values()])) == list(range(40))
    assert all(len(dataset) >= 4 for dataset in datasets.values())


def test_a_pool_knows_each_image_by_content_class_and_pixels(archive, shapes, tmp_path):
    labels, dataset = archive.labels(shapes.batch), archive.dataset([shapes], "train", CLASSES, SPEC)
    assert dataset.image.tolist() == labels.image[dataset.row].astype(str).tolist()
    assert [CLASSES[target] for target in dataset.target] == labels.label.at(dataset.row).tolist()
    files = sorted((tmp_path / "first").rglob("*.png"))  # rows are in the order of paths
    expected = [np.asarray(Pillow.open(files[row])) for row in dataset.row]
    drawn = dataset.images(torch.arange(len(dataset)))
    assert drawn.dtype == torch.uint8
    assert np.array_equal(drawn[:, 0].numpy(), np.stack(expected))


def test_rows_that_were_left_out_are_in_no_pool(archive, shapes):
    labels = archive.labels(shapes.batch)
    gone = np.flatnonzero(labels.split.equal("train"))[:3].tolist()
    less = shapes.model_copy(update={"left_out": tuple(gone)})
    rows = archive.dataset([shapes], "train", CLASSES, SPEC).row.tolist()
    assert (
        archive.dataset([less], "train", CLASSES, SPEC).row.tolist() == rows[3:] == [r for r in rows if r not in gone]
    )
    assert admitted_rows(labels, less, "test").tolist() == admitted_rows(labels, shapes, "test").tolist()


def test_a_pool_of_several_experiences_draws_from_each(archive, take, shapes, deliver, tmp_path):
    later = take(deliver(tmp_path / "second", {"square": 20}, seed=1), day=date(2026, 3, 3))
    one, other = (archive.dataset([e], "train", CLASSES, SPEC) for e in (shapes, later))
    both = archive.dataset([shapes, later], "train", CLASSES, SPEC)
    assert both.batches == (shapes.batch, later.batch)
    assert both.target.tolist() == one.target.tolist() + other.target.tolist()
    positions = torch.tensor([len(one), 0, len(both) - 1])  # across the border, not in order
    expected = torch.cat([p.images(torch.tensor([i])) for p, i in ((other, 0), (one, 0), (other, len(other) - 1))])
    assert torch.equal(both.images(positions), expected)
    loaded = both.loaded()
    assert torch.equal(loaded.images(positions), expected)
    assert loaded.image.tolist() == both.image.tolist()


def test_images_are_decoded_once_and_again_if_the_cache_is_gone(archive, shapes):
    before = np.array(archive.pixels(shapes.batch, SPEC))
    (cached,) = archive.cache.iterdir()
    made = cached.stat().st_mtime_ns
    archive.pixels(shapes.batch, SPEC)
    assert cached.stat().st_mtime_ns == made
    cached.unlink()
    assert np.array_equal(archive.pixels(shapes.batch, SPEC), before)
    assert list(archive.cache.iterdir()) == [cached]  # nothing unfinished is left beside it


def test_each_input_size_has_its_own_cache(archive, shapes):
    small = InputSpec(channels=3, height=6, width=6, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert archive.pixels(shapes.batch, SPEC).shape == (40, 1, 12, 12)
    assert archive.pixels(shapes.batch, small).shape == (40, 3, 6, 6)
    assert len(list(archive.cache.iterdir())) == 2


def test_a_cache_that_grew_too_large_loses_what_was_used_longest_ago(archive, take, shapes, deliver, tmp_path):
    other = take(deliver(tmp_path / "second", {"square": 20}, seed=1), day=date(2026, 3, 3))
    small = InputSpec(channels=1, height=6, width=6, mean=(0.0,), std=(1.0,))
    for batch, spec in ((shapes.batch, small), (other.batch, SPEC), (shapes.batch, SPEC)):
        archive.pixels(batch, spec)
    (archive.cache / ".unfinished.npy.1").write_bytes(bytes(100))
    for place, name in enumerate([".unfinished.npy.1", f"{shapes.batch}-1x12x12.npy", f"{shapes.batch}-1x6x6.npy"]):
        os.utime(archive.cache / name, ns=(place, place))
    sizes = {path.name: path.stat().st_size for path in archive.cache.iterdir()}
    began = time.time_ns()
    archive.pixels(shapes.batch, small)

    def left(limit: int) -> set[str]:
        archive.trim(limit, began)
        return {path.name for path in archive.cache.iterdir()}

    everything = sum(sizes.values())
    assert left(everything) == set(sizes)
    assert left(everything - 1) == set(sizes) - {".unfinished.npy.1"}
    assert left(everything - 101) == {f"{other.batch}-1x12x12.npy", f"{shapes.batch}-1x6x6.npy"}
    assert left(0) == {f"{shapes.batch}-1x6x6.npy"}  # in use since


def test_a_cache_that_is_not_there_is_small_enough(archive):
    archive.trim(0, 0)


def test_labels_are_read_from_the_shards_once(archive, shapes):
    before = archive.labels(shapes.batch)
    (cached,) = archive.cache.iterdir()
    shard = archive.batches / shapes.batch / "images-00000.parquet"
    shard.write_bytes(b"")  # there, but not looked at
    again = archive.labels(shapes.batch)
    assert again.image.tolist() == before.image.tolist()
    rows = np.arange(40)
    assert again.label.at(rows).tolist() == before.label.at(rows).tolist() == ["bar"] * 20 + ["column"] * 20
    assert list(archive.cache.iterdir()) == [cached]


def test_labels_of_another_batch_under_the_same_id_are_read_anew(archive, take, deliver, tmp_path):
    """The same images, ingested with another share of test images: the same id, but not the same splits."""
    folder, day = deliver(tmp_path / "first", {"bar": 40}), date(2026, 3, 2)
    tested = []
    for share in (0.2, 0.6):
        batch = ingest(archive.batches, tmp_path / "staging", folder, day, IngestParams(test_share=share)).batch
        tested.append(int(archive.labels(batch.id).split.equal("test").sum()))
        shutil.rmtree(archive.batches)
    assert tested[0] < tested[1]


def test_labels_of_several_shards_follow_each_other(archive, deliver, tmp_path):
    folder = deliver(tmp_path / "first", {"bar": 3, "column": 3, "square": 3})
    batch = ingest(archive.batches, tmp_path / "staging", folder, date(2026, 3, 2), PARAMS).batch
    tables = [parquet.read_table(archive.batches / batch.id / shard.name) for shard in batch.shards]
    for number, part in enumerate((tables[0][:4], tables[0][4:])):
        parquet.write_table(part, archive.batches / batch.id / f"part-{number}.parquet")
    shards = tuple(Shard(name=f"part-{n}.parquet", rows=1, bytes=1, sha256="0") for n in range(2))
    batch.model_copy(update={"shards": shards}).write(archive.batches / batch.id / "batch.json")
    labels = archive.labels(batch.id)
    assert labels.label.at(np.arange(9)).tolist() == tables[0]["label"].to_pylist()
    assert labels.image.astype(str).tolist() == tables[0]["image"].to_pylist()
    assert not labels.split.equal("nothing").any()


def test_a_file_that_cannot_be_decoded_keeps_its_row_and_is_black(archive, take, deliver, tmp_path):
    folder = deliver(tmp_path / "first", {"bar": 5})
    (folder / "bar" / "0002.png").write_bytes(b"no picture")
    experience = take(folder, left_out=(2,))
    pixels = archive.pixels(experience.batch, SPEC)
    assert pixels.shape[0] == 5
    assert not pixels[2].any()
    good = decode((folder / "bar" / "0003.png").read_bytes(), ImageLimits())
    assert np.array_equal(pixels[3], fit(good.pixels, 1, 12, 12))


def test_a_batch_that_is_not_on_this_machine_says_what_to_do(archive, shapes):
    (archive.batches / shapes.batch / "images-00000.parquet").unlink()
    with pytest.raises(DamagedState, match="dvc pull"):
        archive.labels(shapes.batch)
    with pytest.raises(DamagedState, match="is missing"):
        archive.labels("2026-01-01-00000000")


def test_a_fresh_network_sees_grey_images_in_their_own_size(archive, shapes):
    spec = archive.input_spec([shapes], None, None)
    assert (spec.channels, spec.height, spec.width) == (1, 12, 12)
    train = archive.dataset([shapes], "train", CLASSES, spec)
    pixels = train.images(torch.arange(len(train))).double() / 255
    assert spec.mean == pytest.approx((pixels.mean().item(),), abs=1e-6)
    assert spec.std == pytest.approx((pixels.std(correction=0).item(),), abs=1e-6)


def test_one_colour_image_makes_three_channels(archive, take, tmp_path):
    colours = [(10 * i, 200, 0) for i in range(12)] + list(range(100, 112))
    spec = archive.input_spec([take(paint(tmp_path / "flat", 9, colours))], None, None)
    assert (spec.channels, spec.height, spec.width) == (3, 9, 9)
    assert len(spec.mean) == len(spec.std) == 3
    assert spec.mean[1] > spec.mean[2]


def test_flat_images_still_have_a_spread_to_divide_by(archive, take, tmp_path):
    spec = archive.input_spec([take(paint(tmp_path / "flat", 9, [(n, n, n) for n in range(126, 131)]))], None, 1)
    assert (spec.channels, spec.std) == (1, (0.01,))
    assert spec.mean == pytest.approx((128 / 255,), abs=2 / 255)


def test_the_most_frequent_size_counts_over_all_first_experiences(archive, take, shapes, tmp_path):
    other = take(paint(tmp_path / "flat", 20, range(41)), day=date(2026, 3, 3))
    assert archive.input_spec([shapes], None, None).height == 12
    assert archive.input_spec([shapes, other], None, None).height == 20


def test_large_images_are_brought_to_64_pixels_and_any_to_what_is_asked_for(archive, take, shapes, tmp_path):
    large = take(paint(tmp_path / "large", 80, range(20)))
    assert archive.input_spec([large], None, None).height == 64
    asked = archive.input_spec([shapes], 16, 3)
    assert (asked.channels, asked.height, asked.width) == (3, 16, 16)
