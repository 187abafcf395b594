"""What a person asks between nights: where do we stand, what is different between two versions, let this one in."""

import pandas as pd
import pyarrow.parquet as parquet

from records.experience import Report
from records.record import Record
from records.runs import RunFacts, VersionFacts
from records.snapshot import Snapshot
from tasks.evaluate import OUTCOMES
from tasks.inbox import waiting
from tasks.quarantine import pending, quarantined
from tasks.register import approve
from tasks.stages import archive_of, params_of, registry_of, snapshot_of, version_folder
from tasks.workspace import Workspace


class Status(Record):
    """Where a workspace stands."""

    model: str
    champion: VersionFacts | None
    """None before the first accepted night."""
    classes: tuple[str, ...]
    learned: tuple[str, ...]
    """Batches that the champion's lineage learned, oldest first."""
    pending: tuple[str, ...]
    """Batches that the next night will validate and learn."""
    inbox: tuple[str, ...]
    """Deliveries that wait."""
    quarantine: tuple[Report, ...]
    last: RunFacts | None
    """The last judged night."""


class Change(Record):
    """How two versions differ on the same test images: of one experience, or of one class."""

    subject: str
    images: int
    first: float
    second: float
    """Scores of both versions, 0..1."""
    lost: int
    """Images that the first answers rightly and the second does not (negative flips)."""
    gained: int
    """Images that the second answers rightly and the first does not."""


class Comparison(Record):
    """What `second` learned and what it lost against `first`."""

    first: int
    second: int
    new_experiences: tuple[str, ...]
    """Known to one of them alone."""
    new_classes: tuple[str, ...]
    experiences: tuple[Change, ...]
    """On what both were examined on."""
    classes: tuple[Change, ...]
    confused: dict[str, int]
    """`label → answer` to number of images that the second lost so, most frequent first."""


def status_of(workspace: Workspace) -> Status:
    """Ask the registry, the archive and the inbox."""
    registry = registry_of(workspace)
    champion = registry.champion()
    snapshot = snapshot_of(workspace, champion)
    learned = tuple(e.batch for e in snapshot.experiences)
    runs = registry.runs(1)
    return Status(
        model=registry.model,
        champion=next((v for v in registry.versions() if v.number == champion), None),
        classes=snapshot.classes,
        learned=learned,
        pending=pending(workspace, learned),
        inbox=tuple(delivery.name for delivery in waiting(workspace)),
        quarantine=quarantined(workspace),
        last=runs[0] if runs else None,
    )


def compare_versions(workspace: Workspace, first: int, second: int) -> Comparison:
    """Compare two registered versions image by image, from the outcomes stored with them; no model runs.

    Raises `WrongInput` if one of them does not exist.
    """
    known = [_known(workspace, version) for version in (first, second)]
    tables = [outcomes for _, outcomes in known]
    both = tables[0].merge(tables[1], on=["experience", "image", "label"], suffixes=("_first", "_second"))
    lost = both[(both["overall_first"] > both["overall_second"])]
    pairs = (lost["label"] + " → " + lost["answer_second"]).value_counts()
    snapshots = [snapshot for snapshot, _ in known]
    return Comparison(
        first=first,
        second=second,
        new_experiences=_difference(*([e.batch for e in s.experiences] for s in snapshots)),
        new_classes=_difference(*(list(s.classes) for s in snapshots)),
        experiences=_changes(both, "experience"),
        classes=_changes(both, "label"),
        confused={str(pair): int(count) for pair, count in pairs.items()},
    )


def approve_run(workspace: Workspace, run: str, by: str, note: str, overrule: bool) -> int:
    """Make the candidate of `run` the champion on a person's word, and give its version.

    Raises `WrongInput` if there is no such run, or if it was refused and `overrule` is not set.
    """
    registration = approve(
        run, by, note, archive_of(workspace), registry_of(workspace), params_of(workspace).register_, overrule
    )
    assert registration.version is not None
    return registration.version


def _known(workspace: Workspace, version: int) -> tuple[Snapshot, pd.DataFrame]:
    folder = version_folder(workspace, version)
    assert folder is not None, "version 0 is not registered"
    return snapshot_of(workspace, version), parquet.read_table(folder / "evaluation" / OUTCOMES).to_pandas()


def _difference(first: list[str], second: list[str]) -> tuple[str, ...]:
    return tuple(name for name in (*first, *second) if (name in first) != (name in second))


def _changes(both: pd.DataFrame, by: str) -> tuple[Change, ...]:
    return tuple(
        Change(
            subject=str(subject),
            images=len(rows),
            first=round(float(rows["overall_first"].mean()), 6),
            second=round(float(rows["overall_second"].mean()), 6),
            lost=int((rows["overall_first"] > rows["overall_second"]).sum()),
            gained=int((rows["overall_first"] < rows["overall_second"]).sum()),
        )
        for subject, rows in both.groupby(by, sort=False)
    )
