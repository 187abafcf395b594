"""One judged night as one MLflow run: what is logged of it, under which names, and how it is read back.

MLflow's compare page shows metrics and parameters, but no tags and no pictures; so every number that two versions may
be compared by is a metric, and what they were made from is a parameter as well as a tag. A metric's step is the number
of the night, and the metrics that one looks at first bring the course that they took before along, over the nights that
this one builds on: MLflow draws a curve of several points of one run, and of no others.
"""

import hashlib
import json
import math
import re
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from adapters import descriptions, metric_names
from adapters.packaging import Packaging, log_model
from records.batch import shortened, titles
from records.formatting import listed
from records.runs import NightFacts, Rollback, RunFacts, VersionFacts
from records.score_names import ACCURACY
from records.scores import ScoreMatrix
from records.verdict import Finding, Question, Verdict

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities.model_registry import ModelVersion

T = TypeVar("T")

WORDS = {"accept": "accepted", "refuse": "refused"}

METRICS_AT_ONCE, PARAMS_AT_ONCE, TAGS_AT_ONCE = 800, 100, 100
"""What MLflow takes in one call."""
LABEL_LENGTH = 200
"""Characters of a label that stand in a metric's name."""
DIGEST_LENGTH = 36
"""Characters of a data set's digest that MLflow keeps."""
CURVES = (
    "average_{score}", "bounds/forgotten", "bounds/taken", "learning_{score}", "average_forgetting",
    "forgetting_from_parent", "backward_transfer", "forward_transfer", "macro_f1", "expected_calibration_error",
    "negative_flips", "positive_flips", "pixel_accuracy", "mean_dice", "{of_class}_old", "{of_class}_new",
    "images/new", "seconds/update",
)  # fmt: skip
"""Metrics that bring their course along, the names of the scores left open; so do the first and last scores and
classes."""
CURVES_OF_EACH = 10
"""Scores, and classes, of which a run has a curve."""
CURVE = 30
"""Nights of the past in a curve."""
MOST_NAMES = 40
"""Names of deliveries in a tag."""
MOST_SUBJECTS = 60
"""Experiences of which a run has metrics of their own, those that came first and last; all are in `scores.json`. A
metric for each would let MLflow's database grow with the square of the nights."""


@dataclass(frozen=True)
class JudgedNight:
    """Everything that is kept of a night."""

    facts: NightFacts
    matrix: ScoreMatrix
    verdict: Verdict
    candidate: Path
    """Folder of the snapshot."""
    evaluation: Path
    """Folder of score matrix and outcomes."""
    held: bool = False
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    """File name to content, kept beside the verdict: pictures, a report."""


def log_night(
    client: "MlflowClient",
    experiment: str,
    night: JudgedNight,
    packaging: Packaging,
    number: int = 1,
    parent: str | None = None,
) -> str:
    """Log one run, its model included, and give its id. It is finished when everything is there, and not before.

    `number` says which night of the model it is; `parent` is the run of the version that it builds on.
    """
    began = time.time() - sum(night.facts.seconds.values())
    run = client.create_run(
        experiment,
        start_time=int(began * 1000),
        tags=tags(night, number),
        run_name=run_name(f"night {number}", night.facts.day, status(night)),
    ).info.run_id
    model = client.create_logged_model(experiment, name="model", source_run_id=run, model_type="retain")
    _log_values(client, run, night, model.model_id, number, parent)
    _log_data(client, run, night.facts)
    _log_files(client, run, night)
    log_model(client, run, model, night.candidate, packaging)
    client.set_terminated(run)
    return str(run)


def status(night: JudgedNight) -> str:
    """The decision in one word, or `held`."""
    return "held" if night.held and night.verdict.decision == "accept" else night.verdict.decision


def run_name(what: str, day: date, word: str) -> str:
    """What MLflow's lists call a night: `v12 · 2026-11-22 · accepted`, or `night 7 · ...` if it became no version."""
    return f"{what} · {day} · {WORDS.get(word, word)}"


