"""A batch may raise, end its process, or never end: it is held back, and nothing else is."""

import errno
import json
import sqlite3
import sys
from datetime import date

import pytest

from records.batch import Batch, Shard
from records.errors import Busy, DamagedState, Unavailable
from records.registration import RunFile
from tasks.validate import isolated
from tasks.validate.question import Question, is_its_own, unanswered
from tasks.validate.settings import ValidateParams

pytestmark = pytest.mark.programs
BATCH = Batch(
    id="2026-01-05-3f2a9c1b", digest="3f2a9c1b" * 8, arrived=date(2026, 1, 5), source="mon\nday", images=7,
    classes=("a",), shards=(Shard(name="images-00000.parquet", rows=7, bytes=1, sha256="0" * 64),),
)  # fmt: skip


@pytest.fixture
def question(tmp_path):
    (tmp_path / ".retain").mkdir()
    return Question(root=tmp_path, batch=BATCH.id, run=RunFile(batches=(BATCH.id,)), params=ValidateParams())


def python(*lines):
    return (sys.executable, "-c", "\n".join(("import os, sys, time", *lines)))


def test_the_batch_is_named_only_as_long_as_it_is_looked_at(tmp_path):
    file = tmp_path / ".retain" / "asking"
    with isolated.noted(file, BATCH.id):
        assert isolated.left_by_another(file) == BATCH.id
    assert isolated.left_by_another(file) == ""
    with pytest.raises(KeyboardInterrupt), isolated.noted(file, BATCH.id):
        raise KeyboardInterrupt
    assert isolated.left_by_another(file) == "", "who stops a night does not blame a batch"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["os.kill(os.getpid(), 9)"], "the process that did so was ended by the signal SIGKILL"),
        (["os.abort()"], "the process that did so was ended by the signal SIGABRT"),
        (["sys.exit(1)"], "the process that did so ended with status 1"),
        (["sys.exit(0)"], "the process that did so ended with status 0"),
        (["open(sys.argv[1], 'w').write('{')"], "the process that did so ended with status 0"),
        (["time.sleep(600)"], "that takes longer than 2 seconds"),
    ],
    ids=["killed", "aborted", "failed", "said nothing", "said half", "never ended"],
)
def test_a_batch_over_which_a_process_ends_is_held(question, lines, why):
    answer = isolated.ask_alone(question, BATCH, python(*lines), longest=2 if "sleep" in lines[0] else 60)
    assert answer.experience is None
    report = answer.report
    assert (report.batch, report.images, report.admitted, report.held.by) == (BATCH.id, 7, False, "retain")
    assert report.source == "mon\\nday"
    assert report.summary == f"Held by retain: validation could not look at it: {why}."


def test_what_the_other_process_says_is_the_answer(question):
    written = unanswered(BATCH, "so it is").model_dump_json()
    answer = isolated.ask_alone(question, BATCH, python(f"open(sys.argv[1], 'w').write({written!r})"))
    assert answer == unanswered(BATCH, "so it is")


def test_an_answer_of_before_is_none(question):
    unanswered(BATCH, "of yesterday").write(question.root / ".retain" / "answer.json")
    answer = isolated.ask_alone(question, BATCH, python("os.kill(os.getpid(), 9)"))
    assert "SIGKILL" in answer.report.summary


def test_what_is_no_fault_of_the_batch_ends_the_night_with_its_sentence(question):
    lines = ("print('MLflow does not answer.', file=sys.stderr)", f"sys.exit({isolated.ELSEWHERE})")
    with pytest.raises(Unavailable, match=r"^MLflow does not answer\.$"):
        isolated.ask_alone(question, BATCH, python(*lines))


def test_the_question_is_on_standard_input(question):
    line = "open('asked.json', 'w').write(sys.stdin.read())"
    isolated.ask_alone(question, BATCH, python(line))
    asked = json.loads((question.root / "asked.json").read_text())
    assert Question.model_validate(asked) == question


@pytest.mark.parametrize(
    ("error", "own"),
    [
        (MemoryError(), True),
        (ValueError("no such column"), True),
        (DamagedState("a shard is missing"), True),
        (FileNotFoundError(errno.ENOENT, "gone"), True),
        (OSError(errno.ENOSPC, "full"), False),
        (Unavailable("MLflow does not answer"), False),
        (Busy("another night"), False),
        (sqlite3.OperationalError("locked"), False),
    ],
)
def test_what_is_wrong_elsewhere_is_no_fault_of_a_batch(error, own):
    assert is_its_own(error) == own
