"""Who may use the servers of a workspace: whoever can read two files that only its owner can read.

.retain/token        made at the first start, and kept: pages that were opened once stay open
.retain/server.json  while `retain ui` serves: where, and with which token
.retain/ui.lock      held while `retain ui` serves: one at a time, and what one that was killed left is not believed

Commands and workers of retain read them without being asked.
"""

import base64
import os
import secrets
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from flows.servers.door import ENTRANCE, USER
from records.errors import Busy
from records.record import Record
from tasks.workspace.lock import LockTaken, is_held, turn
from tasks.workspace.workspace import PRIVATE, Workspace


class Serving(Record):
    """`server.json`: the servers of a workspace that `retain ui` has started."""

    prefect: str
    """Address of Prefect's API."""
    mlflow: str | None
    """Address of MLflow's pages; None if its server is another one."""
    token: str
    pid: int
    """Process that ends both when it ends."""


def token_of(place: Workspace) -> str:
    """The token of the workspace's servers, made if there is none yet."""
    path = token_file(place)
    if path.exists() and not path.stat().st_size:
        path.unlink()  # A disk that was full, or a power cut. Everybody knows the empty token.
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(24))
    return path.read_text(encoding="utf-8").strip()


def token_file(place: Workspace) -> Path:
    """Where the token is kept."""
    return place.state / "token"


def login(token: str) -> str:
    """User and password in one, as Prefect's PREFECT_API_AUTH_STRING has it."""
    return f"{USER}:{token}"


def header(token: str) -> dict[str, str]:
    """What a request to either server must bear."""
    return {"Authorization": f"Basic {base64.b64encode(login(token).encode()).decode()}"}


def page(server: str, token: str) -> str:
    """The link that opens a server's pages in a browser; what is after `#` stays in there."""
    return f"{server}{ENTRANCE}#{token}"


@contextmanager
def alone_to_serve(place: Workspace) -> Iterator[None]:
    """In here, no other `retain ui` serves this workspace, from the same databases. Raises `Busy` if one does."""
    with ExitStack() as stack:
        try:
            stack.enter_context(turn(_lock(place), "`retain ui`", patient=False))
        except LockTaken as other:
            who = f" ({other.holder.detail()})" if other.holder else ""
            raise Busy(f"`retain ui` serves {place.root} already{who}. Use that one, or end it first.") from None
        yield


@contextmanager
def announced(place: Workspace, serving: Serving) -> Iterator[None]:
    """In here, other commands find these servers."""
    path = _announcement(place)
    path.unlink(missing_ok=True)
    _write_private(path, serving.as_text())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def serving(place: Workspace) -> Serving | None:
    """The servers that `retain ui` has started for this workspace, if they answer; it may have been killed.

    Then somebody else may listen at its port, who is not to hear the token.
    """
    path = _announcement(place)
    if not path.exists() or not is_held(_lock(place)):
        return None
    serving = Serving.read(path)
    request = urllib.request.Request(f"{serving.prefect}/admin/version", headers=header(serving.token))
    with suppress(OSError, ValueError), urllib.request.urlopen(request, timeout=10):
        return serving
    return None


def _announcement(place: Workspace) -> Path:
    return place.state / "server.json"


def _lock(place: Workspace) -> Path:
    return place.state / "ui.lock"


def _write_private(path: Path, content: str) -> None:
    """Write a file that nobody but the owner can read at any time; one that came meanwhile stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(unfinished, path)
    unfinished.unlink()