def tags(night: JudgedNight, number: int) -> dict[str, str]:
    """What is known of the night in words; a registered version bears the same tags."""
    facts, verdict = night.facts, night.verdict
    names = [facts.deliveries[batch][:100] for batch in facts.batches[:MOST_NAMES] if batch in facts.deliveries]
    lineage = {
        "night": str(number),
        "day": str(facts.day),
        "deliveries": json.dumps(names),
        "average": f"{night.matrix.average():.6f}",
        "experiences": str(len(night.matrix.experiences)),
        "identity": facts.identity,
        **({} if night.matrix.score_name == ACCURACY else {"score_name": night.matrix.score_name}),
        "parent": str(facts.parent),
        "batches": ",".join(facts.batches),
        "data_revision": facts.data_revision,
        "git_commit": facts.commit,
        "code_version": facts.code,
        "verdict": verdict.decision,
        "reason": verdict.reason,
        "held": "true" if status(night) == "held" else "",
    }
    shown = {
        "mlflow.note.content": descriptions.of_night(facts, night.matrix, verdict, night.attachments),
        "mlflow.source.name": "retain",
        "mlflow.source.type": "JOB",
        "mlflow.source.git.commit": facts.commit,
    }
    return lineage | shown | {f"system.{name}": value for name, value in facts.system.items()}


def params(facts: NightFacts) -> dict[str, str]:
    """What the night was made from, in words that differ where nights do; digests are tags."""
    return {**facts.params, "parent": str(facts.parent), "learned": _learned(facts)}


def metrics(night: JudgedNight) -> dict[str, float]:
    """Every number that versions may be compared by. Names hold only what MLflow allows in them; `/` makes groups."""
    matrix = night.matrix
    measures = {**metric_names.scores(matrix), "images/new": float(night.facts.images)}
    if matrix.measures is not None:
        further = matrix.measures.numbers()
        measures |= {metric_names.current(name): value for name, value in further.items()}
        shares = matrix.measures.per_class
        group = f"class_{matrix.class_score_name}"
        measures |= {f"{group}/{name}": shares[label] for label, name in label_names(shares).items()}
    scores, shown = matrix.candidate.scores, _ends(matrix.experiences)
    called = _short_names(matrix.experiences)
    test = f"test_{matrix.score_name}"
    measures |= {f"{test}/{called[name]}": scores[name].overall for name in shown}
    measures |= {f"{test}_among_known/{called[name]}": scores[name].among_known for name in shown}
    measures |= {f"seconds/{step}": seconds for step, seconds in night.facts.seconds.items()}
    measures |= {f"cost/{name}": cost for name, cost in night.facts.costs.items()}
    for f in _findings_to_log(night.verdict):
        bounds = {"": f.estimate, "/lower": f.lower, "/upper": f.upper, "/limit": f.limit}
        group = metric_names.current(f"{f.question}/{' to '.join(called.get(n, n) for n in f.subject.split(' to '))}")
        measures |= {f"{group}{name}": value for name, value in bounds.items()}
    return {_safe(name): value for name, value in measures.items() if value is not None}


def _short_names(experiences: Sequence[str]) -> dict[str, str]:
    """Batch ids as people see them: MLflow's tables cut what is longer."""
    return dict(zip(experiences, shortened("\n".join(experiences)).split("\n"), strict=True))


def _findings_to_log(verdict: Verdict) -> list[Finding]:
    """The findings that become metrics: all that decided something, and of those that passed the first and the last."""
    passed = {question: [f for f in verdict.findings if f.question == question] for question in get_args(Question)}
    some = {id(f) for findings in passed.values() for f in _ends(findings)}
    return [f for f in verdict.findings if id(f) in some or f.subject == "mean" or f.decision != "accept"]


def _ends(names: Sequence[T], most: int = MOST_SUBJECTS) -> Sequence[T]:
    half = most // 2
    return names if len(names) <= most else [*names[:half], *names[-half:]]


