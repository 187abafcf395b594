"""A snapshot as an MLflow model: logged with a run, found again, downloaded. Nothing is pickled, or stored twice."""

import os
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from records.errors import DamagedState

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel


PROGRAM = "program"
"""Folder in a logged model of what it answers with, beside the snapshot."""


@dataclass(frozen=True)
class Packaging:
    """What turns a snapshot into a model that loads wherever its requirements are installed, without retain."""

    script: Path
    """Code that MLflow runs to get the model; it finds the snapshot under the artifact name `snapshot`."""
    program: Path
    """Folder called `program` of what else the script needs; it finds it under that artifact name."""
    requirements: tuple[str, ...]
    """For pip: what the script imports."""
    dense: bool = False
    """Whether it answers at each pixel, so with a mask besides."""


def log_model(client: "MlflowClient", run: str, model: "LoggedModel", candidate: Path, packaging: Packaging) -> None:
    """Log the candidate with its run: what `mlflow.pyfunc.log_model` does, but at the client's address.

    That function takes the address from a global variable, which it also sets for every other use in the process.
    """
    import mlflow.pyfunc
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    location = model.artifact_location
    description = Model(artifact_path=location, model_uuid=model.model_id, run_id=run, model_id=model.model_id)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # It warns that it cannot ask pip for its own version in an environment without pip.
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            path=f"{folder}/model",
            mlflow_model=description,
            python_model=str(packaging.script),
            artifacts={"snapshot": str(candidate), PROGRAM: str(packaging.program)},
            signature=_signature(packaging.dense),
            pip_requirements=list(packaging.requirements),
        )
        client.log_model_artifacts(model.model_id, f"{folder}/model")
    client.log_metric(run, "cost/model_bytes", float(description.model_size_bytes or 0), model_id=model.model_id)
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])


def _signature(dense: bool) -> Any:
    """Of answers and parameters. None of inputs: MLflow would refuse what has not one certain shape and type."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    kinds = {"label": "string", "confidence": "double"} | ({"mask": "string"} if dense else {})
    answers: list[Any] = [ColSpec(kind, name) for name, kind in kinds.items()]
    return ModelSignature(
        outputs=Schema(answers), params=ParamSchema([ParamSpec("probabilities", DataType.boolean, default=False)])
    )


def model_of(client: "MlflowClient", run: str) -> "LoggedModel":
    """The model that was logged with a run."""
    outputs = client.get_run(run).outputs
    if outputs is None or not outputs.model_outputs:
        raise DamagedState(f"Run {run} has no model in MLflow; it was deleted there, or retain did not log that run.")
    return client.get_logged_model(outputs.model_outputs[0].model_id)


def download(client: "MlflowClient", address: str, run: str, folder: Path) -> None:
    """Write the folders `snapshot` and `evaluation` of a run below `folder`, which exists."""
    from mlflow.artifacts import list_artifacts

    inside = f"{model_of(client, run).artifact_location.rstrip('/')}/artifacts"
    # MLflow keeps the names of the folders that were logged; beside the program there is only the snapshot.
    names = {Path(found.path).name for found in list_artifacts(artifact_uri=inside, tracking_uri=address)}
    for name in names - {PROGRAM}:
        _bring(f"{inside}/{name}", address, folder / "snapshot")
    _bring(f"{client.get_run(run).info.artifact_uri.rstrip('/')}/evaluation", address, folder / "evaluation")
    if not (folder / "snapshot" / "snapshot.json").exists():
        raise DamagedState(f"The files of run {run} in MLflow are not complete.")


def _bring(uri: str, address: str, folder: Path) -> None:
    """Make a folder of MLflow's a folder here. Files that lie on this disk are not stored twice: the new names link."""
    from mlflow.artifacts import download_artifacts

    place = urlsplit(uri)
    stored = Path(unquote(place.path))
    if place.scheme in ("", "file") and stored.is_dir():
        shutil.copytree(stored, folder, copy_function=_link)
        return
    with tempfile.TemporaryDirectory(dir=folder.parent) as unpacked:
        Path(download_artifacts(artifact_uri=uri, tracking_uri=address, dst_path=unpacked)).rename(folder)


def _link(source: str, target: str) -> None:
    """Safe because neither is ever written to: what changes a file here replaces it."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
