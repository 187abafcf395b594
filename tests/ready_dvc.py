"""DVC for tests without the second that it takes to import: one process imports it, and each command is a copy of that.

The same program, the same arguments, a process of its own with its own folder, environment and streams; only that it
was begun before. `make test-all` calls DVC as retain does.

This file is run by its path: as `serve`, the process that waits, and as `call`, what a caller starts in place of DVC.
"""

import importlib
import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

LIBRARIES = (
    "dvc.cachemgr",
    "dvc.cli.parser",
    "dvc.daemon",
    "dvc.data_cloud",
    "dvc.dvcfile",
    "dvc.repo.brancher",
    "dvc.repo.index",
    "dvc.repo.metrics",
    "dvc.repo.open_repo",
    "dvc.repo.plots",
    "dvc.repo.trie",
    "dvc.repo.worktree",
    "dvc.rwlock",
    "dvc.stage.serialize",
    "dvc_data.hashfile.db.local",
    "dvc_data.hashfile.status",
    "dvc_data.index.push",
    "dulwich.ignore",
    "dulwich.index",
    "dulwich.worktree",
    "configobj",
    "fsspec.implementations.memory",
    "networkx",
    "rich.status",
    "ruamel.yaml",
    "scmrepo.git",
)
"""What most commands import. What is missing here is imported by each."""


class ReadyDVC:
    """The process that waits. It ends when it is stopped or this process ends."""

    def __init__(self, folder: Path) -> None:
        address = str(folder / "dvc.socket")
        # Neither site-packages nor settings of the user: to start it takes some hundredths of a second.
        self.command = (sys.executable, "-I", "-S", __file__, "call", address)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(64)
            server = [sys.executable, "-P", __file__, "serve", str(listener.fileno())]
            self.process = subprocess.Popen(server, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], cwd=folder)

    def stop(self) -> None:
        """End it."""
        self.process.communicate()


def serve(listener: socket.socket) -> None:
    """Copy this process for each caller, until standard input ends."""
    for library in LIBRARIES:
        importlib.import_module(library)
    copies: list[int] = []
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        caller, _ = listener.accept()
        copies.append(os.fork())
        if copies[-1] == 0:
            listener.close()
            as_copy(caller)
        caller.close()
        copies = [copy for copy in copies if os.waitpid(copy, os.WNOHANG)[0] == 0]


def as_copy(caller: socket.socket) -> NoReturn:
    """Be DVC, as the caller wants it, and tell the exit code."""
    code = 1
    try:
        _, streams, _, _ = socket.recv_fds(caller, 1, 3)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        order = json.loads(caller.makefile("rb").readline())
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        from dvc.cli import main

        code = main(order["words"]) or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        caller.sendall(bytes([code]))
        os._exit(code)


def call(address: str, words: list[str]) -> int:
    """Let the process that waits carry out `words` as if this process did; gives the exit code."""
    order = {"words": words, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [b"\0"], [0, 1, 2])
        server.sendall(json.dumps(order).encode() + b"\n")
        return (server.recv(1) or b"\1")[0]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(socket.socket(fileno=int(sys.argv[2])))
    else:
        sys.exit(call(sys.argv[2], sys.argv[3:]))
