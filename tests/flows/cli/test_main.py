"""Commands as they are typed: wrong ones get a sentence and exit code 2, right ones a table or a JSON document."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from adapters.packaging import Packaging
from adapters.registry import Registry
from adapters.runs import JudgedNight
from flows.cli.main import app
from records.batch import Batch, Shard, shortened
from records.experience import Experience
from records.registration import RunFile
from records.runs import NightFacts
from records.scores import Score, ScoreMatrix, ScoreRow
from records.snapshot import InputSpec, Snapshot
from records.verdict import Finding, Verdict
from tasks.evaluate.tables import OUTCOMES
from tasks.workspace.versions import registry_of
from tasks.workspace.workspace import Workspace
from tests.dataset.deliveries.masks import lay_out, png

RETAIN = [sys.executable, "-m", "flows.cli.main"]
COMMANDS = [str(command.name or command.callback.__name__) for command in app.registered_commands]
MODEL = """
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

class Silent(PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        return model_input

set_model(Silent())
"""
BEFORE = "2025-12-01-" + "0e8d" * 8
BATCHES = ("2026-01-05-aaaaaaaa", "2026-01-06-bbbbbbbb", "2026-01-07-cccccccc")


# Help


def test_help_shows_every_command_and_how_to_begin(retain):
    result = retain("--help")
    assert result.code == 0
    assert all(f" {name} " in result.out for name in COMMANDS)
    assert "retain init shop" in result.out
    assert retain().out == result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(retain, command):
    result = retain(command, "--help")
    assert result.code == 0
    assert f"Usage: retain {command} " in result.out


@pytest.mark.parametrize("command", ["init", "ingest", "night", "compare", "approve"])
def test_commands_that_take_something_show_an_example(retain, command):
    assert f"  retain {command} " in retain(command, "--help").out


def test_help_needs_no_heavy_library():
    code = "import sys; sys.argv=['retain', '--help']; from flows.cli.main import main; main(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "mlflow", "prefect", "pandas", "great_expectations"} & set(
        done.stdout.splitlines()[-1].split()
    )


def test_the_version_is_told(retain):
    assert retain("--version").out.strip() == "0.1.0"


# Wrong commands

WRONG = {
    "no such command": (["statsu"], "No such command 'statsu'. Did you mean 'status'? `retain --help` shows"),
    "no such option": (
        ["status", "--jsno"],
        "No such option: --jsno (Possible options: --json). `retain",
    ),
    "nothing to ingest": (["ingest"], "Missing argument 'SOURCE'. `retain ingest --help` shows how it is used."),
    "missing source": (["ingest", "gone"], "gone does not exist. Name a folder of class folders, or a .csv"),
    "unknown strategy": (["night", "--strategy", "reply"], "Invalid value for '--strategy': "),
    "no epochs": (["night", "--epochs", "0"], "Invalid value for '--epochs': "),
    "negative memory": (["night", "--memory", "-1"], "Invalid value for '--memory': "),
    "no day": (["night", "--arrived", "tomorrow"], "--arrived is 'tomorrow', which is not a day; write it as 2026-"),
    "no day of ours": (["night", "--arrived", "2026-02-30"], "--arrived is '2026-02-30', which is not a day"),
    "no version": (["compare", "1", "latest"], "'latest' is not a version; write its number, for example 3 or v3."),
    "version zero": (["compare", "0", "1"], "'0' is not a version"),
    "version in other digits": (["rollback", "²"], "'²' is not a version"),
    "version without end": (["rollback", "9" * 5000], "is not a version"),
    "unknown version": (["compare", "1", "2"], "Model `retain` has no version 1; there is none yet."),
    "rollback to nothing": (["rollback", "v3"], "Model `retain` has no version 3; there is none yet."),
    "unknown run": (["approve", "c0ffee"], "No finished run is called `c0ffee` in the registry of `retain`;"),
    "no nights": (["history", "--limit", "0"], "Invalid value for '--limit': "),
    "init where something is": (["init", "shop"], "/shop is not empty. Name a folder that is empty or does not exist"),
    "demo where something is": (["demo", "-w", "shop"], "/shop is not empty."),
    "demo without its images": (["demo", "--root", "gone"], "gone is not a folder. --root names the folder that holds"),
    "unknown stream": (["stream", "cifar"], "Invalid value for '"),
    "port": (["ui", "--mlflow-port", "70000"], "Invalid value for '--mlflow-port': "),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_command_gets_a_sentence(retain, workspace, monkeypatch, everything_below, case):
    words, sentence = WRONG[case]
    monkeypatch.chdir(workspace.root.parent)
    if words[0] not in ("init", "demo", "statsu"):
        monkeypatch.setenv("RETAIN_WORKSPACE", str(workspace.root))
    before = everything_below(workspace.root)
    result = retain(*words)
    assert (result.code, result.out) == (2, "")
    assert sentence in result.sentence
    assert result.err.count("\n") == 1
    assert everything_below(workspace.root) == before


@pytest.mark.parametrize(
    "words", [["status"], ["history"], ["params"], ["night"], ["ui"], ["ingest", "."], ["compare", "1", "2"]], ids=str
)
def test_a_folder_that_is_no_workspace_is_named_with_the_remedy(retain, tmp_path, words):
    result = retain(*words, "-w", tmp_path)
    assert result.code == 2
    assert result.sentence == (
        f"{tmp_path} is not a retain workspace: it has no params.yaml. "
        f"Name one with --workspace, or make one with `retain init {tmp_path}`."
    )
    assert not list(tmp_path.iterdir())


def test_a_workspace_that_does_not_exist(retain, tmp_path):
    result = retain("status", "-w", tmp_path / "gone")
    assert (result.code, result.sentence) == (
        2, f"{tmp_path}/gone does not exist. Make a workspace there with `retain init {tmp_path}/gone`.",
    )  # fmt: skip
    (tmp_path / "file").touch()
    assert retain("status", "-w", tmp_path / "file").sentence.startswith(f"{tmp_path}/file is a file.")


# init


def test_init_makes_a_workspace_and_says_what_comes_next(retain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = retain("init", "my shop", "--remote", "store")
    assert result.code == 0
    assert result.out == (
        "Made my shop. Put images below my shop/inbox/<delivery>/<class>/ and run `retain night -w 'my shop'`.\n"
    )
    assert f"url = {tmp_path / 'store'}" in (tmp_path / "my shop" / ".dvc" / "config").read_text()


def test_init_keeps_addresses_and_a_key_of_its_own(retain, tmp_path):
    result = retain("init", tmp_path / "shop", "--mlflow", "http://mlflow:5000", "--prefect", "http://prefect:4200/api")
    assert result.code == 0
    kept = Workspace(tmp_path / "shop").settings_file()
    assert (kept.mlflow, kept.prefect) == ("http://mlflow:5000", "http://prefect:4200/api")
    assert re.fullmatch("[0-9a-f]{32}", kept.split_key)


@pytest.mark.parametrize(
    ("option", "address", "sentence"),
    [
        ("--mlflow", "http://ada:s3cret@mlflow", "--mlflow: the address holds a user, password or token, and it would"),
        ("--mlflow", "mlflow", "MLflow cannot keep a registry at `mlflow` (workspace.json): an address is like"),
        ("--prefect", "prefect:4200", "--prefect: the address of Prefect's API is like http://host:4200/api."),
        ("--remote", "https://ada:s3cret@store", "The address of the remote, https://store, holds a user, password"),
    ],
)
def test_init_refuses_an_address_that_it_cannot_keep(retain, tmp_path, option, address, sentence):
    result = retain("init", tmp_path / "shop", option, address)
    assert (result.code, result.sentence[: len(sentence)]) == (2, sentence)
    assert "s3cret" not in result.err
    assert not list(tmp_path.iterdir())


def test_init_that_fails_leaves_nothing(retain, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    result = retain("init", tmp_path / "shop")
    assert result.code == 2
    assert result.sentence.startswith("git is not installed or not on the PATH")
    assert not list(tmp_path.iterdir())


# ingest


def test_ingest_tells_of_masks_that_the_problem_does_not_need(retain, workspace, tmp_path):
    files = {"images/1.png": png([[0, 1], [2, 3]]), "masks/1.png": png([[0, 1], [1, 1]]), "classes.txt": "none\ncat\n"}
    told = retain("ingest", lay_out(tmp_path / "masked", files), "-w", workspace.root).out
    assert "It comes with masks, and `update.problem` is `classification`: the next night will quarantine it" in told
    assert "learns it" not in told
    assert "images/, masks/ and classes.txt" in retain("ingest", "--help").out


def test_ingest_tells_of_the_batch_and_the_same_again_adds_nothing(retain, workspace, deliver, tmp_path):
    folder = deliver(tmp_path / "monday", {"bar": 3, "column": 2})
    first = retain("ingest", folder, "-w", workspace.root, "--arrived", "2026-03-02")
    assert first.code == 0
    assert "5 images, 2 classes (bar, column). The next night" in first.out
    again = retain("ingest", folder, "-w", workspace.root, "--json")
    document = json.loads(again.out)
    assert (again.code, document["known"], document["batch"]["images"]) == (0, True, 5)
    assert first.out.startswith(f"Ingested {shortened(document['batch']['id'])}: ")
    assert document["batch"]["id"].startswith("2026-03-02-")
    assert len(list(folder.rglob("*.png"))) == 5
    status = json.loads(retain("status", "-w", workspace.root, "--json").out)
    assert status["pending"] == [document["batch"]["id"]]


# What is told of judged nights


def judged(folder: Path, number: int, parent: int, decision: str, held: bool = False) -> JudgedNight:
    """A night that learned batch `number`, with hand-made answers."""
    known = BATCHES[:parent] + BATCHES[number : number + 1]
    experiences = tuple(
        Experience(batch=b, digest="d", classes=("a", "b"), train=8, validation=0, test=2) for b in known
    )
    spec = InputSpec(channels=1, height=4, width=5, mean=(0.5,), std=(0.2,))
    Snapshot(identity=f"{number:064x}", parent=parent, classes=("a", "b"), experiences=experiences, spec=spec).write(
        folder / "candidate" / "snapshot.json"
    )
    score = Score(overall=0.5, among_known=0.5, images=2)
    names = [*(f"v{v}" for v in range(1, parent + 1)), "candidate"]
    rows = [ScoreRow(version=name, scores=dict.fromkeys(known[: at + 1], score)) for at, name in enumerate(names)]
    matrix = ScoreMatrix(experiences=known, new=known[-1:], rows=tuple(rows))
    matrix.write(folder / "evaluation" / "scores.json")
    # Of its own batch it knows the first image, of earlier ones the second.
    rows = [
        {"experience": b, "image": f"{b}/{i}", "label": label, "answer": "a" if b == known[-1] else "b",
         "confidence": 1.0, "overall": float(i == (b != known[-1])), "among_known": 1.0}
        for b in known for i, label in enumerate(("a", "b"))
    ]  # fmt: skip
    parquet.write_table(pa.Table.from_pylist(rows), folder / "evaluation" / OUTCOMES)
    finding = Finding(question="forgotten", subject="mean", estimate=-0.01, lower=-0.03, upper=0.02, limit=0.05,
                      images=2, decision="accept")  # fmt: skip
    reason = f"{decision.capitalize()}, and why{f': most of {BEFORE}' if held else ''}."
    verdict = Verdict(decision=decision, reason=reason, gate="test", confidence=0.95, findings=(finding,))
    facts = NightFacts(identity=f"{number:064x}", day=date(2026, 1, 5 + number), parent=parent, batches=known[-1:],
                       images=8, data_revision="0.dir", commit="c0ffee", code="beef")  # fmt: skip
    return JudgedNight(facts, matrix, verdict, folder / "candidate", folder / "evaluation", held)


@pytest.fixture(scope="session")
def shop(template, tmp_path_factory):
    """A workspace with two versions, one night that was refused and one that is held. Nobody alters it."""
    root = tmp_path_factory.mktemp("judged") / "shop"
    shutil.copytree(template, root, symlinks=True)
    place = Workspace(root)
    (place.inbox / "monday").mkdir()
    script = root.parent / "silent.py"
    script.write_text(MODEL)
    program = root.parent / "program"
    program.mkdir()
    (program / "network.json").write_text("{}")
    packaging = Packaging(script=script, program=program, requirements=("numpy",))
    registry = Registry(f"sqlite:///{place.state / 'mlflow.db'}", place.mlflow_artifacts, "retain")
    nights = ((0, 0, "accept", False), (1, 1, "accept", False), (2, 2, "refuse", False), (2, 2, "accept", True))
    for count, (number, parent, decision, held) in enumerate(nights):
        night = judged(root.parent / str(count), number, parent, decision, held)
        run = registry.log_night(night, packaging)
        if decision == "accept" and not held:
            registry.promote(run)
    return place


def test_models_of_a_database_elsewhere_are_kept_in_the_workspace(retain, workspace, template, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    other = shutil.copy(template / ".retain" / "mlflow.db", tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    script, program = tmp_path / "silent.py", tmp_path / "program"
    script.write_text(MODEL)
    program.mkdir()
    registry_of(workspace).log_night(
        judged(tmp_path / "night", 0, 0, "accept"), Packaging(script=script, program=program, requirements=("numpy",))
    )
    assert retain("history", "-w", workspace.root).code == 0
    assert len(list((workspace.state / "mlartifacts").rglob("scores.json"))) == 1
    assert not list(here.iterdir())


def test_another_registry_than_the_last_night_learned_from_is_one_sentence(
    retain, shop, template, tmp_path, monkeypatch
):
    place = Workspace(shutil.copytree(shop.root, tmp_path / "shop", symlinks=True))
    RunFile(parent=2, batches=BATCHES[2:3]).write(place.run)
    assert retain("status", "-w", place.root).code == 0
    retain("rollback", "1", "-w", place.root)
    assert "v1" in retain("status", "-w", place.root).out
    other = shutil.copy(template / ".retain" / "mlflow.db", tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    for words in (["status"], ["quarantine", "release", "2026"]):
        result = retain(*words, "-w", place.root)
        assert result.code == 2
        assert result.sentence == (
            f"run.json names v2 of `retain`, but the registry at sqlite:///{other} (MLFLOW_TRACKING_URI) has no "
            "version at all. Name the registry that has it in MLFLOW_TRACKING_URI, or as `mlflow` in workspace.json; "
            "to begin anew in this one, remove run.json."
        )


@pytest.fixture
def copied(shop, tmp_path):
    """A copy that may be altered. MLflow's files stay where they are: their address is in its database."""
    ignore = shutil.ignore_patterns("mlartifacts")
    return Workspace(Path(shutil.copytree(shop.root, tmp_path / "copy", symlinks=True, ignore=ignore)))


def test_status_names_champion_and_what_waits(retain, shop, monkeypatch):
    monkeypatch.chdir(shop.root.parent)
    result = retain("status", "-w", "shop")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "retain v2 is the champion: 50.0% on average over 2 experiences, 2 classes."
    assert "classes      a, b" in lines
    assert "inbox        monday" in lines
    assert "             Accept, and why: most of 2025-12-01-0e8d0e8d." in lines
    assert "To approve it manually: retain approve " in result.out
    assert lines[-1] == "The next night will take 1 delivery: retain night -w shop"


def test_status_calls_the_deliveries_of_a_verdict_by_their_names(retain, copied):
    batch = Batch(
        id=BEFORE, digest="0", arrived=date(2025, 12, 1), source="monday", images=1, classes=("a",), shards=()
    )
    batch.write(copied.batches / BEFORE / "batch.json")
    assert "Accept, and why: most of monday (2025-12-01)." in retain("status", "-w", copied.root).out
    assert json.loads(retain("status", "-w", copied.root, "--json").out)["last"]["reason"].endswith(f"of {BEFORE}.")


def test_status_as_json(retain, shop):
    document = json.loads(retain("status", "-w", shop.root, "--json").out)
    assert document["champion"]["number"] == 2
    assert document["inbox"] == ["monday"]
    assert document["last"]["held"] is True


def test_status_of_a_new_workspace_says_how_to_begin(retain, workspace, monkeypatch):
    monkeypatch.chdir(workspace.root)
    result = retain("status")
    assert result.out.startswith("retain has no version yet.\n")
    assert result.out.endswith("Put images below inbox/<delivery>/<class>/, then run `retain night`.\n")


def test_history_lists_nights_newest_first(retain, shop):
    lines = retain("history", "-w", shop.root).out.splitlines()
    assert " ".join(lines[0].split()) == "ended (UTC) verdict version parent average forgotten run learned"
    assert [line.split()[2] for line in lines[1:]] == ["held", "refused", "accepted", "accepted"]
    assert "v2 champion" in lines[3]
    assert " 0.0%" in lines[3], "what is below zero is not forgotten"
    assert lines[3].endswith(BATCHES[1])
    document = json.loads(retain("history", "-w", shop.root, "--limit", "1", "--json").out)
    assert [run["decision"] for run in document] == ["accept"]
    assert document[0]["run"].startswith(lines[1].split()[7])


def test_compare_shows_what_was_lost_and_gained(retain, shop):
    result = retain("compare", "1", "v2", "-w", shop.root)
    assert result.code == 0
    rows = [line.split() for line in result.out.splitlines()]
    assert [BATCHES[0], "2", "50.0%", "50.0%", "0.0", "1", "1"] in rows
    assert [BATCHES[1], "2", "–", "50.0%"] in rows
    assert "lost as      a → b (1)" in result.out
    document = json.loads(retain("compare", "1", "2", "-w", shop.root, "--json").out)
    assert (document["total"]["lost"], document["confused"]) == (1, {"a → b": 1})


def write_batch(place: Workspace, batch: str, **columns: list[str]) -> None:
    """A batch of the two images that `judged` tests with, and what was delivered with them."""
    further = {f"user.{name}": values for name, values in columns.items()}
    facts = {"image": [f"{batch}/0", f"{batch}/1"], "label": ["a", "b"], "split": ["test"] * 2, "format": ["PNG"] * 2}
    folder = place.batches / batch
    folder.mkdir(parents=True)
    parquet.write_table(pa.table(facts | further), folder / "images-00000.parquet")
    shard = Shard(name="images-00000.parquet", rows=2, bytes=0, sha256="")
    day = date.fromisoformat(batch[:10])
    record = Batch(id=batch, digest="", arrived=day, source=f"from {batch[:10]}", images=2, classes=("a", "b"),
                   columns=tuple(columns), shards=(shard,))  # fmt: skip
    record.write(folder / "batch.json")


def test_compare_by_a_column_shows_a_row_a_value(retain, copied):
    write_batch(copied, BATCHES[0], camera=["le\x1bft", ""])
    result = retain("compare", "1", "v2", "--by", "camera", "-w", copied.root)
    assert result.code == 0, result.err
    assert [" ".join(line.split()) for line in result.out.splitlines()] == [
        "v2 against v1 by camera, on the 2 test images that both were examined on",
        "camera images v1 v2 change lost gained",
        "(none) 1 0.0% 100.0% +100.0 0 1",
        "le\\x1bft 1 100.0% 0.0% -100.0 1 0",
    ]
    document = json.loads(retain("compare", "1", "2", "--by", "source", "-w", copied.root, "--json").out)
    assert [(v["subject"], v["images"], v["lost"], v["gained"]) for v in document["values"]] == [
        ("from 2026-01-05", 2, 1, 1)
    ]
    write_batch(
        copied, BATCHES[1], camera=["right", "right"]
    )  # Another column may be one of what v2 alone has learned.
    result = retain("compare", "1", "2", "--by", "lens", "-w", copied.root)
    assert (result.code, result.sentence) == (
        2, "There is no column 'lens' to compare by; there are: camera, format, label, mode, source."
    )  # fmt: skip
    result = retain("compare", "1", "2", "--by", "", "-w", copied.root)
    assert "There is no column '' to compare by" in result.sentence


def test_compare_with_a_version_that_does_not_exist(retain, shop):
    result = retain("compare", "1", "9", "-w", shop.root)
    assert (result.code, result.sentence) == (2, "Model `retain` has no version 9; there are v1, v2.")


def test_a_refused_night_is_not_approved_by_mistake(retain, shop):
    refused = json.loads(retain("history", "-w", shop.root, "--json").out)[1]["run"]
    result = retain("approve", refused[:8], "-w", shop.root)
    assert result.code == 2
    assert f"Run {refused} was refused: Refuse, and why." in result.sentence


def test_rollback_makes_an_earlier_version_the_champion(retain, copied):
    result = retain("rollback", "1", "-w", copied.root)
    assert (result.code, result.out) == (0, "v1 is the champion, v2 no longer. What v1 has not learned is pending.\n")
    assert retain("rollback", "v1", "-w", copied.root).out == "v1 is the champion already; nothing was changed.\n"
    document = json.loads(retain("rollback", "2", "-w", copied.root, "--json", "--by", "ada").out)
    assert document == {"model": "retain", "champion": 2, "before": 1}
    assert retain("rollback", "7", "-w", copied.root).sentence == "Model `retain` has no version 7; there are v1, v2."


def test_after_a_rollback_nobody_is_told_to_approve_what_builds_on_the_version_that_was_left(retain, copied):
    assert "To approve it manually" in retain("status", "-w", copied.root).out
    retain("rollback", "1", "-w", copied.root, "--by", "mara", "--note", "camera 4 had moved")
    output = retain("status", "-w", copied.root).out
    assert "approve" not in output
    assert "It was learned on top of v2, which is not the champion now" in output
    assert re.search(r"^rollback +rolled back from v2 to v1 on .* by mara: camera 4 had moved$", output, flags=re.M)
    document = json.loads(retain("status", "-w", copied.root, "--json").out)
    assert (document["approvable"], document["rollback"]["left"]) == (False, 2)
    rows = [line.split() for line in retain("history", "-w", copied.root).out.splitlines()[1:]]
    assert [row[2:5] for row in rows][:2] == [["rolled", "back", "v2"], ["held", "–", "v2"]]
    assert rows[0][5:] == ["→", "v1", "by", "mara:", "camera", "4", "had", "moved"]
    assert rows[3][2:6] == ["accepted", "v2", "rolled", "back"]
    assert rows[4][2:5] == ["accepted", "v1", "champion"]


def test_status_says_that_the_last_night_s_version_was_rolled_back(retain, copied):
    run = json.loads(retain("history", "-w", copied.root, "--json").out)[0]["run"]
    registry = Registry(f"sqlite:///{copied.state / 'mlflow.db'}", copied.mlflow_artifacts, "retain")
    registry.approve(run, by="ada", note="")
    retain("rollback", "2", "-w", copied.root, "--by", "mara")
    assert "approved as v3, rolled back since" in retain("status", "-w", copied.root).out


def test_a_decision_is_somebody_s(retain, copied, monkeypatch):
    monkeypatch.setenv("USER", "mara")
    retain("rollback", "1", "-w", copied.root)
    assert "by mara" in retain("status", "-w", copied.root).out
    result = retain("rollback", "2", "-w", copied.root, "--by", " ")
    assert (result.code, result.sentence[:7]) == (2, "Nobody ")


def test_params_show_what_differs_from_the_default(retain, workspace):
    content = workspace.params.read_text()
    workspace.params.write_text(content.replace("validate:", "validate:\n  min_test: 7"))
    lines = [line.split() for line in retain("params", "-w", workspace.root).out.splitlines()]
    assert ["validate.min_test", "7", "(default", "5)"] in lines
    assert ["validate.min_side", "8"] in lines
    assert json.loads(retain("params", "-w", workspace.root, "--json").out)["validate"]["min_test"] == 7


def test_params_say_what_is_called_otherwise_now(retain, workspace):
    workspace.params.write_text(workspace.params.read_text().replace("reference_confidence: 0.95", "better: 0.9"))
    output = " ".join(retain("params", "-w", workspace.root).out.split())
    assert "`evaluate.better` is `reference_confidence` now. It was read as it was meant" in output


# How a command ends


def test_a_defect_is_told_as_such_without_a_traceback(retain, workspace, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("tasks.queries.status.status_of", broken)
    result = retain("status", "-w", workspace.root)
    assert result.code == 1
    assert result.sentence.startswith("This is a defect of retain, not of your input: ZeroDivisionError: a defect (")
    monkeypatch.setenv("RETAIN_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        retain("status", "-w", workspace.root)


def test_ctrl_c_ends_a_night_with_130_and_a_word(workspace):
    env = {key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"}
    night = subprocess.Popen(
        [*RETAIN, "night", "-w", workspace.root],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in its background has them ignore Ctrl-C, which would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert night.stderr.readline() == "starting Prefect\n"
    night.send_signal(signal.SIGINT)
    out, err = night.communicate(timeout=60)
    assert (night.returncode, out, err) == (130, "", "Stopped.\n")


def test_output_that_nobody_reads_is_no_failure():
    with subprocess.Popen([*RETAIN, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
        command.stdout.close()
        assert command.stderr.read() == ""


def test_who_is_stopped_leaves_no_temporary_folder(tmp_path):
    code = (
        "from multiprocessing.util import get_temp_dir\n"
        "from flows.cli import main\n"
        "def stopped(*arguments, **options):\n"
        "    print(get_temp_dir(), flush=True)\n"
        "    raise KeyboardInterrupt\n"
        "main.app = stopped\n"
        "main.main()\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (130, "Stopped.")
    assert done.stdout.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
