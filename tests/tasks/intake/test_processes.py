import operator
import os
import resource
import signal
import subprocess
import sys
from functools import partial

import pytest

from records.errors import Unavailable
from tasks.intake.processes import in_order, one_by_one

WORKERS_OF_A_KILLED_PROCESS = """
import multiprocessing, os, signal, time
from tasks.intake.processes import in_order

if __name__ == "__main__":
    results = in_order(time.sleep, [0, 0, 0, 0, 0, 600, 600], 2, time.sleep)
    next(results)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""

DIE = partial(os._exit, 9)


def test_results_come_in_the_order_of_the_work():
    assert list(in_order(abs, range(0, -20, -1), 2, instead=abs)) == list(range(20))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("deadly", [{0}, {11}, {3, 4, 9}])
def test_a_part_that_ends_its_process_is_dealt_with_here_and_all_others_go_on(workers, deadly):
    parts = [DIE if number in deadly else partial(max, number, -1) for number in range(12)]
    here = []

    def instead(part):
        here.append(part)
        return -os.getpid()

    results = list(in_order(operator.call, parts, workers, instead))
    assert results == [-os.getpid() if number in deadly else number for number in range(12)]
    assert len(here) == len(deadly)


def test_a_part_is_only_given_up_when_it_was_alone_in_its_process():
    first, second, third, fourth = one_by_one(
        operator.call, [os.getpid, DIE, os.getpid, os.getpid], instead=lambda part: None
    )
    assert second is None
    assert len({first, third, fourth}) == 2
    assert third == fourth


def test_without_processes_it_is_a_sentence():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(Unavailable, match=r"No process to examine images in can be started \(.*open files"):
            list(in_order(abs, [1], 1, instead=abs))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_the_work_raises_is_raised():
    with pytest.raises(TypeError, match="bad operand"):
        list(in_order(abs, ["text"], 1, instead=abs))


def test_no_process_outlives_the_one_that_started_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WORKERS_OF_A_KILLED_PROCESS)
    # All of them hold the other end of the pipe: reading it to its end waits until they are gone.
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout.split()) == 2
