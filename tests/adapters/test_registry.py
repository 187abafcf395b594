import json
import logging
import os
import shutil
import socket
from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from adapters.champion import create_version, describe_model
from adapters.lookup import Lookup
from adapters.packaging import Packaging
from adapters.registry import Registry
from adapters.runs import JudgedNight, label_names, metrics, tags
from records.errors import Busy, DamagedState, Unavailable, WrongInput
from records.experience import Experience
from records.measures import Measures
from records.runs import NightFacts
from records.scores import Score, ScoreMatrix, ScoreRow
from records.snapshot import InputSpec, Snapshot
from records.verdict import Finding, Verdict

MODEL_SCRIPT = """
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

class Always(PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        return pd.DataFrame({"label": ["a"] * len(model_input), "confidence": 1.0})

set_model(Always())
"""
REASONS = {"accept": "Little was forgotten.", "refuse": "Much was forgotten.", "inconclusive": "Too few images."}


@pytest.fixture
def registry(tmp_path, mlflow_database):
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    return Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlartifacts", "retain")


@pytest.fixture
def packaging(tmp_path):
    (tmp_path / "always.py").write_text(MODEL_SCRIPT)
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "network.json").write_text("{}")
    return Packaging(script=tmp_path / "always.py", program=tmp_path / "program", requirements=("numpy",))


@pytest.fixture
def night(tmp_path):
    """Writes what a night leaves behind and gives it as the registry takes it."""

    def make(identity, parent=0, decision="accept", held=False, losses=None):
        batch = f"2026-01-{5 + parent:02d}-aaaaaaaa"
        folder = tmp_path / f"night-{identity}"
        spec = InputSpec(channels=1, height=4, width=5, mean=(0.5,), std=(0.2,))
        learned = Experience(batch=batch, digest="d", classes=("a",), train=8, validation=0, test=5)
        snapshot = Snapshot(identity=identity, parent=parent, classes=("a",), experiences=(learned,), spec=spec)
        snapshot.write(folder / "candidate" / "snapshot.json")
        (folder / "candidate" / "weights.safetensors").write_bytes(identity.encode())
        row = ScoreRow(version="candidate", scores={batch: Score(overall=0.9, among_known=0.95, images=5)})
        measures = Measures(per_class={"a": 0.9, "..": 0.5}, macro_f1=0.7, calibration_error=0.05, negative_flips=0.02)
        matrix = ScoreMatrix(experiences=(batch,), new=(batch,), rows=(row,), measures=measures)
        matrix.write(folder / "evaluation" / "scores.json")
        finding = Finding(
            question="learned",
            subject=batch,
            estimate=0.9,
            lower=0.8,
            upper=0.95,
            limit=0.5,
            images=5,
            decision="accept",
        )
        verdict = Verdict(
            decision=decision, reason=REASONS[decision], gate="test", confidence=0.95, findings=(finding,)
        )
        facts = NightFacts(
            identity=identity, day=date(2026, 1, 5 + parent), parent=parent, batches=(batch,), images=8,
            deliveries={batch: "monday"}, new_classes=("a",),
            data_revision="0123456789abcdef0123456789abcdef.dir", commit="c0ffee", code="beef",
            params={"update.seed": "0"}, seconds={"update": 1.5}, losses=losses or {}, system={"python": "3.11"},
        )  # fmt: skip
        return JudgedNight(
            facts, matrix, verdict, folder / "candidate", folder / "evaluation", held, {"score_matrix.png": b"png"}
        )

    return make


def test_a_new_registry_is_empty(registry):
    assert registry.champion() == 0
    assert registry.versions() == ()
    assert registry.runs() == ()
    assert registry.find("0" * 64) is None


