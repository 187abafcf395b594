"""Servers end when they are told to, and when whoever started them is gone."""

import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from flows.servers import processes
from flows.servers.access import Serving, announced, serving, token_file, token_of
from flows.servers.guard import PATIENCE
from flows.servers.interface import _signals, introduce, serve
from flows.servers.processes import Server, answers, listen, port_of, prefect_api
from records.addresses import WorkspaceFile
from records.errors import Busy, Unavailable, WrongInput
from tasks.workspace.workspace import Workspace

SERVE = """
import http.server, socket, sys
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.serve_forever()
"""


def a_server(folder: Path) -> Server:
    listener = listen()
    command = [sys.executable, "-c", SERVE, str(listener.fileno())]
    health = f"http://127.0.0.1:{port_of(listener)}/"
    return Server("The server", command, health, folder / "server.log", {}, listener)


def family(pid: int) -> list[psutil.Process]:
    """A process and all that came of it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def test_a_server_answers_until_it_is_stopped(tmp_path):
    server = a_server(tmp_path)
    server.wait()
    processes = family(server.process.pid)
    assert len(processes) == 2
    server.stop()
    assert not answers(server.health)
    assert not psutil.wait_procs(processes, timeout=5)[1]
    server.stop()


def test_a_server_that_ends_by_itself_is_one_sentence_that_names_its_log(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('No socket was given.')"]
    server = Server("The server", command, "http://127.0.0.1:9/", tmp_path / "server.log", {})
    with pytest.raises(Unavailable, match=r"The server ended; .*server\.log says why"):
        server.wait()
    assert (tmp_path / "server.log").read_text() == "No socket was given.\n"


def test_nobody_can_take_the_port_of_a_server_that_starts(tmp_path):
    server = a_server(tmp_path)
    port = int(server.health.split(":")[2].rstrip("/"))
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", port))
    server.stop()
    with listen(port) as listener:
        assert port_of(listener) == port


def test_waiting_ends_when_a_person_wants_to_stop(tmp_path):
    stop = threading.Event()
    stop.set()
    server = a_server(tmp_path)
    server.health = "http://127.0.0.1:9/"
    server.wait(stop)
    server.stop()


def test_stopping_leaves_nothing_of_what_a_server_started(tmp_path):
    server = a_server(tmp_path)
    server.wait()
    processes = family(server.process.pid)
    server.process.kill()
    server.stop()
    assert not psutil.wait_procs(processes, timeout=5)[1]


def test_a_server_does_not_outlive_whoever_started_it(tmp_path):
    starter = (
        "import pathlib, signal, test_processes\n"
        f"server = test_processes.a_server(pathlib.Path({str(tmp_path)!r}))\n"
        "server.wait()\n"
        "print(server.process.pid, flush=True)\n"
        "signal.pause()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True, env=env)
    processes = family(int(process.stdout.readline()))
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(processes, timeout=PATIENCE)[1]


def test_a_prefect_server_that_nobody_answers_for_is_named_without_its_password(monkeypatch, tmp_path):
    monkeypatch.setenv("PREFECT_API_URL", "http://ada:s3cret@127.0.0.1:9/api")
    with (
        pytest.raises(
            Unavailable, match=r"^No Prefect server answers at http://127\.0\.0\.1:9/api \(PREFECT_API_URL\)"
        ),
        prefect_api(Workspace(tmp_path)),
    ):
        pytest.fail("entered")


def test_a_prefect_server_that_the_workspace_names_and_nobody_answers_for_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    WorkspaceFile(prefect="http://127.0.0.1:9/api").write(tmp_path / "workspace.json")
    sentence = r"No Prefect server answers at http://127\.0\.0\.1:9/api \(workspace\.json\)\. Start it, or correct"
    with pytest.raises(Unavailable, match=sentence), prefect_api(Workspace(tmp_path)):
        pytest.fail("entered")


@pytest.mark.parametrize("option", ["--prefect-port", "--mlflow-port"])
def test_a_port_that_is_taken_is_one_sentence(option, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"--prefect-port": (port, 0), "--mlflow-port": (0, port)}[option]
        with pytest.raises(WrongInput, match=f"Port {port} is taken. Name another one with {option}"):
            serve(Workspace(tmp_path), *ports, with_worker=False)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_wish_to_end_stop_the_servers_in_order(number):
    with _signals() as stop:
        signal.raise_signal(number)
        assert stop.is_set()


def test_a_night_beside_a_running_ui_uses_its_server_and_gives_its_token(tmp_path, monkeypatch):
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    here = Serving(prefect="http://127.0.0.1:9/api", mlflow=None, token="secret-token", pid=1)
    (tmp_path / ".retain" / "prefect").mkdir(parents=True)
    monkeypatch.setattr(processes, "serving", lambda place: here)
    monkeypatch.setattr(processes, "prefect_server", lambda *_: pytest.fail("another server was started"))
    with prefect_api(Workspace(tmp_path)) as api:
        settings = [os.environ.get(name) for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")]
        assert (api, settings) == (here.prefect, [here.prefect, "retain:secret-token"])
    assert "PREFECT_API_AUTH_STRING" not in os.environ


def test_what_is_printed_of_a_registry_elsewhere_holds_no_password(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:s3cret@mlflow:5000")
    here = Serving(prefect="http://127.0.0.1:4200/api", mlflow=None, token="secret-token", pid=1)
    introduce(Workspace(tmp_path), here, with_worker=False)
    output = capsys.readouterr().out
    assert "MLflow   http://mlflow:5000\n" in output
    assert "s3cret" not in output
    # Not to a terminal, but to a pipe, behind which there may be a log.
    assert "Prefect  http://127.0.0.1:4200/retain#<token>\n" in output
    assert "secret-token" not in output


def test_servers_that_were_killed_are_not_taken_for_running_ones(tmp_path):
    place = Workspace(tmp_path)
    here = Serving(prefect="http://127.0.0.1:9/api", mlflow=None, token="secret-token", pid=1)
    with announced(place, here):
        assert (place.state / "server.json").stat().st_mode & 0o777 == 0o600
        assert serving(place) is None
    assert not list(place.state.iterdir())


HELD = """
import pathlib, signal, sys
from flows.servers.access import alone_to_serve
from tasks.workspace.workspace import Workspace
with alone_to_serve(Workspace(pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    signal.pause()
"""


@pytest.fixture
def killed(tmp_path):
    """A workspace whose `retain ui` is there until the test kills it."""
    process = subprocess.Popen([sys.executable, "-c", HELD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_who_listens_where_servers_were_killed_does_not_hear_the_token(tmp_path, killed):
    heard = []

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Stranger) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{listening.server_port}/api"
        here = Serving(prefect=address, mlflow=None, token="secret-token", pid=killed.pid)
        with announced(Workspace(tmp_path), here):
            assert serving(Workspace(tmp_path)) == here, "as long as it lives"
            killed.kill()
            killed.wait(10)
            assert serving(Workspace(tmp_path)) is None
        listening.shutdown()
    assert len(heard) == 1


def test_a_second_ui_of_a_workspace_starts_nothing(tmp_path, killed):
    sentence = rf"`retain ui` serves {tmp_path} already \(process {killed.pid}, since .*\)\. Use that one, or end it"
    with pytest.raises(Busy, match=sentence):
        serve(Workspace(tmp_path), 0, 0, with_worker=False)
    assert not (tmp_path / ".retain" / "prefect").exists()


def test_an_empty_token_is_none(tmp_path):
    """As a power cut may leave it."""
    place = Workspace(tmp_path)
    place.state.mkdir()
    token_file(place).touch()
    assert len(token_of(place)) == 32
    assert token_of(place) == token_of(place)
