import operator
import os
import re
import resource
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from dataset.processes import Limits, affordable, in_order, one_by_one
from records.errors import Unavailable, WrongInput

WORKERS_OF_A_KILLED_PROCESS = """
import multiprocessing, os, signal, time
from dataset.processes import in_order

if __name__ == "__main__":
    results = in_order(time.sleep, [0, 0, 0, 0, 0, 600, 600], 2, None)
    next(results)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""

DIE = partial(os._exit, 9)
LIMITS = Limits(memory=2**28, seconds=0.5)


def why_only(part, why):
    return why


def raise_it(error):
    raise error


def test_modules_that_lie_in_the_working_directory_are_not_ours(tmp_path):
    work = "from dataset.processes import in_order\nprint(*in_order(abs, [-1, -2], 1, None))\n"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "retain.py").write_text(work.replace("print", "if __name__ == '__main__': print"))
    (tmp_path / "records.py").write_text("raise SystemExit(9)")
    result = subprocess.run(
        [sys.executable, "bin/retain.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "1 2\n"), result.stderr


def test_results_come_in_the_order_of_the_work():
    assert list(in_order(abs, range(0, -20, -1), 2, instead=why_only)) == list(range(20))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("deadly", [{0}, {11}, {3, 4, 9}])
def test_a_part_that_ends_its_process_is_dealt_with_here_and_all_others_go_on(workers, deadly):
    parts = [DIE if number in deadly else partial(max, number, -1) for number in range(12)]
    here = []

    def instead(part, why):
        here.append(part)
        return -os.getpid()

    results = list(in_order(operator.call, parts, workers, instead))
    assert results == [-os.getpid() if number in deadly else number for number in range(12)]
    assert len(here) == len(deadly)


@pytest.mark.parametrize(
    ("part", "seconds", "why"),
    [
        (DIE, 0.5, r"crashed \(exit code 9\)"),
        (partial(signal.raise_signal, signal.SIGSEGV), 0.5, r"crashed \(SIGSEGV\)"),
        (partial(sum, range(10**12)), 0.5, "took more than 0.5 s of processor time"),
        (partial(time.sleep, 600), 0.05, "took more than 1 s"),
        (partial(bytearray, 2**29), 0.5, "took more memory than 256 MiB"),
        (partial(raise_it, ValueError("a\nb")), 0.5, r"failed \(ValueError: a b\)"),
    ],
)  # fmt: skip
def test_a_part_that_fails_says_why_and_all_others_go_on(part, seconds, why):
    limits = Limits(2**28, seconds)
    parts = [partial(max, number, -1) for number in range(6)]
    parts[3] = part
    assert_told(list(in_order(operator.call, parts, 2, why_only, limits)), why)
    assert_told(list(one_by_one(operator.call, parts, why_only, limits)), why)


def assert_told(results, why):
    assert re.fullmatch(why, results.pop(3))
    assert results == [0, 1, 2, 4, 5]


def test_each_part_has_the_whole_of_the_limits():
    parts = [partial(sum, range(5_000_000))] * 15
    assert len(set(in_order(operator.call, parts, 1, why_only, LIMITS))) == 1


def test_no_more_processes_than_memory_is_enough_for():
    assert affordable(4, Limits(1, 1)) == 4
    assert affordable(4, Limits(2**60, 1)) == 1


def test_a_part_is_only_given_up_when_it_was_alone_in_its_process():
    first, second, third, fourth = one_by_one(
        operator.call, [os.getpid, DIE, os.getpid, os.getpid], instead=lambda part, why: None
    )
    assert second is None
    assert len({first, third, fourth}) == 2
    assert third == fourth


def test_without_processes_it_is_a_sentence():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(Unavailable, match=r"No process to examine images in can be started \(.*open files"):
            list(in_order(abs, [1], 1, instead=why_only))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_sentence_that_the_work_raises_is_raised():
    with pytest.raises(WrongInput, match="one sentence"):
        list(in_order(raise_it, [WrongInput("one sentence")], 1, instead=why_only))


def test_no_process_outlives_the_one_that_started_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WORKERS_OF_A_KILLED_PROCESS)
    # All of them hold the other end of the pipe: reading it to its end waits until they are gone.
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout.split()) == 2