def test_a_night_is_logged_with_everything(registry, packaging, night):
    judged = night("aa", losses={"new": (1.5, float("inf"))})
    run = registry.log_night(judged, packaging)
    with registry._connection.open() as client:
        logged = client.get_run(run)
        files = {file.path for file in client.list_artifacts(run)}
        course = [m.value for m in client.get_metric_history(run, "loss/new")]
        verdict = json.loads((registry.artifacts / run / "artifacts" / "verdict.json").read_text())
    assert files == {"evaluation", "score_matrix.json", "score_matrix.png", "verdict.json"}
    assert course[0] == 1.5
    assert len(course) == 2
    assert verdict["decision"] == "accept"
    assert logged.data.params == {
        "update.seed": "0",
        "parent": "0",
        "learned": "monday",
    }
    assert logged.info.run_name == "night 1 · 2026-01-05 · accepted"
    assert 1.5 <= (logged.info.end_time - logged.info.start_time) / 1000 < 60
    assert logged.data.metrics["learned/2026-01-05-aaaaaaaa/lower"] == 0.8
    assert logged.data.metrics["test_accuracy/2026-01-05-aaaaaaaa"] == 0.9
    assert logged.data.metrics["seconds/update"] == 1.5
    measures = {"macro_f1": 0.7, "expected_calibration_error": 0.05, "negative_flips": 0.02, "class_accuracy/a": 0.9}
    assert measures.items() <= logged.data.metrics.items()
    assert logged.data.metrics[f"class_accuracy/{label_names(['..'])['..']}"] == 0.5
    assert logged.data.metrics["learning_accuracy"] == 0.9
    assert not {"positive_flips", "forward_transfer"} & set(logged.data.metrics)  # there was no past
    assert logged.data.tags["git_commit"] == "c0ffee"
    assert logged.data.tags["system.python"] == "3.11"
    (data,) = logged.inputs.dataset_inputs
    assert data.dataset.digest == "0123456789abcdef0123456789abcdef.dir"
    assert [(tag.key, tag.value) for tag in data.tags] == [("mlflow.data.context", "training")]


def test_the_metrics_of_a_run_do_not_grow_with_the_nights(night):
    """Each experience had ten of its own: at night 1,000 that is ten million rows in MLflow's database."""
    judged = night("aa")
    names = tuple(f"e{number:04d}" for number in range(1000))
    score = Score(overall=0.9, among_known=0.95, images=5)
    rows = [ScoreRow(version=version, scores=dict.fromkeys(names, score)) for version in ("v999", "candidate")]
    matrix = ScoreMatrix(experiences=names, new=(), rows=tuple(rows))
    (finding,) = judged.verdict.findings
    findings = [
        finding.model_copy(update={"question": question, "subject": name, "decision": decision})
        for question in ("forgotten", "taken")
        for name in names
        for decision in ["refuse" if (question, name) == ("taken", "e0500") else "accept"]
    ]
    verdict = judged.verdict.model_copy(update={"findings": tuple(findings)})
    logged = metrics(replace(judged, matrix=matrix, verdict=verdict))
    assert len(logged) < 700
    assert {"test_accuracy/e0000", "test_accuracy/e0999", "forgotten/e0000", "taken/e0500/upper"} <= logged.keys()
    assert "test_accuracy/e0500" not in logged


def test_each_candidate_for_the_same_data_on_the_same_parent_is_one_attempt_more(registry, packaging, night):
    batches = ["2026-01-05-aaaaaaaa", "2026-01-06-bbbbbbbb"]
    assert registry.attempt(0, batches, "aa") == 1
    registry.log_night(night("aa", decision="refuse"), packaging)
    assert registry.attempt(0, batches, "bb") == 2
    assert registry.attempt(0, batches[1:], "bb") == 1  # other data
    assert registry.attempt(1, batches, "bb") == 1  # another parent
    registry.log_night(night("bb", decision="inconclusive"), packaging)
    registry.log_night(night("cc", parent=1), packaging)
    assert registry.attempt(0, batches, "cc") == 3
    # A night that is started again is the attempt that it was.
    assert (registry.attempt(0, batches, "aa"), registry.attempt(0, batches, "bb")) == (1, 2)


def test_a_logged_night_is_found_again_by_its_identity(registry, packaging, night):
    run = registry.log_night(night("aa", decision="refuse"), packaging)
    found = registry.find("aa")
    assert (found.run, found.decision, found.reason) == (run, "refuse", "Much was forgotten.")
    assert found.batches == ("2026-01-05-aaaaaaaa",)
    assert found.metrics["average_accuracy"] == 0.9
    assert registry.find("ab") is None
    assert registry.run(run[:6]) == found


