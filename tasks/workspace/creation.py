"""Making a workspace: a folder with its own Git and DVC repository and the files that decide how a model learns."""

import shutil
from contextlib import suppress
from importlib import resources
from pathlib import Path

from adapters.connection import Connection
from adapters.datastore import DataStore
from adapters.drivers import require_database, require_remote
from records.addresses import WorkspaceFile, shown, tells_secret
from records.errors import WrongInput
from records.registration import RunFile
from tasks.workspace.workspace import PRIVATE, Workspace

TEMPLATE = {
    "dvc.yaml": "dvc.yaml",
    "prefect.yaml": "prefect.yaml",
    "gitignore": ".gitignore",
    "dvcignore": ".dvcignore",
}
"""File of the template to file of the workspace."""


def create(
    root: Path, remote: str | None = None, params: str = "params.yaml", workspace_file: WorkspaceFile | None = None
) -> Workspace:
    """Make a workspace at `root`, which must be empty or not there, and commit its first files.

    `remote`: address of a DVC remote (a folder, s3://...) that batches are pushed to. `params`: the file of the
    template that becomes params.yaml. `workspace_file`: workspace.json; None for a workspace without. Raises
    `WrongInput` if there is something at `root` already, or if an address cannot be used, here at least, or holds a
    secret, which would be committed. What fails leaves nothing behind; what others put there meanwhile stays.
    """
    root = root.absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise WrongInput(f"{root} is not empty. Name a folder that is empty or does not exist yet.")
    if remote is not None and tells_secret(remote):
        raise WrongInput(
            f"The address of the remote, {shown(remote)}, holds a user, password or token, and it would be committed. "
            "Leave that out; afterwards, in the workspace, `dvc remote modify --local storage password ...` keeps it "
            "in .dvc/config.local, which is never committed (for s3://, the environment has it: AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY)."
        )
    if remote is not None:
        require_remote(remote)
    if workspace_file is not None and workspace_file.mlflow is not None:
        Connection(workspace_file.mlflow)  # Says what is wrong with an address that MLflow cannot use.
        require_database(workspace_file.mlflow)
    made: list[Path] = []
    try:
        return _fill(Workspace(root), remote, params, workspace_file, made)
    except BaseException:
        # Half a workspace would be in the way of the next attempt.
        for path in reversed(made):
            _remove(path)
        raise


def _fill(
    workspace: Workspace, remote: str | None, params: str, workspace_file: WorkspaceFile | None, made: list[Path]
) -> Workspace:
    """Make everything; each file and folder is added to `made`, in this order, before it is written."""
    template = resources.files("tasks.workspace") / "template"
    contents = {name: (template / source).read_text(encoding="utf-8") for source, name in TEMPLATE.items()}
    contents["params.yaml"] = (template / params).read_text(encoding="utf-8")
    contents["run.json"] = RunFile().as_text()
    if workspace_file is not None:
        contents["workspace.json"] = workspace_file.as_text()
    _make_folder(workspace.root, made)
    for name, content in contents.items():
        _write_new(workspace.root / name, content, made)
    for folder in (workspace.inbox, workspace.batches.parent, workspace.batches, workspace.state):
        _make_folder(folder, made)
    workspace.state.chmod(PRIVATE)
    store = DataStore(workspace.root)
    made += [path for path in (workspace.root / ".git", workspace.root / ".dvc") if not path.exists()]
    store.init(remote)
    store.commit_files([workspace.root / name for name in contents], "Initialise workspace")
    return workspace


def _make_folder(path: Path, made: list[Path]) -> None:
    if not path.exists():
        made.append(path)
        path.mkdir(parents=True)


def _write_new(path: Path, content: str, made: list[Path]) -> None:
    if path.exists():
        raise WrongInput(f"{path} came while the workspace was made. Name a folder that nobody else writes to.")
    made.append(path)
    path.write_text(content, encoding="utf-8")


def _remove(path: Path) -> None:
    """Remove a file, a repository, or a folder if it is empty."""
    if path.name in (".git", ".dvc"):
        shutil.rmtree(path, ignore_errors=True)
    elif path.is_dir():
        with suppress(OSError):
            path.rmdir()
    else:
        path.unlink(missing_ok=True)
