"""Where a workspace stands. Asked often and from a terminal, so PyTorch is not loaded for it."""

import hashlib
import time
from collections.abc import Sequence

from dataset.batches import count_tests, list_batches, read_batch
from dataset.deliveries.items import printable
from records.batch import LONG_ID
from records.errors import RetainError
from records.experience import Report
from records.record import Record
from records.registration import Beginning
from records.runs import Rollback, RunFacts, VersionFacts
from tasks.ingest.inbox import named_beside, waiting
from tasks.ingest.readiness import unready
from tasks.ingest.settings import IngestParams
from tasks.params.sections import load_sections, read_section
from tasks.quarantine.store import pending, reports
from tasks.workspace.versions import registry_of, snapshot_of, start_of
from tasks.workspace.workspace import Workspace


class Status(Record):
    """Where a workspace stands."""

    model: str
    champion: VersionFacts | None
    """None before the first accepted night."""
    problem: str = "classification"
    """`update.problem.name` of params.yaml."""
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
    """Of batches that no check stops: a person does, or validation could not look at them."""
    refused: tuple[Report, ...]
    """Of admitted batches, of which images were refused that wait for a person."""
    last: RunFacts | None
    """The last judged night."""
    deliveries: dict[str, str] = {}
    """Batches that the verdict of that night names to the names that they were delivered under."""
    approvable: bool = False
    """The last night waits for a person, and was learned on top of the champion."""
    rollback: Rollback | None = None
    """The one that made the champion what it is."""


def status_of(workspace: Workspace) -> Status:
    """Ask the registry, the archive and the inbox. Raises `WrongParameters` for a params.yaml that no night can use."""
    _check_params(workspace)
    registry, ingest = registry_of(workspace), read_section(workspace.params, "ingest", IngestParams)
    champion = start_of(workspace)
    snapshot = snapshot_of(workspace, champion)
    learned = tuple(e.batch for e in snapshot.experiences)
    runs, kept = registry.runs(1), reports(workspace)
    last, rollbacks = (runs[0] if runs else None), registry.rollbacks()
    deliveries, seconds, now = waiting(workspace), ingest.settle_seconds, time.time()
    seen = {delivery: unready(delivery, seconds, now) for delivery in deliveries}
    left = {delivery: why.sentence() for delivery, why in seen.items() if why is not None} | named_beside(workspace)
    left_to_learn = pending(workspace, learned)
    return Status(
        model=registry.model,
        champion=registry.version(champion),
        problem=_problem(workspace),
        classes=snapshot.classes,
        learned=learned,
        pending=left_to_learn,
        beginning=None if learned or not left_to_learn else _beginning(workspace, left_to_learn),
        inbox=tuple(printable(delivery.name) for delivery in deliveries),
        waiting={printable(delivery.name): sentence for delivery, sentence in left.items()},
        quarantine=tuple(report for report in kept if not report.admitted and report.held is None),
        held=tuple(report for report in kept if report.held is not None),
        refused=tuple(report for report in kept if report.admitted),
        last=last,
        deliveries={} if last is None else {**last.names, **_delivered(workspace, last.reason)},
        approvable=last is not None and last.waits and last.parent == champion,
        rollback=next((latest for latest in rollbacks[:1] if latest.to in (0, champion)), None),
    )


def _problem(workspace: Workspace) -> str:
    """Of a params.yaml that was found right; to read its section `update` whole would load PyTorch."""
    problem = load_sections(workspace.params).get("update", {}).get("problem", {})
    return str(problem.get("name", Status.model_fields["problem"].default))


def _delivered(workspace: Workspace, text: str) -> dict[str, str]:
    """The batches that a text names and that are here, and what they were delivered as."""
    named = set(LONG_ID.findall(text)).intersection(list_batches(workspace.batches))
    return {batch: read_batch(workspace.batches, batch).source for batch in sorted(named)}


def may_learn(workspace: Workspace) -> bool:
    """False if the next night will find nothing to learn. What cannot be seen from here, the night itself will say."""
    if waiting(workspace):
        return True
    try:
        learned = snapshot_of(workspace, start_of(workspace)).experiences
        return bool(pending(workspace, tuple(e.batch for e in learned)))
    except RetainError:
        return True


def _beginning(workspace: Workspace, batches: Sequence[str]) -> Beginning | None:
    """As if every image of the batches were admitted."""
    params = read_section(workspace.params, "ingest", IngestParams)
    others = set(list_batches(workspace.batches)).difference(batches)
    return params.beginning(len(batches), count_tests(workspace.batches, others, params.min_test_images))


def _check_params(workspace: Workspace) -> None:
    """A file that was found right is not checked again: that loads PyTorch, for the strategies and networks."""
    content = workspace.params.read_bytes() if workspace.params.is_file() else b""
    digest, mark = hashlib.sha256(content).hexdigest(), workspace.state / "params.checked"
    if mark.exists() and mark.read_text(encoding="utf-8") == digest:
        return
    from tasks.params.params import read_params

    read_params(workspace.params)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(digest, encoding="utf-8")
