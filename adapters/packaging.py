"""A snapshot as an MLflow model: logged with a run, found again, downloaded. Nothing is pickled, or stored twice."""

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from records.errors import DamagedState
from records.snapshot import InputSpec, Snapshot

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel


@dataclass(frozen=True)
class Packaging:
    """What turns a snapshot into a model that loads wherever its requirements are installed, without retain."""

    script: Path
    """Code that MLflow runs to get the model; it finds the snapshot under the artifact name `snapshot`."""
    code: tuple[Path, ...]
    """Packages that the script imports; copied into the model."""
    requirements: tuple[str, ...]
    """For pip: what those packages import."""


def log_model(client: "MlflowClient", run: str, model: "LoggedModel", candidate: Path, packaging: Packaging) -> None:
    """Log the candidate with its run: what `mlflow.pyfunc.log_model` does, but at the client's address.

    That function takes the address from a global variable, which it also sets for every other use in the process.
    """
    import mlflow.pyfunc
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    spec = Snapshot.read(candidate / "snapshot.json").spec
    assert spec is not None
    location = model.artifact_location
    description = Model(artifact_path=location, model_uuid=model.model_id, run_id=run, model_id=model.model_id)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # It warns that it cannot ask pip for its own version in an environment without pip.
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            path=f"{folder}/model",
            mlflow_model=description,
            python_model=str(packaging.script),
            code_paths=[str(path) for path in packaging.code],
            artifacts={"snapshot": str(candidate)},
            signature=_signature(spec),
            input_example=_example(spec),
            pip_requirements=list(packaging.requirements),
        )
        client.log_model_artifacts(model.model_id, f"{folder}/model")
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])


def _signature(spec: InputSpec) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema, TensorSpec

    images = TensorSpec(np.dtype(np.uint8), (-1, spec.height, spec.width, spec.channels))
    return ModelSignature(Schema([images]), Schema([ColSpec("string", "label"), ColSpec("double", "confidence")]))


def _example(spec: InputSpec) -> Any:
    import numpy as np

    return np.zeros((1, spec.height, spec.width, spec.channels), dtype=np.uint8)


def model_of(client: "MlflowClient", run: str) -> "LoggedModel":
    """The model that was logged with a run."""
    outputs = client.get_run(run).outputs
    if outputs is None or not outputs.model_outputs:
        raise DamagedState(f"Run {run} has no model in MLflow; it was deleted there, or retain did not log that run.")
    return client.get_logged_model(outputs.model_outputs[0].model_id)


def download(client: "MlflowClient", address: str, run: str, folder: Path) -> None:
    """Write the folders `snapshot` and `evaluation` of a run below `folder`, which exists."""
    from mlflow.artifacts import download_artifacts

    stored = {"tracking_uri": address, "dst_path": str(folder)}
    location = model_of(client, run).artifact_location.rstrip("/")
    inside = Path(download_artifacts(artifact_uri=f"{location}/artifacts", **stored))
    download_artifacts(run_id=run, artifact_path="evaluation", **stored)
    # MLflow keeps the name of the folder that was logged; there is only this one.
    for kept in inside.iterdir():
        kept.rename(folder / "snapshot")
    inside.rmdir()
    if not (folder / "snapshot" / "snapshot.json").exists():
        raise DamagedState(f"The files of run {run} in MLflow are not complete.")