def _learned(facts: NightFacts) -> str:
    """The deliveries that were new, by name."""
    shown = titles({batch: facts.deliveries.get(batch, shortened(batch)) for batch in facts.batches})
    names = list(shown.values())
    return listed(names, MOST_NAMES)


def read_run(run: Any, version: "ModelVersion | None") -> RunFacts:
    """The facts of an MLflow run, which became registered `version`."""
    return read_tags(run.info.run_id, run.data.tags, run.info.end_time, version, run.data.metrics)


def read_tags(
    run: str, tags: Mapping[str, str], ended: int, version: "ModelVersion | None", numbers: Mapping[str, float]
) -> RunFacts:
    """Facts from the tags that a run or a version bears. `ended` is in milliseconds since 1970."""
    score, finite = tags.get("score_name", ACCURACY), {n: v for n, v in numbers.items() if math.isfinite(v)}
    return RunFacts(
        run=run,
        number=int(tags.get("night") or 0),
        day=_day(tags),
        identity=tags["identity"],
        ended=datetime.fromtimestamp(ended / 1000, UTC),
        decision=tags["verdict"],
        reason=tags.get("reason", ""),
        held=bool(tags.get("held")),
        parent=int(tags["parent"]),
        batches=tuple(filter(None, tags["batches"].split(","))),
        deliveries=tuple(json.loads(tags.get("deliveries") or "[]")),
        data_revision=tags.get("data_revision", ""),
        commit=tags.get("git_commit", ""),
        approved_by=tags.get("approved_by", ""),
        approval_note=tags.get("approval_note", ""),
        version=None if version is None else int(version.version),
        left=None if version is None else read_rollback(version),
        score_name=score,
        metrics=metric_names.under_present_names(finite, score),
    )


def _day(tags: Mapping[str, str]) -> date | None:
    """Of old nights, the day that the last of their batches begins with."""
    try:
        return date.fromisoformat(tags.get("day") or tags["batches"].rpartition(",")[2][:10])
    except ValueError:
        return None


def read_version(version: "ModelVersion", aliases: Mapping[str, int], numbers: Mapping[str, float]) -> VersionFacts:
    """The facts of a registered version, which bears the tags of its run."""
    number, version_tags, created = int(version.version), version.tags, version.creation_timestamp
    left = read_rollback(version)
    return VersionFacts(
        number=number,
        created=datetime.fromtimestamp(created / 1000, UTC),
        aliases=tuple(sorted(alias for alias, points_to in aliases.items() if points_to == number)),
        rolled_back=left is not None,
        run=read_tags(str(version.run_id), version_tags, created, version, numbers),
    )


ROLLBACK_TAGS = ("rolled_back", "rolled_back_from", "rolled_back_to", "rolled_back_by", "rolled_back_note")


def rollback_tags(rollback: Rollback) -> dict[str, str]:
    """The tags of a version that was rolled back; all empty once it is in the champion's line again."""
    at = rollback.at.isoformat(timespec="seconds")
    return dict(zip(ROLLBACK_TAGS, (at, str(rollback.left), str(rollback.to), rollback.by, rollback.note), strict=True))


def read_rollback(version: "ModelVersion") -> Rollback | None:
    """The rollback that a version was left by, if there was one. Old ones say no more than when."""
    version_tags = version.tags
    if not version_tags.get("rolled_back"):
        return None
    return Rollback(
        at=datetime.fromisoformat(version_tags["rolled_back"]),
        left=int(version_tags.get("rolled_back_from") or version.version),
        to=int(version_tags.get("rolled_back_to") or 0),
        by=version_tags.get("rolled_back_by", ""),
        note=version_tags.get("rolled_back_note", ""),
    )


