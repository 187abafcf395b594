"""MLflow's server as an application, to be put behind a door; `mlflow server` starts the same one without."""

import os
from typing import Any

ADDRESS, ARTIFACTS = "MLFLOW_TRACKING_URI", "RETAIN_ARTIFACTS"
"""Environment variables that hand a server's process what it serves: an address may hold a password, and the arguments
of a process can be read by everybody."""


def application() -> Any:
    """The ASGI application over the database and the artifacts that the environment names, which are made ready."""
    from mlflow.server import constants, handlers

    address, artifacts = os.environ.pop(ADDRESS), os.environ.pop(ARTIFACTS)
    root = "mlflow-artifacts:/"
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: address,
        constants.REGISTRY_STORE_URI_ENV_VAR: address,
        constants.ARTIFACT_ROOT_ENV_VAR: root,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: artifacts,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    handlers.initialize_backend_stores(address, address, root)
    from mlflow.server.fastapi_app import app

    return app
