"""Quarantine: a batch that did not pass keeps its images in the archive and gets a report that a person can act on.

A batch is in quarantine while its report is there. Take the report away and the next night validates it again.
"""

import io
from pathlib import Path

import pyarrow.parquet as parquet
from PIL import Image

from adapters.datastore import DataStore
from models.archive import ADMITTED
from models.images import decode
from records.experience import Report
from tasks.gate.report import THUMBNAILS, report_html
from tasks.intake.ingest import list_batches, read_batch
from tasks.workspace import Workspace

SIDE = 96
"""Longer side of a thumbnail in pixels."""


def set_aside(workspace: Workspace, report: Report) -> Path:
    """Write the report as a page and as JSON, and commit both to Git; gives the page's path."""
    folder = workspace.quarantine / report.batch
    page = folder / "report.html"
    folder.mkdir(parents=True, exist_ok=True)
    page.write_text(report_html(report, thumbnails(workspace, report)), encoding="utf-8")
    # Last, since a batch is in quarantine from the moment that its record is there.
    report.write(folder / "report.json")
    DataStore(workspace.root).commit_files([page, folder / "report.json"], f"Quarantine {report.batch}")
    return page


def quarantined(workspace: Workspace) -> tuple[Report, ...]:
    """The reports of every batch in quarantine, oldest first."""
    return tuple(Report.read(path) for path in sorted(workspace.quarantine.glob("*/report.json")))


def pending(workspace: Workspace, learned: tuple[str, ...]) -> tuple[str, ...]:
    """Ids of the batches that are neither learned nor in quarantine, oldest first."""
    held = {report.batch for report in quarantined(workspace)}
    return tuple(b for b in list_batches(workspace.batches) if b not in held and b not in learned)


def thumbnails(workspace: Workspace, report: Report) -> dict[int, bytes]:
    """Row to PNG, for the first images of each reason that can be decoded."""
    wanted = {c.row for check in report.checks for c in check.complaints[:THUMBNAILS]}
    made: dict[int, bytes] = {}
    start = 0
    for shard in read_batch(workspace.batches, report.batch).shards:
        here = sorted(row - start for row in wanted if start <= row < start + shard.rows)
        if here:
            table = parquet.read_table(workspace.batches / report.batch / shard.name, columns=["encoded", "problem"])
            for row in here:
                if table["problem"][row].as_py() == "":
                    made[start + row] = _thumbnail(table["encoded"][row].as_py())
        start += shard.rows
    return made


def _thumbnail(encoded: bytes) -> bytes:
    picture = Image.fromarray(decode(encoded, ADMITTED).pixels.squeeze())
    enlarge = max(1, SIDE // max(picture.size))
    if enlarge > 1:
        picture = picture.resize((picture.width * enlarge, picture.height * enlarge), Image.Resampling.NEAREST)
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
