"""A new workspace is whole, or it is not there."""

import os
import subprocess

import pytest

from records.errors import NotAWorkspace, Unavailable, WrongInput
from records.registration import RunFile
from tasks.creation import create
from tasks.params import Params, read_params
from tasks.workspace import Workspace, workers


def git(root, *words) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Workspace:
    return create(tmp_path_factory.mktemp("made") / "not there" / "shop", remote="s3://bucket/shop")


def test_a_new_workspace_can_be_opened_and_is_committed(made):
    assert Workspace.open(made.root) == made
    assert git(made.root, "status", "--porcelain") == ""
    assert {"params.yaml", "run.json", "dvc.yaml", "prefect.yaml", ".gitignore", ".dvc/config"} <= set(
        git(made.root, "ls-files").split()
    )
    assert made.inbox.is_dir()
    assert made.batches.is_dir()


def test_what_belongs_to_this_machine_and_what_arrives_is_not_in_git(made):
    (made.inbox / "monday").mkdir()
    (made.inbox / "monday" / "1.png").touch()
    (made.state / "mlflow.db").touch()
    assert git(made.root, "status", "--porcelain") == ""


def test_its_parameters_are_the_defaults(made):
    assert read_params(made.params) == Params()
    assert made.run_file() == RunFile()


def test_the_remote_is_set(made):
    assert "url = s3://bucket/shop" in (made.root / ".dvc" / "config").read_text()


def test_other_parameters_may_be_chosen(tmp_path):
    workspace = create(tmp_path, params="params-digits.yaml")
    assert read_params(workspace.params).register_.model == "digits"


@pytest.mark.parametrize("what", ["file in it", "hidden file in it", "a file itself"])
def test_what_is_there_already_is_not_touched(tmp_path, what):
    there = {"file in it": "shop/notes.txt", "hidden file in it": "shop/.notes", "a file itself": "shop"}[what]
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("mine")
    with pytest.raises(WrongInput, match=r"is not empty\. Name a folder that is empty or does not exist yet"):
        create(tmp_path / "shop")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / there]
    assert (tmp_path / there).read_text() == "mine"


@pytest.mark.parametrize("there", [True, False])
def test_what_fails_leaves_nothing_behind(tmp_path, monkeypatch, there):
    if there:
        (tmp_path / "shop").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(Unavailable, match="git is not installed"):
        create(tmp_path / "shop")
    assert [path.name for path in tmp_path.rglob("*")] == ["shop"] * there


def test_what_is_no_workspace_is_not_opened(tmp_path):
    with pytest.raises(NotAWorkspace, match=r"it has no params\.yaml"):
        Workspace.open(tmp_path)
    (tmp_path / "params.yaml").touch()
    with pytest.raises(NotAWorkspace, match=r"it has no \.dvc"):
        Workspace.open(tmp_path)
    with pytest.raises(NotAWorkspace, match="is a file"):
        Workspace.open(tmp_path / "params.yaml")
    with pytest.raises(NotAWorkspace, match=r"does not exist\. Make a workspace there with `retain init"):
        Workspace.open(tmp_path / "gone")


@pytest.mark.parametrize(("given", "number"), [("3", 3), ("", os.cpu_count())])
def test_the_number_of_workers(monkeypatch, given, number):
    monkeypatch.setenv("RETAIN_WORKERS", given)
    assert workers() == number


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5"])
def test_a_number_of_workers_that_is_none(monkeypatch, given):
    monkeypatch.setenv("RETAIN_WORKERS", given)
    with pytest.raises(WrongInput, match="it must be a whole number of processes, 1 or more"):
        workers()
