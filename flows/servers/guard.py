"""`python guard.py COMMAND ...`: runs COMMAND until it ends, or until standard input does.

Whoever starts a server holds the other end of that pipe. However they end, killed with no time for a last word too, the
pipe closes, and the server goes with them: none is left behind that holds a port and a database.
"""

import os
import signal
import subprocess
import sys
import threading

PATIENCE = 10.0
"""Seconds that a command has to end by itself."""


def main(command: list[str]) -> int:
    """Run `command`, which is not a shell's; gives its exit code, negative if a signal ended it."""
    # A socket that we were given is meant for the command.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop(child))
    threading.Thread(target=watch, args=(child,), daemon=True).start()
    return child.wait()


def watch(child: "subprocess.Popen[bytes]") -> None:
    """Stop `child` when standard input ends; kill it if it does not stop in time."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop(child)
    try:
        child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()


def stop(child: "subprocess.Popen[bytes]") -> None:
    """Ask `child` to end."""
    if child.poll() is None:
        child.terminate()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
