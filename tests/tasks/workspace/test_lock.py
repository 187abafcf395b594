"""One at a time; the others say for whom they wait, and a killed holder holds nothing."""

import subprocess
import sys

import psutil
import pytest

from tasks.workspace.lock import LockTaken, is_held, turn

HOLD = """
import pathlib, signal, sys
from tasks.workspace.lock import turn
with turn(pathlib.Path(sys.argv[1]), "a night", patient=False):
    print("held", flush=True)
    signal.pause()
"""


@pytest.fixture
def night(tmp_path):
    """A process that holds the file `lock`, until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_who_does_not_wait_hears_who_is_at_work(tmp_path, night):
    with pytest.raises(LockTaken) as taken, turn(tmp_path / "lock", "a command", patient=False):
        pytest.fail("entered")
    assert (taken.value.holder.what, taken.value.holder.process) == ("a night", night.pid)
    assert taken.value.holder.detail().startswith(f"process {night.pid}, since 20")


def test_a_killed_holder_holds_nothing(tmp_path, night):
    assert is_held(tmp_path / "lock")
    night.kill()
    psutil.Process(night.pid).wait(10)
    assert not is_held(tmp_path / "lock")
    with turn(tmp_path / "lock", "a command", patient=False):
        assert is_held(tmp_path / "lock")


def test_who_waits_says_for_whom_and_then_goes_on(tmp_path, night, end_when_waited_for):
    messages = end_when_waited_for(night.kill)
    with turn(tmp_path / "lock", "a command", patient=True):
        assert [line.partition(" (")[0] for line in messages] == ["waiting for a night"]


def test_waiting_can_be_broken_off(tmp_path, night, end_when_waited_for):
    def press_ctrl_c() -> None:
        raise KeyboardInterrupt

    end_when_waited_for(press_ctrl_c)
    with pytest.raises(KeyboardInterrupt), turn(tmp_path / "lock", "a command", patient=True):
        pytest.fail("entered")
    assert is_held(tmp_path / "lock")


def test_a_file_that_nobody_made_is_held_by_nobody(tmp_path):
    assert not is_held(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()