def test_nights_are_listed_newest_first_with_the_version_they_became(registry, packaging, night):
    first = registry.log_night(night("aa"), packaging)
    registry.promote(first)
    second = registry.log_night(night("bb", parent=1, decision="refuse"), packaging)
    assert [(facts.run, facts.version) for facts in registry.runs()] == [(second, None), (first, 1)]
    assert [facts.run for facts in registry.runs(limit=1)] == [second]


def test_promotion_makes_a_version_and_moves_the_alias(registry, packaging, night):
    run = registry.log_night(night("aa"), packaging)
    assert registry.promote(run) == 1
    (version,) = registry.versions()
    assert registry.champion() == 1
    assert (version.number, version.aliases, version.rolled_back) == (1, ("champion",), False)
    assert (version.run.run, version.run.identity, version.run.parent, version.run.decision) == (run, "aa", 0, "accept")
    assert version.run.metrics["average_accuracy"] == 0.9


def test_the_champion_before_is_kept_as_previous(registry, packaging, night):
    registry.promote(registry.log_night(night("aa"), packaging))
    registry.promote(registry.log_night(night("bb", parent=1), packaging))
    assert [version.aliases for version in registry.versions()] == [("previous",), ("champion",)]


def test_a_run_promoted_twice_is_one_version(registry, packaging, night):
    run = registry.log_night(night("aa"), packaging)
    assert (registry.promote(run), registry.promote(run)) == (1, 1)
    assert len(registry.versions()) == 1


def test_a_night_that_was_killed_while_it_was_logged_is_logged_anew(registry, packaging, night):
    with registry._connection.open() as client:
        experiment = registry._experiment(client)
        killed = client.create_run(experiment, tags={"identity": "aa"}).info.run_id
        model = client.create_logged_model(experiment, source_run_id=killed).model_id
    assert registry.find("aa") is None
    run = registry.log_night(night("aa"), packaging)
    assert [facts.run for facts in registry.runs()] == [run]
    with registry._connection.open() as client:
        assert client.get_run(killed).info.lifecycle_stage == "deleted"
        assert model not in {m.model_id for m in client.search_logged_models([experiment])}


def test_a_version_whose_alias_was_not_moved_becomes_champion_when_asked_again(registry, packaging, night):
    registry.promote(registry.log_night(night("aa"), packaging))
    run = registry.log_night(night("bb", parent=1), packaging)
    with registry._lookup() as lookup:
        create_version(lookup, lookup.facts(run))
    assert (registry.champion(), len(registry.versions())) == (1, 2)
    assert registry.promote(run) == 2
    assert (registry.champion(), len(registry.versions())) == (2, 2)


def test_what_a_killed_night_began_to_log_is_taken_back_though_it_never_comes_again(registry, packaging, night):
    finished = registry.log_night(night("aa"), packaging)
    with registry._connection.open() as client:
        experiment = client.get_run(finished).info.experiment_id
        killed = client.create_run(experiment, tags={"identity": "aa"}).info.run_id
        others = client.create_run(experiment, tags={"identity": "bb"}).info.run_id
        registry.forget_unfinished("aa")
        seen = [client.get_run(run).info for run in (finished, killed, others)]
    assert [(run.status, run.lifecycle_stage) for run in seen] == [
        ("FINISHED", "active"), ("KILLED", "deleted"), ("RUNNING", "active"),
    ]  # fmt: skip


def test_a_registry_without_a_night_has_nothing_to_take_back(registry):
    registry.forget_unfinished("aa")


def test_a_version_that_was_killed_before_it_was_marked_keeps_the_alias(registry, packaging, night):
    run = registry.log_night(night("aa"), packaging)
    with registry._lookup() as lookup:
        create_version(lookup, lookup.facts(run))
        lookup.client.set_registered_model_alias("retain", "champion", "1")
    assert registry.promote(run) == 1
    assert registry.versions()[0].aliases == ("champion",)


