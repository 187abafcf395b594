"""Nights with several deliveries of several kinds, those that still change, and those that were taken before."""

import io
import json
import logging
import os
import re
import shutil
import tarfile
from contextlib import ExitStack
from datetime import date

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from dataset.batches import list_batches
from records.errors import Unavailable
from records.experience import Report
from records.registration import RunFile
from tasks import stages
from tasks.ingest import inbox
from tasks.ingest.readiness import Clock
from tasks.ingest.settings import IngestParams
from tasks.workspace.lock import workspace_lock
from tests.corpus.costly_deliveries import COSTLY_DELIVERIES


def write_tar(path, folder):
    """The images of class folders as a shard of samples."""
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.rglob("*.png")):
            name = f"{file.parent.name}-{file.stem}"
            for kind, content in (("png", file.read_bytes()), ("cls", file.parent.name.encode())):
                info = tarfile.TarInfo(f"{name}.{kind}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def write_table(path, folder):
    """The images of class folders as `datasets` writes them."""
    files = sorted(folder.rglob("*.png"))
    names = sorted({file.parent.name for file in files})
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    image = pa.array([{"bytes": file.read_bytes(), "path": file.name} for file in files], struct)
    label = pa.array([names.index(file.parent.name) for file in files], pa.int64())
    metadata = {"huggingface": json.dumps({"info": {"features": {"label": {"names": names}}}})}
    parquet.write_table(pa.table({"image": image, "label": label}).replace_schema_metadata(metadata), path)


@pytest.mark.usefixtures("prefect")
def test_several_deliveries_of_one_night_are_batches_of_their_own(retain, workspace, deliver, tmp_path):
    deliver(workspace.inbox / "folder", {"bar": 5, "column": 5}, 0)
    write_tar(workspace.inbox / "shard.tar", deliver(tmp_path / "a", {"bar": 5, "column": 5}, 1))
    write_table(workspace.inbox / "table.parquet", deliver(tmp_path / "b", {"bar": 5, "column": 5}, 2))
    shutil.copytree(workspace.inbox / "folder", workspace.inbox / "again")
    result = retain("night", "-w", workspace.root, "--arrived", "2026-03-02")
    assert result.code == 0, result.err
    words = [line.partition(": ")[2] for line in result.out.splitlines() if line.startswith("ingested")]
    assert words == [
        "10 images of again",
        "10 images of folder (known already: nothing was added)",
        "10 images of shard.tar",
        "10 images of table.parquet",
    ]
    assert not list(workspace.inbox.iterdir())
    reports = [Report.read(path) for path in sorted(workspace.quarantine.glob("*/report.json"))]
    assert sorted(report.source for report in reports) == ["again", "shard.tar", "table.parquet"]
    assert not any(report.refused_rows() for report in reports), "too few, but good images"


@pytest.mark.slow
def test_the_same_image_in_two_deliveries_of_a_night_is_learned_once(workspace, deliver):
    for seed, name in enumerate(("monday", "tuesday")):
        deliver(workspace.inbox / name, {"bar": 30, "column": 30}, seed)
    for number in range(4):
        shutil.copy(
            workspace.inbox / "monday" / "bar" / f"{number:04d}.png",
            workspace.inbox / "tuesday" / "bar" / f"copy-{number}.png",
        )
    for delivery in inbox.waiting(workspace):
        inbox.take(workspace, delivery, date(2026, 3, 2), IngestParams())
    run = RunFile(batches=list_batches(workspace.batches))
    _, reports = stages.run_validate(workspace, run)
    first, second = reports
    assert (first.source, second.source) == ("monday", "tuesday"), "in the order in which they were taken"
    found = {c.name: c.found for c in second.checks if c.name in ("duplicate-earlier", "test-leak") and c.found}
    assert sum(found.values()) == 4
    assert "duplicate-earlier" in found, "copies of training images are left out, copies of test images are refused"
    assert not [c for c in first.checks if c.name in ("duplicate-earlier", "test-leak") and c.found]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
def test_a_delivery_that_was_taken_before_adds_nothing_and_the_night_says_so(retain, workspace, deliver):
    for _ in range(2):
        deliver(workspace.inbox / "monday", {"bar": 1})
        result = retain("night", "-w", workspace.root, "--arrived", "2026-03-02")
    assert "1 image of monday (known already: nothing was added)" in result.out
    deliver(workspace.inbox / "monday", {"bar": 1})
    result = retain("ingest", workspace.inbox / "monday", "-w", workspace.root)
    assert result.out.startswith("Nothing added: the same content was ingested before, as 2026-03-02-")
    assert not list(workspace.inbox.iterdir())


def test_a_delivery_that_goes_on_changing_is_left_to_the_next_night(retain, workspace, deliver, caplog):
    from flows.night import take_all

    workspace.params.write_text(workspace.params.read_text().replace("settle_seconds: 0", "settle_seconds: 10"))
    monday = deliver(workspace.inbox / "monday", {"bar": 1})
    hours = [monday.stat().st_ctime]

    def sleep(seconds):
        hours[0] += seconds
        os.utime(monday, (hours[0], hours[0]))

    log = logging.getLogger("retain")
    log.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, logger="retain"):
            arrivals, unreadable, waiting = take_all(workspace, date(2026, 3, 2), Clock(lambda: hours[0], sleep))
    finally:
        log.removeHandler(caplog.handler)
    assert (arrivals, unreadable, list(waiting)) == ((), {}, ["monday"])
    assert waiting["monday"].startswith("changed 0 s ago; it is taken once it has been still for 10 s (an empty file")
    assert "monday changed 0 s ago; waiting until it has been still for 10 s" in caplog.text
    assert "monday is left to the next night: it changed 0 s ago" in caplog.text
    assert (monday / "bar" / "0000.png").exists()


