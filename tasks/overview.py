"""What a person asks between nights: where do we stand, what is different between two versions, let this one in."""

import time
from collections.abc import Sequence

import pandas as pd
import pyarrow.parquet as parquet

from records.errors import WrongInput
from records.experience import Report
from records.record import Record
from records.registration import Beginning, Registration
from records.runs import RunFacts, VersionFacts
from tasks.evaluate import OUTCOMES
from tasks.intake.deliveries import printable
from tasks.intake.inbox import named_beside, waiting
from tasks.intake.ingest import count_tests, list_batches
from tasks.intake.readiness import unready
from tasks.quarantine.holding import pending, reports
from tasks.register import approve
from tasks.stages import archive_of, params_of, registry_of, snapshot_of, start_of, version_folder
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
    beginning: Beginning | None = None
    """What the first version waits for, if there is none yet and images are pending."""
    inbox: tuple[str, ...]
    """Deliveries that wait."""
    waiting: dict[str, str] = {}
    """Those of them that are not ready yet, with what was seen and what they wait for."""
    quarantine: tuple[Report, ...]
    """Of batches that a check stops."""
    held: tuple[Report, ...] = ()
    """Of batches that no check stops: a person does, or the data gate could not look at them."""
    refused: tuple[Report, ...]
    """Of admitted batches, of which images were refused that wait for a person."""
    last: RunFacts | None
    """The last judged night."""


class Change(Record):
    """How two versions differ on the same test images: of one experience, of one class, or of all that both know."""

    subject: str
    images: int
    first: float | None
    second: float | None
    """Scores of both versions, 0..1. None if that version was never examined on it; then the other one stands alone."""
    lost: int
    """Images that the first answers rightly and the second does not (negative flips)."""
    gained: int
    """Images that the second answers rightly and the first does not."""


class Comparison(Record):
    """What `second` learned and what it lost against `first`."""

    first: int
    second: int
    total: Change | None
    """On all images that both were examined on; None if there are none."""
    experiences: tuple[Change, ...]
    """Those of both versions, oldest first."""
    classes: tuple[Change, ...]
    """Those of both versions, as they were learned."""
    confused: dict[str, int]
    """`label → answer` to number of images that the second lost so, most frequent first."""


def status_of(workspace: Workspace) -> Status:
    """Ask the registry, the archive and the inbox."""
    registry = registry_of(workspace)
    champion = start_of(workspace)
    snapshot = snapshot_of(workspace, champion)
    learned = tuple(e.batch for e in snapshot.experiences)
    runs, kept = registry.runs(1), reports(workspace)
    deliveries, seconds, now = waiting(workspace), params_of(workspace).ingest.settle_seconds, time.time()
    seen = {delivery: unready(delivery, seconds, now) for delivery in deliveries}
    left = {delivery: why.sentence() for delivery, why in seen.items() if why is not None} | named_beside(workspace)
    left_to_learn = pending(workspace, learned)
    return Status(
        model=registry.model,
        champion=next((v for v in registry.versions() if v.number == champion), None),
        classes=snapshot.classes,
        learned=learned,
        pending=left_to_learn,
        beginning=None if learned or not left_to_learn else _beginning(workspace, left_to_learn),
        inbox=tuple(printable(delivery.name) for delivery in deliveries),
        waiting={printable(delivery.name): sentence for delivery, sentence in left.items()},
        quarantine=tuple(report for report in kept if not report.admitted and report.held is None),
        held=tuple(report for report in kept if report.held is not None),
        refused=tuple(report for report in kept if report.admitted),
        last=runs[0] if runs else None,
    )


def _beginning(workspace: Workspace, batches: Sequence[str]) -> Beginning | None:
    """As if every image of the batches were admitted."""
    params = params_of(workspace).ingest
    others = set(list_batches(workspace.batches)).difference(batches)
    return params.beginning(len(batches), count_tests(workspace.batches, others, params.begin_test))


