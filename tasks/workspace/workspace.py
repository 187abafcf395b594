"""A workspace: the folder in which one model keeps learning. Where everything lies, and which addresses are used.

params.yaml  run.json  dvc.yaml  data.dvc      in Git: what was decided, and which data exist
workspace.json                                 in Git: addresses of MLflow and Prefect, where models are kept
inbox/<delivery>/                              images that arrive
data/batches/<batch>/                          ingested batches, immutable, in DVC
quarantine/<batch>/                            reports on batches and images that did not pass, in Git
night/                                         what the steps of the last run made
.retain/                                       this machine's databases, caches and locks; never in Git
"""

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from adapters.datastore import DataStore
from records.addresses import WorkspaceFile, shown
from records.errors import NotAWorkspace, WrongParameters
from records.record import first_problem
from records.registration import RunFile

PRIVATE = 0o700
"""What is in `.retain` is for the owner alone: whoever can write a model there decides what answers tomorrow."""
STORES = ("s3://", "gs://")
"""Addresses that DVC and MLflow both know."""


@dataclass(frozen=True)
class Workspace:
    """Paths below `root`, which is absolute."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> "Workspace":
        """The workspace at `root`. Raises `NotAWorkspace` with the command that makes one."""
        root = root.absolute()
        if not root.exists():
            raise NotAWorkspace(f"{root} does not exist. Make a workspace there with `retain init {root}`.")
        if not root.is_dir():
            raise NotAWorkspace(f"{root} is a file. Name the folder of a workspace with --workspace.")
        for name in ("params.yaml", ".dvc"):
            if not (root / name).exists():
                raise NotAWorkspace(
                    f"{root} is not a retain workspace: it has no {name}. Name one with --workspace, "
                    f"or make one with `retain init {root}`."
                )
        place = cls(root)
        place._close_to_others()
        return place

    def _close_to_others(self) -> None:
        # Workspaces that were made before this was done, too. One that is another person's is theirs to close.
        if self.state.is_dir() and self.state.stat().st_uid == os.getuid() and self.state.stat().st_mode & 0o077:
            self.state.chmod(PRIVATE)

    @property
    def params(self) -> Path:
        """What can change the verdict."""
        return self.root / "params.yaml"

    @property
    def run(self) -> Path:
        """Which batches are learned on top of which version."""
        return self.root / "run.json"

    @property
    def settings(self) -> Path:
        """What is decided once for the workspace: addresses, and how images are split."""
        return self.root / "workspace.json"

    @property
    def inbox(self) -> Path:
        """Where deliveries arrive."""
        return self.root / "inbox"

    @property
    def batches(self) -> Path:
        """Ingested batches."""
        return self.root / "data" / "batches"

    @property
    def quarantine(self) -> Path:
        """Reports on batches that did not pass, and on admitted ones of which images were refused."""
        return self.root / "quarantine"

    @property
    def night(self) -> Path:
        """Outputs of the inner steps of the last run."""
        return self.root / "night"

    @property
    def experiences(self) -> Path:
        """Experiences that validation let through, a file each."""
        return self.night / "experiences"

    @property
    def reports(self) -> Path:
        """Reports of validation, a file each."""
        return self.night / "reports"

    @property
    def candidate(self) -> Path:
        """Snapshot that update made."""
        return self.night / "candidate"

    @property
    def evaluation(self) -> Path:
        """Score matrix and outcomes."""
        return self.night / "evaluation"

    @property
    def verdict(self) -> Path:
        """What judge said."""
        return self.night / "verdict.json"

    @property
    def metrics(self) -> Path:
        """Plain numbers for `dvc metrics`."""
        return self.night / "metrics.json"

    @property
    def worst_masks(self) -> Path:
        """A picture of the test images that lost most, if the problem has masks."""
        return self.night / "worst_masks.png"

    @property
    def state(self) -> Path:
        """What belongs to this machine alone."""
        return self.root / ".retain"

    @property
    def cache(self) -> Path:
        """Decoded images; may be deleted at any time."""
        return self.state / "cache"

    @property
    def index(self) -> Path:
        """Where earlier images are looked up; may be deleted at any time."""
        return self.state / "earlier.sqlite"

    @property
    def asking(self) -> Path:
        """Which batch validation looks at; there only meanwhile, and after a process that ended over it."""
        return self.state / "asking"

    @property
    def unfinished(self) -> Path:
        """What an update that is at work has reached, for the case that it is interrupted."""
        return self.state / "unfinished.safetensors"

    @property
    def training(self) -> Path:
        """How the last update went: steps, losses, time."""
        return self.state / "training.json"

    @property
    def versions(self) -> Path:
        """Registered versions that were fetched; may be deleted at any time."""
        return self.state / "versions"

    @property
    def lock(self) -> Path:
        """Held by the night or command that is at work."""
        return self.state / "night.lock"

    @property
    def nights(self) -> Path:
        """A file for each flow run that is at work, held by its process."""
        return self.state / "nights"

    @property
    def prefect_home(self) -> Path:
        """Where a Prefect server started for this workspace keeps its database."""
        return self.state / "prefect"

    @property
    def mlflow_address(self) -> str:
        """MLFLOW_TRACKING_URI, or what workspace.json says, or a SQLite file of this workspace."""
        return (
            os.environ.get("MLFLOW_TRACKING_URI")
            or self.settings_file().mlflow
            or f"sqlite:///{self.state / 'mlflow.db'}"
        )

    def replaced(self) -> str:
        """That the environment names another registry than workspace.json; empty if it does not."""
        given, named = os.environ.get("MLFLOW_TRACKING_URI"), self.settings_file().mlflow
        if not given or not named or given == named:
            return ""
        return f"The registry is {shown(given)} (MLFLOW_TRACKING_URI), not {named}, which workspace.json names."

    @property
    def prefect_address(self) -> str | None:
        """PREFECT_API_URL, or what workspace.json says; None for a server of the workspace's own."""
        return os.environ.get("PREFECT_API_URL") or self.settings_file().prefect

    @property
    def mlflow_artifacts(self) -> str | None:
        """Where a new experiment keeps its files, a folder or URL; None leaves the choice to the MLflow server.

        RETAIN_ARTIFACTS, or what workspace.json says; else beside the data if both they and the registry are where
        other machines come to, or a folder of this workspace.
        """
        address = self.mlflow_address
        if address.startswith(("http://", "https://")):
            return None
        given = os.environ.get("RETAIN_ARTIFACTS") or self.settings_file().artifacts
        if given is not None:
            return given if "://" in given else str(self.root / given)
        remote = "" if address.startswith("sqlite") else DataStore(self.root).remote()
        if remote.startswith(STORES):
            return f"{remote.rstrip('/')}/mlartifacts"
        return str(self.state / "mlartifacts")

    def settings_file(self) -> WorkspaceFile:
        """`workspace.json`, or an empty one in a workspace that has none. Raises `WrongParameters`."""
        try:
            text = self.settings.read_text(encoding="utf-8")
        except FileNotFoundError:
            return WorkspaceFile()
        except UnicodeDecodeError:
            raise WrongParameters(f"{self.settings} is not readable as JSON.") from None
        try:
            return WorkspaceFile.model_validate_json(text)
        except ValidationError as error:
            raise WrongParameters(f"{self.settings}: {_first_problem(error)}") from None

    @property
    def split_key(self) -> str:
        """A secret of the workspace that senders of images do not know, see `dataset.split.split_of`; empty in
        workspaces that were made without."""
        return self.settings_file().split_key or ""

    def run_file(self) -> RunFile:
        """`run.json`, or an empty one before the first night."""
        return RunFile.read(self.run) if self.run.exists() else RunFile()


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    if problem["type"] == "extra_forbidden":
        known = ", ".join(WorkspaceFile.model_fields)
        return f"`{problem['loc'][0]}` means nothing here; the keys are {known}."
    return first_problem(error)
