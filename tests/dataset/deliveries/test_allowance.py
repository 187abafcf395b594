import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from dataset.deliveries.allowance import Caps, Tally
from dataset.deliveries.delivery import read_delivery
from dataset.deliveries.manifests import names_in
from records.errors import UnreadableBatch
from tasks.ingest.settings import IngestParams
from tests.corpus.files import whole

FEW = Caps(rows=3, columns=4, row_text=1000, text=1600, missing=2)


def manifest(folder, *lines):
    folder.mkdir()
    (folder / "manifest.csv").write_text("\n".join(("path,label,note", *lines)))
    return folder


def refusal(source, caps):
    with pytest.raises(UnreadableBatch) as refused:
        read_delivery(source, caps)
    return str(refused.value)


def test_what_is_within_the_limits_is_listed(tmp_path):
    lines = ["1.png,cat,", "2.png,cat," + "x" * 900]
    assert len(read_delivery(manifest(tmp_path / "monday", *lines), FEW).items) == 2


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["1.png,cat,"] * 4, "monday has more than the 3 rows that are allowed (ingest.max_rows)."),
        (["1.png,cat," + "x" * 1000], "Row 1 of {} takes 1,032 bytes of text, more than the 1,000 that are"),
        (["1.png,cat," + "x" * 900] * 2, "monday takes more than the 1,600 bytes of text that are allowed (ingest.max"),
        (
            ["1.png,cat,", "2.png,,", "../3,a,"],
            "monday has more than the 2 rows without an image of their own that are allowed (ingest.max_missing)",
        ),
    ],
)
def test_a_manifest_beyond_a_limit_is_refused_with_its_name(tmp_path, lines, sentence):
    source = manifest(tmp_path / "monday", *lines)
    assert sentence.format(source) in refusal(source, FEW)


def test_files_in_folders_are_counted_too(tmp_path):
    (tmp_path / "monday" / "cat").mkdir(parents=True)
    for number in range(4):
        (tmp_path / "monday" / "cat" / f"{number}.png").write_bytes(whole("PNG", number))
    assert "more than the 3 rows" in refusal(tmp_path / "monday", FEW)


def test_samples_in_tars_are_counted_too(tmp_path):
    with tarfile.open(tmp_path / "monday.tar", "w") as tar:
        for number in range(4):
            (tmp_path / "one.png").write_bytes(whole("PNG", number))
            tar.add(tmp_path / "one.png", f"{number}.png")
    assert "more than the 3 rows" in refusal(tmp_path / "monday.tar", FEW)


def test_columns_of_parquet_files_are_counted_before_they_are_looked_at(tmp_path):
    names = {f"c{number}": ["x"] for number in range(3000)}
    parquet.write_table(pa.table({"image": [b"x"], "label": ["a"], **names}), tmp_path / "images.parquet")
    parquet.write_table(pa.table({"path": ["1.png"], "label": ["a"], **names}), tmp_path / "manifest.parquet")
    for file in ("images.parquet", "manifest.parquet"):
        assert "has 3002 columns, more than the 1000 that are allowed (ingest.max_columns)" in refusal(
            tmp_path / file, IngestParams().caps
        )


@pytest.mark.slow
def test_one_image_in_many_rows_of_a_parquet_file_is_refused(tmp_path):
    noise = np.random.default_rng(0).bytes(120_000)
    table = pa.table({"image": [noise] * 3000, "label": [f"class {number}" for number in range(3000)]})
    parquet.write_table(table, tmp_path / "many.parquet", compression="zstd")
    assert (tmp_path / "many.parquet").stat().st_size < 1_000_000
    assert "unpacks to 360,000,000 bytes of images" in refusal(tmp_path / "many.parquet", IngestParams().caps)
    parquet.write_table(table.slice(0, 3), tmp_path / "few.parquet")
    assert len(read_delivery(tmp_path / "few.parquet", IngestParams().caps).items) == 3


def test_one_file_in_many_rows_of_a_manifest_or_under_many_names_is_refused(tmp_path):
    noise = np.random.default_rng(0).bytes(100_000)
    source = manifest(tmp_path / "monday", *(f"1.bin,class {number}," for number in range(20)))
    (source / "1.bin").write_bytes(noise)
    assert "unpacks to 2,000,000 bytes of images, and its files have 100,000" in refusal(source, IngestParams().caps)
    folder = tmp_path / "tuesday" / "cat"
    folder.mkdir(parents=True)
    for number in range(20):
        os.link(source / "1.bin", folder / f"{number}.bin")
    assert "unpacks to 2,000,000 bytes of images, and its files have 100,000" in refusal(
        folder.parent, IngestParams().caps
    )


@pytest.mark.unhurried
def test_one_empty_file_in_very_many_rows_is_refused(tmp_path):
    source = manifest(tmp_path / "monday", *["1.png,cat,"] * 20_000)
    (source / "1.png").touch()
    assert "(ingest.max_missing), such as '1.png': the same image and label as 1.png." in refusal(
        source, IngestParams().caps
    )


def test_a_parquet_file_of_long_text_in_few_bytes_is_refused(tmp_path):
    # Written from a dictionary, or to make the file would take seconds; without its schema it is read as plain text.
    text = pa.DictionaryArray.from_arrays(np.zeros(1000, np.int32), ["x" * 60_000])
    columns = {f"c{number}": text for number in range(40)}
    table = pa.table({"path": ["1.png"] * 1000, "label": ["a"] * 1000, **columns})
    parquet.write_table(table, tmp_path / "t.parquet", store_schema=False)
    assert "Row 1 of " in refusal(tmp_path / "t.parquet", IngestParams().caps)


def test_rows_are_not_read_beyond_the_limit():
    def endless():
        while True:
            yield ("1.png", "cat")

    with pytest.raises(UnreadableBatch, match="more than the 3 rows"):
        list(Tally(FEW, "monday").rows(endless(), tuple))


@pytest.mark.unhurried
def test_a_file_that_is_a_hole_is_not_read(tmp_path, taken):
    folder = tmp_path / "monday" / "cat"
    folder.mkdir(parents=True)
    (folder / "hole.png").touch()
    os.truncate(folder / "hole.png", 50_000_000)
    (folder / "good.png").write_bytes(whole("PNG"))
    rows = {row["path"]: row for row in taken(folder.parent).rows}
    assert (rows["cat/hole.png"]["problem"], rows["cat/hole.png"]["encoded"]) == ("too-large", None)
    assert "sparse file" in rows["cat/hole.png"]["detail"]
    assert rows["cat/good.png"]["problem"] == ""


@pytest.mark.parametrize("name", ["hole.tar", "hole.parquet"])
def test_a_delivery_that_is_a_hole_is_not_read(tmp_path, name):
    file = tmp_path / name
    if name == "hole.tar":
        file.touch()
    else:
        parquet.write_table(pa.table({"image": [b"x"], "label": ["a"]}), file)
    content = file.read_bytes()
    with file.open("r+b") as open_file:
        open_file.seek(2**24)
        open_file.write(content or b"x")
    assert "is nearly all holes (a sparse file)" in refusal(file, IngestParams().caps)


def test_names_are_not_read_beyond_the_limit():
    lines = io.BytesIO(b"path,label\na,1\nb,1\nc,1\n")
    assert list(names_in(lines, Path("manifest.csv"), most=2)) == ["a", "b"]