def test_a_candidate_of_an_old_champion_is_not_promoted(registry, packaging, night):
    late = registry.log_night(night("aa"), packaging)
    registry.promote(registry.log_night(night("bb"), packaging))
    with pytest.raises(Busy, match="v1 became the champion"):
        registry.promote(late)
    assert len(registry.versions()) == 1


def test_rollback_moves_the_alias_back_and_forth(registry, packaging, night):
    runs = [registry.log_night(night(name, parent), packaging) for parent, name in enumerate(("aa", "bb"))]
    for run in runs:
        registry.promote(run)
    registry.rollback(1)
    assert registry.champion() == 1
    assert [version.rolled_back for version in registry.versions()] == [False, True]
    # The night that made the version may be started again; a person's decision stands.
    assert registry.promote(runs[1]) == 2
    assert registry.champion() == 1
    registry.rollback(2)
    assert [version.aliases for version in registry.versions()] == [("previous",), ("champion",)]
    with pytest.raises(WrongInput, match=r"no version 7; there are v1, v2\."):
        registry.rollback(7)


def test_rollback_stands_even_if_the_night_was_killed_before_it_marked_its_version(registry, packaging, night):
    runs = [registry.log_night(night(name, parent), packaging) for parent, name in enumerate(("aa", "bb"))]
    for run in runs:
        registry.promote(run)
    with registry._connection.open() as client:
        client.delete_model_version_tag(registry.model, "2", "champion_since")
    registry.rollback(1)
    assert registry.promote(runs[1]) == 2
    assert registry.champion() == 1


def test_a_rollback_says_who_when_and_why_and_every_version_that_was_left_bears_it(registry, packaging, night):
    for parent, name in enumerate(("aa", "bb", "cc")):
        registry.promote(registry.log_night(night(name, parent), packaging))
    registry.rollback(1, by="mara", note="camera 4 had *moved*")
    (rollback,) = registry.rollbacks()
    assert (rollback.left, rollback.to, rollback.by, rollback.note) == (3, 1, "mara", "camera 4 had *moved*")
    assert [version.rolled_back for version in registry.versions()] == [False, True, True]
    assert [facts.left and (facts.left.left, facts.left.by) for facts in registry.runs()] == [(3, "mara")] * 2 + [None]
    with registry._connection.open() as client:
        described = client.get_registered_model("retain").description
        tags = client.get_model_version("retain", "2").tags
    assert described.startswith("**v1 is the champion**")
    assert r"by mara: camera 4 had \*moved\*" in described
    assert (tags["rolled_back_by"], tags["rolled_back_note"]) == ("mara", "camera 4 had *moved*")
    # What came back bears nothing any more; what was done is kept.
    registry.rollback(2, by="ada")
    assert [version.rolled_back for version in registry.versions()] == [False, False, True]
    assert [(rollback.left, rollback.to, rollback.by) for rollback in registry.rollbacks()] == [
        (1, 2, "ada"),
        (3, 1, "mara"),
    ]


def test_who_approves_what_does_not_build_on_the_champion_goes_back_from_it(registry, packaging, night):
    registry.promote(registry.log_night(night("aa"), packaging))
    registry.promote(registry.log_night(night("bb", 1), packaging))
    other = registry.log_night(night("cc", 1, "inconclusive"), packaging)
    registry.approve(other, by="mara", note="the other labels are right", overrule=True)
    left = registry.version(2).run.left
    assert (left.left, left.to, left.by, left.note) == (2, 3, "mara", "the other labels are right")


def test_a_rollback_of_before_it_was_recorded_is_read_as_it_is(registry, packaging, night):
    for parent, name in enumerate(("aa", "bb")):
        registry.promote(registry.log_night(night(name, parent), packaging))
    with registry._connection.open() as client:
        client.set_model_version_tag("retain", "2", "rolled_back", "2026-01-09T08:00:00+00:00")
        client.set_registered_model_alias("retain", "champion", "1")
    (rollback,) = registry.rollbacks()
    assert rollback.sentence() == "rolled back from v2 on 2026-01-09 at 08:00 UTC"
    assert registry.version(2).rolled_back