def _log_values(
    client: "MlflowClient", run: str, night: JudgedNight, model: str, number: int, parent: str | None
) -> None:
    from mlflow.entities import Metric, Param

    now, numbers = int(time.time() * 1000), metrics(night)
    values = [Metric(name, value, now, number, model_id=model) for name, value in numbers.items()]
    for name in _curves(numbers, night.matrix):
        history = _history(client, parent, name) if parent else []
        before = [metric for metric in history if metric.step < number]
        for metric in sorted(before, key=lambda metric: metric.step)[-CURVE:]:
            values.append(Metric(name, metric.value, metric.timestamp, metric.step))
    for part, course in night.facts.losses.items():
        values += [Metric(_safe(f"loss/{part}"), loss, now, step) for step, loss in enumerate(course, start=1)]
    for some in _parts(values, METRICS_AT_ONCE):
        client.log_batch(run, metrics=some)
    for more in _parts([Param(_safe(name), value) for name, value in params(night.facts).items()], PARAMS_AT_ONCE):
        client.log_batch(run, params=more)


def _history(client: "MlflowClient", run: str, name: str) -> "list[Metric]":
    """A metric's points in a run, which an earlier release may have logged under another name."""
    points: list[Metric] = client.get_metric_history(run, name)
    before = metric_names.earlier(name)
    return points or (client.get_metric_history(run, before) if before else [])


def _curves(numbers: Mapping[str, float], matrix: ScoreMatrix) -> list[str]:
    """Of the metrics that this night has: what it does not have must not be read from an earlier one."""
    score, of_class = matrix.score_name, matrix.class_score_name
    groups = [[name for name in numbers if name.startswith(f"{g}/")] for g in (f"test_{score}", f"class_{of_class}")]
    some = [name for group in groups for name in _ends(group, CURVES_OF_EACH)]
    named = [name.format(score=score, of_class=of_class) for name in CURVES]
    return [name for name in named if name in numbers] + some


def _log_data(client: "MlflowClient", run: str, facts: NightFacts) -> None:
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = CodeDatasetSource({"file": "data.dvc", "git_commit": facts.commit, "dvc_revision": facts.data_revision})
    dataset = Dataset(
        name=_learned(facts)[:200],
        digest=facts.data_revision[:DIGEST_LENGTH],
        source_type="code",
        source=json.dumps(source.to_dict()),
        profile=json.dumps({"num_rows": facts.images, "batches": list(facts.batches)}),
    )
    client.log_inputs(run, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _log_files(client: "MlflowClient", run: str, night: JudgedNight) -> None:
    with warnings.catch_warnings():
        # MLflow asks pandas in a way that pandas wants to give up.
        warnings.simplefilter("ignore")
        client.log_table(run, _table(night.matrix), "score_matrix.json")
    client.log_artifacts(run, str(night.evaluation), "evaluation")
    with tempfile.TemporaryDirectory() as folder:
        night.verdict.write(Path(folder) / "verdict.json")
        for name, content in night.attachments.items():
            (Path(folder) / name).write_bytes(content)
        client.log_artifacts(run, folder)


def _table(matrix: ScoreMatrix) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"version": [row.version for row in matrix.rows]}
    for name in matrix.experiences:
        columns[name] = [row.scores[name].overall if name in row.scores else None for row in matrix.rows]
    return columns


def label_names(labels: Iterable[str]) -> dict[str, str]:
    """Each label as the last part of a metric's name. MLflow takes few characters, no `..`, and 250 of them at most.

    A label that has to be changed for it ends with a digest of what it was, so no two get the same name.
    """
    plain = {label: _safe(label).replace("/", "_")[:LABEL_LENGTH] for label in labels}
    return {
        label: label if name == label and label not in (".", "..") else f"{name}-{_digest(label)}"
        for label, name in plain.items()
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _safe(name: str) -> str:
    return re.sub(r"[^\w\-. /]", "_", name)


def _parts(values: Sequence[T], size: int) -> Iterator[list[T]]:
    left = iter(values)
    while part := list(islice(left, size)):
        yield part
