"""Several processes for one update: `torchrun` starts them, each takes its part of every step.

They find each other by the environment variables of `torch.distributed`; on one machine nothing must be set but
RETAIN_PROCESSES.
"""

import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as distributed

from models.compute import Compute, default_device
from records.errors import UpdateFailed, WrongInput
from records.pace import Progress
from tasks.update.settings import UpdateParams

log = logging.getLogger("retain")


def processes() -> int:
    """RETAIN_PROCESSES, or 1. Raises `WrongInput` for no number."""
    given = os.environ.get("RETAIN_PROCESSES", "1")
    if not given.isdecimal() or int(given) == 0:
        raise WrongInput(f"RETAIN_PROCESSES is `{given}`; it must be a whole number of processes, 1 or more.")
    return int(given)


def check(params: UpdateParams) -> None:
    """Raise `WrongInput`, before a night takes anything, for a device that is not there, and for steps that several
    processes cannot share."""
    default_device()
    budget, strategy = params.budget, params.strategy
    for images in (budget.batch_size, budget.replay_batch_size if strategy.without_memory else 0):
        if strategy.descends:
            Compute(processes=processes()).part(torch.empty(images))


def together() -> bool:
    """Whether this process is one that `torchrun` started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def first() -> bool:
    """Whether this process is the one that writes."""
    return not together() or os.environ.get("RANK", "0") == "0"


@contextmanager
def joined() -> Iterator[None]:
    """Find the other processes, if there are any; NCCL between GPUs, Gloo between CPUs."""
    if not together():
        yield
        return
    device = default_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def update_together(root: Path, progress: Progress = lambda done, total: None) -> None:
    """Run the update step of the workspace `root` in several processes. Raises `UpdateFailed` if one fails."""
    cores = max(1, (os.cpu_count() or 1) // processes())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes()}"]
    # torchrun makes folders for logs that nobody asked for, and leaves them where it is not told a place.
    with (
        tempfile.TemporaryDirectory() as logs,
        subprocess.Popen(
            [*command, f"--log-dir={logs}", "-m", "tasks", "update"],
            cwd=root,
            env={"OMP_NUM_THREADS": str(cores), **os.environ},
            stdout=subprocess.PIPE,
            text=True,
        ) as running,
    ):
        assert running.stdout is not None
        try:
            for line in running.stdout:
                if counts := PROGRESS_LINE.fullmatch(line.strip()):
                    progress(int(counts[1]), int(counts[2]))
                elif message := LOG_LINE.fullmatch(line.rstrip("\n")):
                    level = logging.getLevelNamesMapping()[message[1]]
                    log.log(level, "%s", message[2], extra={"lasting": True})
        except BaseException:
            running.terminate()  # It takes the processes that it started along.
            raise
    if running.returncode:
        raise UpdateFailed(
            f"The update in {processes()} processes ended with status {running.returncode}; see its output."
        )


PROGRESS_LINE = re.compile(r"(\d+) of (\d+) steps")
"""How the first of several processes tells the one that started them how far they are."""


LOG_LINE = re.compile(r"(INFO|WARNING): (.*)")
"""How it tells what a night says in its log."""


class Relay(logging.Handler):
    """Writes messages to standard output, for the process that started this one."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        print(f"{record.levelname}: {' '.join(record.getMessage().split())}", flush=True)


def relay_messages() -> None:
    """From now on, what the first of several processes says reaches the night that started it."""
    if first() and together():
        log.setLevel(logging.INFO)
        log.addHandler(Relay())
        log.propagate = False


def say_progress() -> Progress:
    """A progress function that says so on standard output, once a percent; only of the first of several processes."""
    last = -1

    def say(done: int, total: int) -> None:
        nonlocal last
        percent = 100 * done // max(total, 1)
        if first() and together() and percent != last:
            last = percent
            print(f"{done} of {total} steps", flush=True)

    return say