def test_what_a_person_wrote_about_the_model_stays(registry, packaging, night):
    registry.promote(registry.log_night(night("aa"), packaging))
    with registry._connection.open() as client:
        for theirs in ("Ask Mara first.", None):
            if theirs:
                client.update_registered_model("retain", theirs)
            describe_model(Lookup(client, "retain"))
            assert client.get_registered_model("retain").description.startswith("**v1 is the champion**")
            assert client.get_registered_model("retain").description.endswith("\n\n---\n\nAsk Mara first.")


def test_a_note_that_no_database_keeps_is_refused(registry):
    with pytest.raises(WrongInput, match=r"The note has 2,001 characters; at most 2,000 are kept\."):
        registry.rollback(1, by="mara", note="x" * 2001)


def test_runs_are_named_by_what_became_of_them(registry, packaging, night):
    def names():
        with registry._connection.open() as client:
            return [client.get_run(facts.run).info.run_name for facts in reversed(registry.runs())]

    registry.promote(registry.log_night(night("aa"), packaging))
    registry.promote(registry.log_night(night("bb", 1), packaging))
    registry.log_night(night("cc", 2, "refuse"), packaging)
    held = registry.log_night(night("dd", 2, held=True), packaging)
    assert names() == [
        "v1 · 2026-01-05 · accepted", "v2 · 2026-01-06 · accepted",
        "night 3 · 2026-01-07 · refused", "night 4 · 2026-01-07 · held",
    ]  # fmt: skip
    registry.approve(held, by="mara", note="")
    registry.rollback(1, by="mara")
    assert names()[1:] == [
        "v2 · 2026-01-06 · rolled back", "night 3 · 2026-01-07 · refused", "v3 · 2026-01-07 · rolled back"
    ]  # fmt: skip
    registry.rollback(3)
    assert names()[3] == "v3 · 2026-01-07 · approved"


def test_metrics_are_curves_over_the_nights_that_a_run_builds_on(registry, packaging, night):
    """MLflow draws a curve of the points of one run; a metric of one point a run is a bar."""
    registry.promote(registry.log_night(night("aa"), packaging))
    registry.log_night(night("bb", 1, "refuse"), packaging)
    run = registry.log_night(night("cc", 1), packaging)
    with registry._connection.open() as client:
        average = [(point.step, point.value) for point in client.get_metric_history(run, "average_accuracy")]
        steps = [point.step for point in client.get_metric_history(run, "macro_f1")]
        alone = [point.step for point in client.get_metric_history(run, "learned/2026-01-06-aaaaaaaa")]
    assert average == [(1, 0.9), (3, 0.9)]
    assert (steps, alone) == ([1, 3], [3])
    assert [facts.number for facts in registry.runs()] == [3, 2, 1]


def test_metrics_of_an_earlier_release_are_read_under_their_names_of_today(registry, packaging, night):
    """Renamed in MLflow: `average` is `average_accuracy`, `score/<batch>` is `test_accuracy/<batch>`."""
    names = {"average": 0.7, "forgetting_from_best": 0.1, "score/2026-01-05-aaaaaaaa": 0.6, "class/a": 0.5}
    registry.promote(registry.log_night(night("aa"), packaging))
    with registry._connection.open() as client, pytest.MonkeyPatch.context() as earlier:
        earlier.setattr("adapters.runs.metrics", lambda night: names)
        run = registry.log_night(night("bb", 1), packaging)
        assert names.items() <= client.get_run(run).data.metrics.items()
    registry.promote(run)
    read = registry.run(run).metrics
    assert read.items() >= {
        "average_accuracy": 0.7, "average_forgetting": 0.1,
        "test_accuracy/2026-01-05-aaaaaaaa": 0.6, "class_accuracy/a": 0.5,
    }.items()  # fmt: skip
    assert not names.keys() & read.keys()
    later = registry.log_night(night("cc", 2), packaging)
    with registry._connection.open() as client:
        curve = [(point.step, point.value) for point in client.get_metric_history(later, "average_accuracy")]
    assert curve == [(2, 0.7), (3, 0.9)]


