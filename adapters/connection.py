"""A connection to MLflow: no telemetry, nothing is printed, and a server that does not answer is one clear error."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from records.addresses import shown
from records.errors import Unavailable, WrongInput

if TYPE_CHECKING:
    from mlflow import MlflowClient

SETTINGS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Seven tries, as MLflow has it, are four minutes of silence before a person hears that a server is down.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
"""Read by MLflow when it is imported or first used; what a person has set stays."""

ADDRESS = "MLFLOW_TRACKING_URI"
"""What MLflow itself calls the address in the environment."""
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
KINDS = ("sqlite", *PORTS)
ANSWER_WITHIN = 5.0
"""Seconds in which a host must accept a connection."""


class Connection:
    """MLflow at one address, opened when it is first used. Nothing global is set, so two addresses do not mix."""

    def __init__(self, address: str) -> None:
        """`address` as in MLFLOW_TRACKING_URI. Raises `WrongInput` for one that MLflow cannot keep a registry at."""
        self.address = address
        self.parts = urlsplit(address)
        self.kind = self.parts.scheme.split("+")[0]
        if self.kind not in KINDS or not _is_complete(self.parts):
            raise WrongInput(
                f"MLflow cannot keep a registry at `{self.shown}` ({self.told_by}): an address is "
                f"like http://host:port, sqlite:///path, or of a database server ({', '.join(KINDS[3:])})."
            )

    @contextmanager
    def open(self) -> Iterator["MlflowClient"]:
        """MLflow's client. What MLflow cannot do in here is raised as `Unavailable`."""
        self._reach()
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield self._client
        except (MlflowException, SQLAlchemyError, OSError) as error:
            self._knock()
            raise Unavailable(f"MLflow at {self.shown} failed: {_one_line(error)}") from error
        except ModuleNotFoundError as error:
            # A driver of a database, a client of an object store: MLflow brings none along.
            raise WrongInput(
                f"MLflow at {self.shown} needs a package that is not installed here: {_one_line(error)}. Install it."
            ) from error

    @property
    def shown(self) -> str:
        """The address for people: without user and password."""
        return shown(self.address)

    @property
    def told_by(self) -> str:
        """Where the address comes from, for people."""
        if os.environ.get(ADDRESS) == self.address:
            return ADDRESS
        return "this workspace's own" if self.kind == "sqlite" else "workspace.json"

    def _reach(self) -> None:
        if "_client" in self.__dict__:
            return
        # Before MLflow is imported, which takes seconds: bad news comes at once.
        self._knock()
        if self.kind == "sqlite" and (path := self.address.removeprefix("sqlite:///")):
            _make_room(Path(path), self.shown)
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)

    def _knock(self) -> None:
        # MLflow itself asks again and again for minutes; a closed port is known in milliseconds.
        if self.parts.hostname is None:
            return
        try:
            socket.create_connection((self.parts.hostname, self.parts.port or PORTS[self.kind]), ANSWER_WITHIN).close()
        except OSError as error:
            raise Unavailable(
                f"Nobody answers at {self.shown} ({self.told_by}): {_one_line(error)}. Start MLflow there, or "
                "correct the address."
            ) from error

    @cached_property
    def _client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        # A fresh database would tell of each of its some fifty migrations, and HTTP of each time that it asks again.
        for noisy in ("mlflow", "alembic", "urllib3.connectionpool"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        return MlflowClient(tracking_uri=self.address, registry_uri=self.address)


def _is_complete(parts: SplitResult) -> bool:
    try:
        return parts.port != 0 and (parts.hostname is not None or not parts.scheme.startswith("http"))
    except ValueError:
        return False


def _make_room(database: Path, shown: str) -> None:
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"The registry's database {shown} cannot be made: {_one_line(error)}.") from error


def _one_line(error: Exception) -> str:
    # What follows is the statement that failed and a link to a manual.
    message = str(error).split("[SQL:")[0]
    return " ".join(message.split())[:300].rstrip(". ") or type(error).__name__
