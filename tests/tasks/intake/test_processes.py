import os
import signal
import subprocess
import sys

import pytest

from records.errors import Unavailable
from tasks.intake.processes import in_order

WORKERS_OF_A_KILLED_PROCESS = """
import multiprocessing, os, signal, time
from tasks.intake.processes import in_order

if __name__ == "__main__":
    results = in_order(time.sleep, [0, 0, 0, 0, 0, 600, 600], 2)
    next(results)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_results_come_in_the_order_of_the_work():
    assert list(in_order(abs, range(0, -20, -1), 2)) == list(range(20))


def test_a_process_that_is_killed_is_a_sentence():
    with pytest.raises(Unavailable, match="was killed, most likely for lack of memory"):
        list(in_order(os._exit, [9], 1))


def test_no_process_outlives_the_one_that_started_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WORKERS_OF_A_KILLED_PROCESS)
    # Both workers hold the other end of the pipe: reading it to its end waits until they are gone.
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout.split()) == 2
