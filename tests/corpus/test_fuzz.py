import subprocess
import sys
from pathlib import Path

import pytest

from dataset.facts import facts
from dataset.processes import Limits
from tasks.ingest.settings import IngestParams
from tests.corpus import fuzz
from tests.corpus.files import whole
from tests.corpus.fuzz import LIMITS, fault, fault_in, input_of, keep, unless_limited
from tests.corpus.mutations import good_files

ROOT = Path(__file__).parents[2]


def test_good_files_have_no_fault():
    assert [fault(encoded) for encoded in good_files()] == [""] * len(good_files())
    assert {facts(encoded, LIMITS).format for encoded in good_files()} == {"PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"}


def test_an_input_follows_from_seed_and_number():
    inputs = [input_of(0, number) for number in range(50)]
    assert inputs == [input_of(0, number) for number in range(50)]
    assert len(set(inputs)) > 45
    assert inputs != [input_of(1, number) for number in range(50)]


def test_three_hundred_inputs_have_no_fault():
    assert [fault(input_of(0, number)) for number in range(300)] == [""] * 300


@pytest.mark.parametrize(
    "wrong",
    [{"width": 3}, {"image": "0" * 32}, {"frames": 2}, {"contrast": 0.6}, {"phash": ""}, {"problem": "unreadable"}],
)
def test_facts_that_the_pixels_do_not_confirm_are_a_fault(wrong):
    encoded = whole("PNG")
    found = facts(encoded, LIMITS)
    assert fault_in(encoded, found) == ""
    assert fault_in(encoded, found._replace(**wrong)) != ""


def test_a_problem_that_is_none_is_a_fault():
    found = facts(b"text", LIMITS)
    assert fault_in(b"text", found) == ""
    assert fault_in(b"text", found._replace(problem="odd")) != ""
    assert fault_in(b"text", found._replace(detail="two\nlines")) != ""


def test_a_finding_is_kept_with_seed_and_number(tmp_path, capsys):
    keep(tmp_path / "findings", 3, 13, "took too long")
    assert (tmp_path / "findings" / "seed-3-input-13").read_bytes() == input_of(3, 13)
    assert "Input 13 of seed 3: took too long." in capsys.readouterr().out
    keep(tmp_path / "findings", 3, 14, "took too long")
    assert (tmp_path / "findings" / "seed-3-input-14").is_dir()


def test_what_a_limit_of_the_product_ends_is_no_finding():
    assert unless_limited(7, "took more memory than 1,024 MiB") == ""
    assert unless_limited(7, "took more than 10 s of processor time") == ""
    assert unless_limited(7, "crashed (SIGSEGV)") == "its decoder crashed (SIGSEGV)"


def test_what_fuzzes_has_the_limits_of_the_product(tmp_path, monkeypatch):
    given, shipped = [], IngestParams()
    monkeypatch.setattr(fuzz, "in_order", lambda *told: given.append(told[-1]) or iter(()))
    assert fuzz.fuzz(0, 1, 1, tmp_path) == 0
    assert given == [Limits(shipped.image_memory, shipped.image_seconds)]


@pytest.mark.slow
def test_the_command_examines_as_many_inputs_as_it_is_told(tmp_path):
    command = [sys.executable, "-m", "tests.corpus.fuzz", "--inputs", "50", "--findings", str(tmp_path / "findings")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("50 inputs of seed 0 in ")
    assert done.stdout.endswith(": 0 findings.\n")
    assert not (tmp_path / "findings").exists()
