"""The nights that show what grows: they can be played, and what they cost is counted with all that they start."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import growth, page, usage
from tasks.params.params import read_params


def test_its_parameters_are_parameters(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(growth.PARAMS)
    assert read_params(tmp_path / "params.yaml").judge.name == "paired_score"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_what_a_process_started_counts_while_it_lives_and_after() -> None:
    busy = "import time\nwhile time.process_time() < 0.4: pass\nprint(flush=True); input()"
    before = usage.cpu_seconds([os.getpid()])
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        family = usage.family(os.getpid())
        assert child.pid in family
        assert usage.cpu_seconds([child.pid]) >= 0.3
        assert usage.memory(child.pid) > 1e6
        assert "process_time" in usage.command(child.pid)
        child.communicate(b"\n")
    assert usage.cpu_seconds([os.getpid()]) - before >= 0.3
    assert usage.cpu_seconds([child.pid]) == usage.memory(child.pid) == 0


def test_a_row_is_the_average_night_of_its_span() -> None:
    line = {
        "nights": [11, 20],
        "cpu": {"night": [5.0, 7.0], "prefect": [1.0, 1.0]},
        "seconds": [4.0, 9.0],
        "memory": {"night": 1e9, "prefect": 2e8},
        "accepted": 2,
        "grown": dict.fromkeys(page.GROWTH_STORES, 1500.0),
    }
    assert page.growth_row(line) == "| 11-20 | 7.0 | 1.0 | 6.5 | 1,200 | 2 | 2 | 2 | 2 | 2 | 2 | 2 | 2 |"


@pytest.mark.slow
def test_nights_are_played_and_measured(tmp_path: Path) -> None:
    out, before = tmp_path / "growth.jsonl", time.monotonic()
    command = [sys.executable, "-m", "benchmarks.growth", "--nights", "2", "--span", "2", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    machine, line = page.read(out)
    assert machine["system"] == "machine"
    assert line["accepted"] == 2
    assert sum(line["seconds"]) < time.monotonic() - before
    assert min(line["cpu"]["night"] + line["cpu"]["prefect"]) > 0
    assert sum(line["steps"].values()) == pytest.approx(sum(line["seconds"]) / 2, rel=0.5)
    assert line["grown"]["all"] > line["grown"]["prefect"] >= line["grown"]["prefect.db"] > 0
    assert page.growth_row(line) in done.stdout
