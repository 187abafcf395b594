"""Where a workspace stands, and whether a night would find something to learn."""

import os
import subprocess
import sys
from datetime import date

import pytest

from dataset.batches import list_batches
from tasks.ingest.inbox import take
from tasks.ingest.settings import IngestParams
from tasks.quarantine import release
from tasks.queries.status import may_learn, status_of
from tasks.workspace.creation import create


def test_the_status_of_a_new_workspace(tmp_path):
    fresh = create(tmp_path / "workspace")
    (fresh.inbox / "monday").mkdir()
    (fresh.inbox / ".DS_Store").touch()
    (fresh.inbox / os.fsdecode(b"caf\xe9")).mkdir()
    status = status_of(fresh)
    assert (status.champion, status.last, status.learned, status.classes) == (None, None, (), ())
    assert status.inbox == ("caf\\udce9", "monday"), "a name that is no UTF-8 is shown, too"
    assert status.pending == status.quarantine == ()


def test_the_next_night_may_learn_what_was_delivered_or_is_pending(tmp_path, deliver):
    place = create(tmp_path / "workspace")
    assert not may_learn(place)
    delivery = deliver(place.inbox / "monday", {"bar": 2})
    assert may_learn(place), "what is in the inbox"
    take(place, delivery, date(2026, 3, 1), IngestParams())
    assert may_learn(place), "what is pending"
    (batch,) = list_batches(place.batches)
    release.hold(place, batch, by="somebody", note="")
    assert not may_learn(place), "what is held waits for a person"
    place.params.write_text("register: {model: 7}")
    assert may_learn(place), "what cannot be seen is left to the night"


@pytest.mark.slow
def test_a_night_with_nothing_to_learn_does_not_import_what_learns(tmp_path):
    """It takes seconds of every empty night."""
    place = create(tmp_path / "workspace")
    asked = (
        "import sys; from pathlib import Path\n"
        "from flows.servers.processes import import_libraries; from tasks.workspace.workspace import Workspace\n"
        f"import_libraries(Workspace(Path({str(place.root)!r})))\n"
        "print([name for name in ('torch._dynamo', 'great_expectations', 'flows.night') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['flows.night']"


def test_to_look_where_a_workspace_stands_loads_no_torch():
    """It takes seconds, and `retain status` is asked often."""
    asked = "import sys, tasks.queries.status; print([n for n in ('torch', 'pandas', 'scipy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