def test_nights_that_an_earlier_retain_logged_are_read_as_they_are_and_counted(registry, packaging, night):
    registry.promote(registry.log_night(night("aa"), packaging))
    with registry._connection.open() as client:
        for run in registry.runs():
            for name in ("night", "day", "deliveries", "average", "experiences"):
                client.delete_tag(run.run, name)
                client.delete_model_version_tag("retain", "1", name)
        client.update_model_version("retain", "1", "Little was forgotten.")
    (old,) = registry.runs()
    assert (old.number, str(old.day), old.deliveries) == (0, "2026-01-05", ())
    registry.promote(registry.log_night(night("bb", 1), packaging))
    assert registry.runs(1)[0].number == 2
    with registry._connection.open() as client:
        described = client.get_registered_model("retain").description
    assert "| v1 | 2026-01-05 | 2026-01-05-aaaaaaaa | 90.0% | accepted |" in described


def test_a_version_says_what_it_learned_and_why_it_was_accepted(registry, packaging, night):
    run = registry.log_night(night("aa", decision="inconclusive"), packaging)
    registry.approve(run, by="ma_ra", note="looked at it")
    with registry._connection.open() as client:
        described = client.get_model_version("retain", "1").description
        note = client.get_run(run).data.tags["mlflow.note.content"]
    assert described == f"**Approved by ma\\_ra**: looked at it\n\n{note}"
    assert note.splitlines()[:3] == [
        "Too few images.", "", "Learned **monday**: 8 new images, new classes a; the first version."
    ]  # fmt: skip
    assert "| new: monday | – | 90.0% |" in note
    assert "| learned, monday | 90.0% | 80.0% and 95.0% | at least 50.0% |" in note
    registry.promote(registry.log_night(night("bb", 1), packaging))
    registry.rollback(1, by="mara", note="why")
    with registry._connection.open() as client:
        assert client.get_model_version("retain", "2").description.startswith("**Rolled back.** The model was rolled")
        assert client.get_model_version("retain", "1").description == described


def test_the_model_says_which_version_is_champion_why_and_what_was_left(registry, packaging, night):
    registry.promote(registry.log_night(night("aa"), packaging))
    registry.promote(registry.log_night(night("bb", 1), packaging))
    with registry._connection.open() as client:
        client.set_model_version_tag("retain", "2", "average", "0.95")
    registry.rollback(1, by="mara", note="why")
    with registry._connection.open() as client:
        lines = client.get_registered_model("retain").description.splitlines()
    assert lines[0] == "**v1 is the champion**, 90.0% right on average over 1 delivery. The alias `champion` names it."
    assert lines[2] == "Why: Little was forgotten."
    assert lines[4].startswith("It is the champion because a person wished so: rolled back from v2 to v1")
    assert lines[8].startswith("- v2, 95.0% right on average over 1 delivery, a higher score than v1's: rolled back")
    assert not any("aaaaaaaa" in line for line in lines), "no digest is among what is seen first"


def test_an_inconclusive_run_can_be_approved(registry, packaging, night):
    run = registry.log_night(night("aa", decision="inconclusive"), packaging)
    assert registry.approve(run[:8], by="mara", note="looked at the flips") == 1
    assert registry.champion() == 1
    (version,) = registry.versions()
    assert (version.run.approved_by, version.run.approval_note) == ("mara", "looked at the flips")
    assert registry.find("aa").approved_by == "mara"
    with pytest.raises(WrongInput, match="is v1 already"):
        registry.approve(run, by="mara", note="")


def test_a_refused_run_needs_to_be_overruled(registry, packaging, night):
    run = registry.log_night(night("aa", decision="refuse"), packaging)
    with pytest.raises(WrongInput, match=r"was refused: Much was forgotten\."):
        registry.approve(run, by="mara", note="")
    assert registry.approve(run, by="mara", note="we know", overrule=True) == 1


def test_approving_a_run_of_an_old_champion_needs_to_be_overruled(registry, packaging, night):
    held = registry.log_night(night("aa", held=True), packaging)
    registry.promote(registry.log_night(night("bb"), packaging))
    assert registry.find("aa").held
    with pytest.raises(WrongInput, match="started from v0, but v1 is the champion"):
        registry.approve(held, by="mara", note="")
    assert registry.approve(held, by="mara", note="", overrule=True) == 2