@pytest.mark.usefixtures("prefect")
def test_a_folder_is_not_taken_while_a_manifest_beside_it_names_it(retain, workspace, deliver):
    deliver(workspace.inbox / "photos", {"bar": 2})
    (workspace.inbox / "monday.csv").write_text("path,label\nphotos/bar/0000.png,cat\n")
    result = retain("night", "-w", workspace.root)
    words = " ".join(result.out.split())
    assert "monday.csv stays in the inbox: monday.csv names files beside it, and a folder in the inbox is" in words
    assert "photos is named by monday.csv beside it; it is taken once that lies in it as manifest.csv" in words
    assert list_batches(workspace.batches) == ()
    assert "photos is named by monday.csv" in " ".join(retain("status", "-w", workspace.root).out.split())


@pytest.mark.parametrize("words", [["ingest", "{delivery}"], ["stream", "digits"]], ids=["ingest", "stream"])
def test_what_adds_batches_waits_for_a_night_and_says_so(retain, workspace, deliver, words, end_when_waited_for):
    delivery = deliver(workspace.inbox / "monday", {"bar": 1})
    seen = []
    with ExitStack() as night:
        night.enter_context(workspace_lock(workspace, "the night of 2026-03-02"))
        end_when_waited_for(lambda: (seen.append(list_batches(workspace.batches)), night.close()))
        result = retain(*(word.format(delivery=delivery) for word in words), "-w", workspace.root)
    assert (result.code, seen) == (0, [()])
    assert f"waiting for the night of 2026-03-02 (process {os.getpid()}, since 20" in result.err
    assert list_batches(workspace.batches) != ()


@pytest.mark.usefixtures("prefect")
def test_a_file_that_ends_whatever_reads_it_stays_night_after_night_and_all_others_are_taken(workspace, deliver):
    from flows.night import take_all

    (fatal,) = (case for case in COSTLY_DELIVERIES if case.name == "Parquet that contradicts its levels")
    fatal.make(workspace.inbox / "fatal")
    shutil.copy(workspace.inbox / "fatal" / "a.parquet", workspace.inbox / "alone.parquet")
    for day, name in enumerate(("monday", "tuesday"), 2):
        deliver(workspace.inbox / name, {"bar": 2}, seed=day)
        arrivals, unreadable, _ = take_all(workspace, date(2026, 3, day))
        assert [arrival.delivery for arrival in arrivals] == [name]
        assert list(unreadable) == ["alone.parquet", "fatal"]
        assert all("the process that lists it crashed (SIGABRT)" in sentence for sentence in unreadable.values())
    assert sorted(path.name for path in inbox.waiting(workspace)) == ["alone.parquet", "fatal"]
    assert (workspace.inbox / "alone.parquet").exists()


@pytest.mark.usefixtures("prefect")
def test_what_ends_a_night_between_two_deliveries_is_told_with_what_was_taken_before(workspace, deliver, monkeypatch):
    from flows import night as nights

    for seed, name in enumerate(("monday", "tuesday", "wednesday")):
        deliver(workspace.inbox / name, {"bar": 1}, seed)
    take = inbox.take

    def full(place, delivery, *more):
        if delivery.name == "tuesday":
            raise Unavailable("The disk is full. Nothing of tuesday was taken.")
        return take(place, delivery, *more)

    monkeypatch.setattr(inbox, "take", full)
    monkeypatch.setattr(nights, "ingest_step", nights.ingest_step.with_options(retry_delay_seconds=0))
    sentence = "The disk is full. Nothing of tuesday was taken. Taken before it, and pending: monday."
    with pytest.raises(Unavailable, match=f"^{re.escape(sentence)}$"):
        nights.take_all(workspace, date(2026, 3, 2))
    assert len(list_batches(workspace.batches)) == 1
    assert [path.name for path in inbox.waiting(workspace)] == ["tuesday", "wednesday"]
