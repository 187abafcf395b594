"""`python -m flows.servers.door prefect|mlflow SOCKET`: a server on loopback that lets in who has its token.

SOCKET is the number of an inherited file descriptor, that of a socket which listens already.

Neither tool asks enough by itself: Prefect takes every Host and asks nobody for a password, nor does MLflow. Any page
that a person opens could talk to them, and any program of any user of this machine.

Host     only 127.0.0.1 at this port: a name that a stranger points at 127.0.0.1 (DNS rebinding) is not it
Origin   a page of another origin is refused before anything is done; programs send none
token    programs send it as MLflow and Prefect do (Basic or Bearer); a browser opens /retain#TOKEN once

What is after `#` never leaves the browser by itself, so the token stands in no log. The page there hands it in, and
gets a cookie for MLflow; Prefect's pages keep it themselves and send it along.
"""

import base64
import hashlib
import hmac
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = "127.0.0.1"
USER = "retain"
"""What stands before the token, which is the password, in `user:password`."""
TOKEN = "RETAIN_TOKEN"
"""Environment variable that hands the token to the server's process."""
ENTRANCE = "/retain"
HEALTH = ("/health", "/api/health")
LATER = 400 * 24 * 3600
"""Seconds that a browser keeps the cookie; the longest that browsers allow."""

SCRIPT = """
const login = btoa('USER:' + location.hash.slice(1));
fetch('ENTRANCE', {method: 'POST', headers: {Authorization: 'Basic ' + login}}).then(reply => {
  if (!reply.ok) return document.body.textContent = 'This is not the token. `retain ui` says where it is.';
  localStorage.setItem('prefect-password', login);
  location.replace('HOME');
});
"""
PAGE = "<!doctype html><meta charset=utf-8><title>retain</title><body>Opening ...</body><script>{}</script>"


@dataclass(frozen=True)
class Reply:
    """What the door itself says."""

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Door:
    """An ASGI application in front of another one."""

    inside: Application
    port: int
    token: str
    asks: bool
    """Whether everything inside needs the token; else what is inside asks for it where it matters."""
    home: str = "/"
    """Where a browser goes once it is in."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, or answer."""
        if scope["type"] == "lifespan":
            await self.inside(scope, receive, send)
            return
        reply = self.reply(scope["type"], scope.get("method", "GET"), scope["path"], _headers(scope["headers"]))
        if reply is None:
            await self.inside(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": reply.text})
        else:
            await _say(reply, send)

    def reply(self, kind: str, method: str, path: str, headers: dict[str, list[str]]) -> Reply | None:
        """What is said to a request instead of letting it in; None lets it in."""
        own_host = f"{LOOPBACK}:{self.port}"
        if headers.get("host") != [own_host]:
            if headers.get("host") == [f"localhost:{self.port}"] and kind == "http" and method == "GET":
                # The path comes decoded, and may hold line breaks.
                return Reply(
                    307, f"This server is http://{own_host}.", (("Location", f"http://{own_host}{quote(path)}"),)
                )
            return Reply(403, f"This server is http://{own_host}, and has no other name.")
        if headers.get("origin", [f"http://{own_host}"]) != [f"http://{own_host}"] or _sent_by_another_page(
            method, headers
        ):
            return Reply(403, "Pages of other origins are not let in.")
        if path == ENTRANCE:
            return self._entrance(method, headers)
        if not self.asks or path in HEALTH or self._knows(headers):
            return None
        challenge = (("WWW-Authenticate", f'Basic realm="{USER}"'),)
        return Reply(401, "The token is missing: `retain ui` says where it is.", challenge)

    def _entrance(self, method: str, headers: dict[str, list[str]]) -> Reply:
        if method == "GET":
            script = SCRIPT.replace("USER", USER).replace("ENTRANCE", ENTRANCE).replace("HOME", self.home)
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            policy = f"default-src 'none'; script-src 'sha256-{digest}'; connect-src 'self'; frame-ancestors 'none'"
            shown = (("Content-Type", "text/html; charset=utf-8"), ("Content-Security-Policy", policy))
            return Reply(200, PAGE.format(script), (*shown, ("Cache-Control", "no-store")))
        if method != "POST" or not self._bears_token(headers):
            return Reply(403, "This is not the token of this server.")
        kept = f"{self._cookie}={self._key}; Path=/; Max-Age={LATER}; HttpOnly; SameSite=Strict"
        return Reply(200, "Come in.", (("Set-Cookie", kept),) if self.asks else ())

    def _knows(self, headers: dict[str, list[str]]) -> bool:
        return self._bears_token(headers) or any(
            _same(value, self._key) for value in _cookies(headers.get("cookie", []), self._cookie)
        )

    def _bears_token(self, headers: dict[str, list[str]]) -> bool:
        scheme, _, credentials = headers.get("authorization", [""])[0].partition(" ")
        if scheme.lower() == "bearer":
            return _same(credentials, self.token)
        return scheme.lower() == "basic" and _same(_password(credentials), self.token)

    @property
    def _cookie(self) -> str:
        # Browsers send the cookies of one port of a host to all of them.
        return f"{USER}-{self.port}"

    @property
    def _key(self) -> str:
        """What the cookie holds: not the token, which opens more than this server."""
        return hmac.digest(self.token.encode(), self._cookie.encode(), "sha256").hex()


def _sent_by_another_page(method: str, headers: dict[str, list[str]]) -> bool:
    """What browsers say of a request that has no Origin: an image, a script or a frame of another page."""
    if headers.get("sec-fetch-site", ["none"])[0] in ("none", "same-origin"):
        return False
    followed = headers.get("sec-fetch-mode") == ["navigate"] and headers.get("sec-fetch-dest") == ["document"]
    return not (followed and method == "GET")


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in raw:
        values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return values


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:  # No base64, or no UTF-8 in it.
        return ""


def _cookies(lines: list[str], name: str) -> list[str]:
    found = []
    for line in lines:
        for part in line.split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                found.append(value)
    return found


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


async def _say(reply: Reply, send: Send) -> None:
    headers = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", **dict(reply.headers)}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    await send({"type": "http.response.body", "body": reply.text.encode()})


def main(which: str, listener: socket.socket) -> None:
    """Serve until a signal comes."""
    import uvicorn

    token, port = os.environ.pop(TOKEN), int(listener.getsockname()[1])
    door = _prefect(port, token) if which == "prefect" else _mlflow(port, token)
    server = uvicorn.Server(uvicorn.Config(door, log_level="warning", access_log=False, server_header=False))
    server.run(sockets=[listener])
    if not server.started:
        sys.exit("The application did not start.")


def _prefect(port: int, token: str) -> Door:
    from prefect.server.api.server import create_app

    # It asks by itself, also in its WebSockets, where a token comes after the handshake.
    return Door(create_app(final=True), port, token, asks=False)


def _mlflow(port: int, token: str) -> Door:
    from adapters.tracking import application

    return Door(application(), port, token, asks=True, home="/#/models")


if __name__ == "__main__":
    main(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