def test_an_unknown_or_ambiguous_run_is_named(registry, night):
    with registry._connection.open() as client:
        experiment = registry._experiment(client)
        for _ in range(17):
            client.set_terminated(client.create_run(experiment, tags=tags(night("aa"), 1)).info.run_id)
    firsts = [facts.run[0] for facts in registry.runs()]
    twice = next(first for first in firsts if firsts.count(first) > 1)
    with pytest.raises(WrongInput, match=f"runs begin with `{twice}`"):
        registry.run(twice)
    with pytest.raises(WrongInput, match="No finished run is called `nightmare`"):
        registry.run("nightmare")


def test_a_version_is_fetched_once(registry, packaging, night, tmp_path):
    registry.promote(registry.log_night(night("aa"), packaging))
    folder = registry.fetch(1, tmp_path / "versions")
    assert folder == tmp_path / "versions" / "1"
    assert (folder / "snapshot" / "weights.safetensors").read_bytes() == b"aa"
    assert ScoreMatrix.read(folder / "evaluation" / "scores.json").average() == 0.9
    assert [path.name for path in (tmp_path / "versions").iterdir()] == ["1"]
    shutil.rmtree(registry.artifacts)
    assert registry.fetch(1, tmp_path / "versions") == folder


def test_files_on_the_same_disk_are_stored_once(registry, packaging, night, tmp_path):
    registry.promote(registry.log_night(night("aa"), packaging))
    folder = registry.fetch(1, tmp_path / "versions")
    for name in ("weights.safetensors", "scores.json"):
        (stored,) = registry.artifacts.rglob(name)
        (fetched,) = folder.rglob(name)
        assert fetched.samefile(stored), name
    # Another version that takes its place leaves what is stored as it is.
    Snapshot(identity="another", parent=0).write(folder / "snapshot" / "snapshot.json")
    (stored,) = registry.artifacts.rglob("snapshot.json")
    assert Snapshot.read(stored).identity == "aa"


def test_files_of_another_disk_are_copied(registry, packaging, night, tmp_path, monkeypatch):
    registry.promote(registry.log_night(night("aa"), packaging))

    def refuse(source, target):
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    folder = registry.fetch(1, tmp_path / "versions")
    assert (folder / "snapshot" / "weights.safetensors").read_bytes() == b"aa"


def test_a_folder_that_holds_another_version_is_fetched_again(registry, packaging, night, tmp_path):
    registry.promote(registry.log_night(night("aa"), packaging))
    Snapshot(identity="of another registry", parent=0).write(tmp_path / "versions" / "1" / "snapshot" / "snapshot.json")
    (tmp_path / "versions" / "1" / "evaluation").mkdir()
    folder = registry.fetch(1, tmp_path / "versions")
    assert Snapshot.read(folder / "snapshot" / "snapshot.json").identity == "aa"


def test_an_unknown_version_is_wrong_input(registry, tmp_path):
    with pytest.raises(WrongInput, match=r"Model `retain` has no version 3; there is none yet\."):
        registry.fetch(3, tmp_path)


def test_files_that_mlflow_lost_are_missed(registry, packaging, night, tmp_path):
    run = registry.log_night(night("aa"), packaging)
    registry.promote(run)
    for file in registry.artifacts.rglob("snapshot.json"):
        file.unlink()
    with pytest.raises(DamagedState, match=f"files of run {run}"):
        registry.fetch(1, tmp_path / "versions")
    assert not (tmp_path / "versions" / "1").exists()


