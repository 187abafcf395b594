"""Making a workspace: a folder with its own Git and DVC repository and the files that decide how a model learns."""

import shutil
from importlib import resources
from pathlib import Path

from adapters.datastore import DataStore
from records.errors import WrongInput
from records.registration import RunFile
from tasks.workspace import Workspace

TEMPLATE = {
    "dvc.yaml": "dvc.yaml",
    "prefect.yaml": "prefect.yaml",
    "gitignore": ".gitignore",
    "dvcignore": ".dvcignore",
}
"""File of the template to file of the workspace."""


def create(root: Path, remote: str | None = None, params: str = "params.yaml") -> Workspace:
    """Make a workspace at `root`, which must be empty or not there, and commit its first files.

    `remote`: address of a DVC remote (a folder, s3://...) that batches are pushed to. `params`: the file of the
    template that becomes params.yaml. Raises `WrongInput` if there is something at `root` already. What fails leaves
    nothing behind.
    """
    root = root.absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise WrongInput(f"{root} is not empty. Name a folder that is empty or does not exist yet.")
    there = root.exists()
    root.mkdir(parents=True, exist_ok=True)
    try:
        return _fill(Workspace(root), remote, params)
    except BaseException:
        # Half a workspace would be in the way of the next attempt.
        for path in [root] if not there else list(root.iterdir()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def _fill(workspace: Workspace, remote: str | None, params: str) -> Workspace:
    template = resources.files("tasks") / "template"
    written = {**TEMPLATE, params: "params.yaml"}
    for source, name in written.items():
        (workspace.root / name).write_text((template / source).read_text(encoding="utf-8"), encoding="utf-8")
    RunFile().write(workspace.run)
    for folder in (workspace.inbox, workspace.batches, workspace.state):
        folder.mkdir(parents=True, exist_ok=True)
    store = DataStore(workspace.root)
    store.init(remote)
    store.commit_files([workspace.root / name for name in (*written.values(), "run.json")], "Begin to retain")
    return workspace
