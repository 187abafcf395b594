"""Options that several commands share, and what a person types turned into what it means."""

import getpass
import secrets
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tasks.workspace.workspace import Workspace
from pydantic import ValidationError

from records.addresses import WorkspaceFile
from records.errors import WrongInput
from records.record import first_problem

Where = Annotated[
    Path,
    typer.Option(
        "--workspace", "-w", envvar="RETAIN_WORKSPACE", help="Folder of the workspace.", show_default="here",
        metavar="DIR",
    ),
]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.", metavar=" ")]
Arrived = Annotated[
    str | None, typer.Option(metavar="YYYY-MM-DD", help="Day that what arrived is filed under; today if left out.")
]

By = Annotated[
    str | None, typer.Option(help="Who says so.", envvar="USER", show_default="your user name", metavar="NAME")
]


class Stream(StrEnum):
    """Streams of images that come with retain."""

    digits = "digits"
    canvas = "digits-on-canvas"
    fashion = "fashion-mnist"


Root = Annotated[
    Path | None,
    typer.Option(help="Folder with Fashion-MNIST's four files; downloaded if left out.", metavar="DIR"),
]


def remote(address: str | None) -> str | None:
    """A folder is meant from where the person is, not from where the workspace will be."""
    return str(Path(address).absolute()) if address and "://" not in address else address


def workspace_file(mlflow: str | None, prefect: str | None) -> WorkspaceFile:
    """workspace.json of a new workspace: its addresses, and a random key that decides the splits.

    Raises `WrongInput` for an address that cannot be kept.
    """
    try:
        return WorkspaceFile(mlflow=mlflow, prefect=prefect, split_key=secrets.token_hex(16))
    except ValidationError as error:
        raise WrongInput(f"--{first_problem(error)}") from None


def day(text: str | None) -> date:
    """A day as ISO 8601 has it; today if none is given. Raises `WrongInput`."""
    try:
        return date.fromisoformat(text) if text else date.today()
    except ValueError:
        raise WrongInput(f"--arrived is {text!r}, which is not a day; write it as 2026-03-31.") from None


def who(given: str | None) -> str:
    """The person that a decision is recorded under. Raises `WrongInput` if the system knows no name either."""
    try:
        name = (getpass.getuser() if given is None else given).strip()
    except (OSError, KeyError):
        name = ""
    if not name:
        raise WrongInput("Nobody would be recorded as the one who decided: name yourself with --by.")
    return name


def version(text: str) -> int:
    """The number of a version, from `3` or `v3`. Raises `WrongInput`."""
    digits = text.removeprefix("v")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 10 and int(digits)):
        raise WrongInput(f"{text!r} is not a version; write its number, for example 3 or v3.")
    return int(digits)


def open_workspace(folder: Path) -> "Workspace":
    """The workspace in `folder`. Raises `NotAWorkspace` with the command that makes one."""
    from tasks.workspace.workspace import Workspace

    return Workspace.open(folder)