def test_two_registries_in_one_process_do_not_mix(registry, packaging, night, tmp_path, mlflow_database, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(mlflow_database, tmp_path / "other.db")
    other = Registry(f"sqlite:///{tmp_path / 'other.db'}", tmp_path / "other", "retain")
    registry.promote(registry.log_night(night("aa"), packaging))
    assert (registry.champion(), other.champion()) == (1, 0)
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_names_of_metrics_hold_only_what_mlflow_allows(night):
    judged = night("aa")
    finding = judged.verdict.findings[0].model_copy(update={"subject": "odd: name?"})
    odd = judged.verdict.model_copy(update={"findings": (finding,)})
    assert "learned/odd_ name_" in metrics(
        JudgedNight(judged.facts, judged.matrix, odd, judged.candidate, judged.evaluation)
    )


def test_every_label_has_a_metric_of_its_own():
    odd = ["a:b", "a?b", "a/b", ".", "..", ":", "x" * 200 + "y", "x" * 200 + "z", "x" * 201]
    names = label_names(["a_b", "t-shirt", "Füße 画像", *odd])
    assert [names.pop(plain) for plain in ("a_b", "t-shirt", "Füße 画像")] == ["a_b", "t-shirt", "Füße 画像"]
    assert names["a:b"].startswith("a_b-")
    assert len({"a_b", *names.values()}) == 1 + len(odd)
    assert max(map(len, names.values())) < 250 - len("class_accuracy/")


def test_a_fresh_database_is_made_in_silence(tmp_path, capfd, caplog):
    assert Registry(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}", None, "retain").champion() == 0
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.getLogger("alembic").level == logging.ERROR


def test_an_address_that_nobody_answers_is_told_at_once(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(Unavailable, match=f"Nobody answers at http://127.0.0.1:{port}"):
        Registry(f"http://127.0.0.1:{port}", None, "retain").champion()


def test_a_password_in_the_address_is_not_shown():
    with pytest.raises(Unavailable) as raised:
        Registry("postgresql://mlflow:secret@127.0.0.1:9/retain", None, "retain").champion()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "address", ["", "file:///tmp/mlruns", "./mlruns", "ftp://host/x", "http://host:eighty", "http:///x"]
)
def test_an_address_of_a_kind_that_keeps_no_registry_is_wrong_input(address):
    with pytest.raises(WrongInput, match="an address is like http://host:port"):
        Registry(address, None, "retain")


def test_a_night_starts_from_the_champion_and_only_in_the_registry_of_the_night_before(registry, packaging, night):
    assert registry.start(0) == 0
    with pytest.raises(WrongInput, match=r"run\.json names v1 of `retain`, but .* has no version at all"):
        registry.start(1)
    for number in (1, 2):
        registry.promote(registry.log_night(night(f"{number:02d}", parent=number - 1), packaging))
    assert (registry.start(0), registry.start(1), registry.start(2)) == (2, 2, 2)
    registry.rollback(1)
    assert registry.start(2) == 1
    with pytest.raises(WrongInput, match=r"names v4 of `retain`, but .* has only v1, v2\. Name the registry that has"):
        registry.start(4)
    with registry._connection.open() as client:
        client.delete_registered_model_alias("retain", "champion")
    with pytest.raises(WrongInput, match=r"no version is the champion there\. `retain rollback 2` makes it so"):
        registry.start(2)
    registry.rollback(2)
    assert registry.start(2) == 2


def test_where_a_registry_stands_takes_as_few_questions_after_many_nights_as_after_one(registry, packaging, night):
    """It is what `retain status` asks."""

    def questions() -> int:
        asked: list[str] = []
        note = lambda connection, cursor, statement, *more: asked.append(statement)  # noqa: E731
        event.listen(Engine, "before_cursor_execute", note)
        try:
            results = registry.version(registry.start(0)), registry.runs(1), registry.rollbacks()
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        assert results[0].run.run == results[1][0].run
        return len(asked)

    counted = []
    for number in range(3):
        registry.promote(registry.log_night(night(f"{number:02d}", parent=number), packaging))
        counted.append(questions())
    assert counted[0] == counted[1] == counted[2] < 100


def test_a_file_that_is_no_database_is_unavailable(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database at all, but long enough to be looked at by SQLite" * 20)
    with pytest.raises(Unavailable, match=r"MLflow at sqlite:///.*mlflow\.db failed: .*file is not a database$"):
        Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", None, "retain").champion()


def test_a_place_that_cannot_be_written_is_unavailable(tmp_path, mlflow_database, packaging, night):
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    (tmp_path / "file").write_text("in the way")
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "file", "retain")
    with pytest.raises(Unavailable, match=r"failed: .*file"):
        registry.log_night(night("aa"), packaging)
    assert registry.runs() == ()
