"""A new workspace is whole, or it is not there."""

import os
import subprocess

import pytest

from adapters.datastore import DataStore
from records.addresses import WorkspaceFile
from records.errors import NotAWorkspace, Unavailable, WrongInput, WrongParameters
from records.registration import RunFile
from tasks.ingest.settings import workers
from tasks.params.params import Params, read_params
from tasks.workspace.creation import create
from tasks.workspace.workspace import Workspace


def git(root, *words) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Workspace:
    return create(tmp_path_factory.mktemp("made") / "not there" / "shop", remote="https://store.example/shop")


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
    assert "url = https://store.example/shop" in (made.root / ".dvc" / "config").read_text()


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


def test_what_others_put_there_meanwhile_stays_when_making_is_interrupted(tmp_path, monkeypatch):
    def put_and_interrupt(store, remote):
        (tmp_path / "shop" / "inbox" / "monday").mkdir()
        (tmp_path / "shop" / "inbox" / "monday" / "1.png").write_text("mine")
        (tmp_path / "shop" / "notes.txt").write_text("mine")
        raise KeyboardInterrupt

    (tmp_path / "shop").mkdir()
    monkeypatch.setattr(DataStore, "init", put_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        create(tmp_path / "shop")
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"shop/notes.txt", "shop/inbox/monday/1.png"}


def test_a_workspace_is_told_once_where_everything_is(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    workspace_file = WorkspaceFile(mlflow="http://mlflow:5000", prefect="https://prefect:4200/api", split_key="0" * 32)
    made = create(tmp_path / "shop", workspace_file=workspace_file)
    assert made.settings_file() == workspace_file
    assert (made.mlflow_address, made.prefect_address) == ("http://mlflow:5000", "https://prefect:4200/api")
    assert git(made.root, "show", "HEAD:workspace.json") == made.settings.read_text()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert (made.mlflow_address, made.prefect_address) == ("http://127.0.0.1:9", "http://127.0.0.1:9/api")


def test_a_workspace_that_was_told_nothing_uses_its_own(made, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert not made.settings.exists()
    assert made.settings_file() == WorkspaceFile()
    assert (made.mlflow_address, made.prefect_address) == (f"sqlite:///{made.state}/mlflow.db", None)
    assert made.mlflow_artifacts == str(made.state / "mlartifacts")


@pytest.mark.parametrize(
    ("address", "given", "kept_at", "remote", "where"),
    [
        ("", "", None, "s3://bucket/shop", "{root}/.retain/mlartifacts"),
        ("postgresql://db/mlflow", "", None, None, "{root}/.retain/mlartifacts"),
        ("postgresql://db/mlflow", "", None, "/mnt/store", "{root}/.retain/mlartifacts"),
        ("postgresql://db/mlflow", "", None, "s3://bucket/shop/", "s3://bucket/shop/mlartifacts"),
        ("postgresql://db/mlflow", "", "gs://models", "s3://bucket/shop", "gs://models"),
        ("postgresql://db/mlflow", "/mnt/models", "gs://models", "s3://bucket/shop", "/mnt/models"),
        ("", "models", None, None, "{root}/models"),
        ("http://mlflow:5000", "/mnt/models", "gs://models", "s3://bucket/shop", None),
    ],
)
def test_where_models_are_kept(tmp_path, monkeypatch, address, given, kept_at, remote, where):
    monkeypatch.chdir("/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("RETAIN_ARTIFACTS", given)
    if kept_at is not None:
        WorkspaceFile(artifacts=kept_at).write(tmp_path / "workspace.json")
    if remote is not None:
        (tmp_path / ".dvc").mkdir()
        (tmp_path / ".dvc" / "config").write_text(
            f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {remote}\n"
        )
    assert Workspace(tmp_path).mlflow_artifacts == (where and where.format(root=tmp_path))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"mlfow": "http://mlflow:5000"}', "`mlfow` means nothing here; the keys are mlflow, prefect, "),
        ('{"mlflow": 5}', "mlflow: Input should be a valid string"),
        ("mlflow: http://mlflow:5000", "Invalid JSON"),
        ('{"mlflow": "http://ada:s3cret@mlflow:5000"}', "mlflow: the address holds a user, password or token"),
    ],
)
def test_what_a_workspace_cannot_be_told_is_one_sentence(tmp_path, content, sentence):
    (tmp_path / "workspace.json").write_text(content)
    with pytest.raises(WrongParameters) as wrong:
        Workspace(tmp_path).settings_file()
    assert str(wrong.value).startswith(f"{tmp_path}/workspace.json: {sentence}")
    assert "s3cret" not in str(wrong.value)


def test_a_remote_with_a_password_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(WrongInput, match=r"https://store/shop, holds .* `dvc remote modify --local storage") as wrong:
        create(tmp_path / "shop", remote="https://ada:s3cret@store/shop")
    assert "s3cret" not in str(wrong.value)
    assert not list(tmp_path.iterdir())


def test_what_belongs_to_this_machine_is_the_owners_alone(tmp_path):
    made = create(tmp_path / "shop")
    assert made.state.stat().st_mode & 0o777 == 0o700
    made.state.chmod(0o755)
    Workspace.open(made.root)
    assert made.state.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("given", "number"), [("3", 3), ("", os.cpu_count())])
def test_the_number_of_workers(monkeypatch, given, number):
    monkeypatch.setenv("RETAIN_WORKERS", given)
    assert workers() == number


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5"])
def test_a_number_of_workers_that_is_none(monkeypatch, given):
    monkeypatch.setenv("RETAIN_WORKERS", given)
    with pytest.raises(WrongInput, match="it must be a whole number of processes, 1 or more"):
        workers()
