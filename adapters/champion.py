"""Moving the alias `champion`: a version is made, the alias moved, and every description of it brought up to date.

Each step can be taken again: a night that was killed between any two of them ends, when it is started again, with one
version and one alias.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from adapters import descriptions, runs
from adapters.lineage import line_of, overruled
from adapters.lookup import CHAMPION, Lookup
from adapters.packaging import model_of
from records.batch import called
from records.runs import Rollback, RunFacts

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PREVIOUS = "previous"
ROLLBACK = "rollback."
"""How the tags of a model begin that keep its rollbacks; the time follows."""
RECENT = 20
"""Versions whose run is asked for what they do not bear themselves."""
LINEAGE = (
    "night", "day", "deliveries", "average", "experiences", "score_name",
    "identity", "parent", "batches", "data_revision", "git_commit", "code_version", "verdict", "reason", "held",
    "approved_by", "approval_note", "approved_at",
)  # fmt: skip


def create_version(lookup: Lookup, facts: RunFacts) -> "ModelVersion":
    """Make a version of a run's model; the alias stays where it is."""
    if not lookup.client.search_registered_models(f"name = '{lookup.model}'"):
        lookup.client.create_registered_model(lookup.model)
    run_tags = lookup.client.get_run(facts.run).data.tags
    note = run_tags.get("mlflow.note.content") or called(facts.reason, facts.names)
    kept = {name: run_tags[name] for name in LINEAGE if name in run_tags}
    model = model_of(lookup.client, facts.run)
    return lookup.client.create_model_version(
        lookup.model,
        # Not models:/<id>: on a database, MLflow would look that up at its global address.
        source=model.artifact_location,
        run_id=facts.run,
        tags=kept,
        description=descriptions.of_version(note, facts),
        model_id=model.model_id,
    )


def move_alias(lookup: Lookup, version: int, why: Rollback | None = None) -> None:
    """The alias last, but for the marks that take it for granted: a move that was killed can be made again."""
    versions = lookup.by_number()
    current, line = lookup.champion(), line_of(versions, version)
    why = why or overruled(versions[version], current)
    for left in line_of(versions, current) - line:
        _mark(lookup, versions[left], why)
    if current not in (0, version):
        lookup.client.set_registered_model_alias(lookup.model, PREVIOUS, str(current))
    lookup.client.set_registered_model_alias(lookup.model, CHAMPION, str(version))
    for back in (versions[number] for number in line if versions[number].tags.get("rolled_back")):
        _mark(lookup, back, None)
    _mark(lookup, versions[version], None)
    lookup.client.set_model_version_tag(lookup.model, str(version), "champion_since", now())
    describe_model(lookup)


def _numbers(lookup: Lookup, version: "ModelVersion", ask: bool) -> dict[str, float]:
    """Those that a version bears itself; old ones bear none, and their run is asked."""
    if "average" not in version.tags and ask:
        return dict(lookup.client.get_run(str(version.run_id)).data.metrics)
    return {name: float(version.tags[name]) for name in ("average", "experiences") if name in version.tags}


def _mark(lookup: Lookup, version: "ModelVersion", left: Rollback | None) -> None:
    """A version was left, or is in the champion's line: it bears that, and MLflow shows it first."""
    bears = runs.rollback_tags(left) if left else dict.fromkeys(runs.ROLLBACK_TAGS, "")
    for name, value in bears.items():
        if value or version.tags.get(name):
            lookup.client.set_model_version_tag(lookup.model, str(version.version), name, value)
    description = descriptions.with_rollback(version.description or "", left)
    if description != version.description:
        lookup.client.update_model_version(lookup.model, str(version.version), description)
    facts = runs.read_tags(str(version.run_id), version.tags, version.creation_timestamp, version, {})
    word = "rolled back" if left else "approved" if facts.approved_by else facts.decision
    lookup.client.update_run(
        facts.run, name=runs.run_name(f"v{version.version}", facts.day or facts.ended.date(), word)
    )


def rollbacks_of(lookup: Lookup, versions: "Iterable[ModelVersion]") -> tuple[Rollback, ...]:
    """All rollbacks, newest first; of those that were made before they were kept, what the versions bear."""
    found = lookup.client.search_registered_models(f"name = '{lookup.model}'")
    kept = [value for model in found for name, value in model.tags.items() if name.startswith(ROLLBACK)]
    old = [runs.read_rollback(v) for v in versions if "rolled_back_from" not in v.tags]
    records = [Rollback.model_validate_json(value) for value in kept] + [one for one in old if one is not None]
    return tuple(sorted(records, key=lambda one: one.at, reverse=True))


def describe_model(lookup: Lookup) -> None:
    """What MLflow's page of the model says first."""
    versions = lookup.by_number()
    recent = sorted(versions)[-RECENT:]
    facts = [runs.read_version(v, {}, _numbers(lookup, v, n in recent)) for n, v in versions.items()]
    champion, rollbacks = lookup.champion(), rollbacks_of(lookup, versions.values())
    ours = descriptions.of_model(facts, champion, line_of(versions, champion), rollbacks)
    before = lookup.client.get_registered_model(lookup.model).description or ""
    lookup.client.update_registered_model(lookup.model, descriptions.beside_theirs(ours, before))


def now() -> str:
    """As it is written into tags."""
    return datetime.now(UTC).isoformat(timespec="seconds")