def compare_versions(workspace: Workspace, first: int, second: int) -> Comparison:
    """Compare two registered versions image by image, from the outcomes stored with them; no model runs.

    Raises `WrongInput` if one of them does not exist.
    """
    return compare_answers(first, second, outcomes_of(workspace, first), outcomes_of(workspace, second))


def compare_answers(first: int, second: int, before: pd.DataFrame, after: pd.DataFrame) -> Comparison:
    """Compare two versions by their answers: a row an image, with columns experience, image, label, answer, overall."""
    rows = join_answers(before, after)
    both = rows[rows["_merge"] == "both"]
    lost = both[both["overall_first"] > both["overall_second"]]
    pairs = (lost["label"] + " → " + lost["answer_second"]).value_counts()
    return Comparison(
        first=first,
        second=second,
        total=change_of("all", both) if len(both) else None,
        experiences=_changes(rows, "experience", (before, after)),
        classes=_changes(rows, "label", (before, after)),
        confused={str(pair): int(count) for pair, count in pairs.items()},
    )


def join_answers(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """A row an image that either version was examined on: answer_first, answer_second, ..., and which in `_merge`."""
    keys = ["experience", "image", "label"]
    return before.merge(after, on=keys, how="outer", suffixes=("_first", "_second"), indicator=True)


def outcomes_of(workspace: Workspace, version: int) -> pd.DataFrame:
    """What a registered version answered: experience, image, label, answer, overall. Raises `WrongInput` if there is no
    such version.
    """
    folder = version_folder(workspace, version)
    assert folder is not None, "version 0 is not registered"
    columns = ["experience", "image", "label", "answer", "overall"]
    table: pd.DataFrame = parquet.read_table(folder / "evaluation" / OUTCOMES, columns=columns).to_pandas()
    return table


def approve_run(workspace: Workspace, run: str, by: str, note: str, overrule: bool) -> Registration:
    """Make the candidate of `run` the champion on a person's word.

    Raises `WrongInput` if there is no such run, if it was refused and `overrule` is not set, or if what it learned is
    held or was dropped since.
    """
    registry = registry_of(workspace)
    _refuse_what_is_away(workspace, registry.run(run).batches)
    return approve(run, by, note, archive_of(workspace), registry, params_of(workspace).register_, overrule)


def _refuse_what_is_away(workspace: Workspace, batches: Sequence[str]) -> None:
    held = {report.batch: report.held for report in reports(workspace) if report.held is not None}
    for batch in batches:
        if batch in held:
            raise WrongInput(
                f"The run learned {batch}, which waits. {held[batch].sentence()} "
                f"Release it first: `retain quarantine release {batch}`."
            )
        if batch not in list_batches(workspace.batches):
            raise WrongInput(f"The run learned {batch}, which was dropped since, so it cannot be let in any more.")


def _changes(rows: pd.DataFrame, by: str, tables: Sequence[pd.DataFrame]) -> tuple[Change, ...]:
    groups = dict(list(rows.groupby(by, sort=False)))
    in_order = pd.concat([table[by] for table in tables]).unique()
    return tuple(change_of(str(subject), groups[subject]) for subject in in_order)


def change_of(subject: str, rows: pd.DataFrame) -> Change:
    """How the versions differ on some rows of `join_answers`."""
    shared = rows[rows["_merge"] == "both"]
    counted = shared if len(shared) else rows
    return Change(
        subject=subject,
        images=len(counted),
        first=_score(counted["overall_first"]),
        second=_score(counted["overall_second"]),
        lost=int((shared["overall_first"] > shared["overall_second"]).sum()),
        gained=int((shared["overall_first"] < shared["overall_second"]).sum()),
    )


def _score(outcomes: "pd.Series[float]") -> float | None:
    known = outcomes.dropna()
    return round(float(known.mean()), 6) if len(known) else None
