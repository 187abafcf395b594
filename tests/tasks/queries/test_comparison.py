"""Two versions compared by answers worked out by hand; where a workspace stands."""

import os
import subprocess
import sys
from datetime import date

import pandas as pd
import pytest

from dataset.batches import list_batches
from records.errors import WrongInput
from tasks.approve import approve_run
from tasks.ingest.inbox import take
from tasks.ingest.settings import IngestParams
from tasks.quarantine import release
from tasks.queries.comparison import Change, compare_answers, compare_versions
from tasks.queries.status import may_learn, status_of
from tasks.workspace.creation import create
from tasks.workspace.workspace import Workspace


def answers(**experiences: dict[str, tuple[str, str]]) -> pd.DataFrame:
    """What a version said: of each experience, image to label and answer."""
    return pd.DataFrame(
        {"experience": experience, "image": image, "label": label, "answer": answer, "overall": float(label == answer)}
        for experience, images in experiences.items()
        for image, (label, answer) in images.items()
    )


BEFORE = {"1": ("cat", "cat"), "2": ("cat", "cat"), "3": ("cat", "dog"), "4": ("dog", "dog"), "5": ("dog", "dog")}
AFTER = {"1": ("cat", "cat"), "2": ("cat", "owl"), "3": ("cat", "cat"), "4": ("dog", "owl"), "5": ("dog", "owl")}
NEW = {"6": ("owl", "owl"), "7": ("owl", "cat"), "8": ("cat", "cat"), "9": ("cat", "owl")}


def test_a_comparison_counts_images_lost_and_gained():
    # The order of the rows does not matter.
    comparison = compare_answers(
        1, 2, answers(monday=BEFORE), answers(monday=dict(reversed(AFTER.items())), tuesday=NEW)
    )
    assert (comparison.first, comparison.second) == (1, 2)
    assert comparison.total == Change(subject="all", images=5, first=0.8, second=0.4, lost=3, gained=1)
    assert comparison.experiences == (
        Change(subject="monday", images=5, first=0.8, second=0.4, lost=3, gained=1),
        Change(subject="tuesday", images=4, first=None, second=0.5, lost=0, gained=0),
    )
    assert comparison.classes == (
        # What only the second was examined on does not count for a class that both know.
        Change(subject="cat", images=3, first=0.666667, second=0.666667, lost=1, gained=1),
        Change(subject="dog", images=2, first=1, second=0, lost=2, gained=0),
        Change(subject="owl", images=2, first=None, second=0.5, lost=0, gained=0),
    )
    assert list(comparison.confused.items()) == [("dog → owl", 2), ("cat → owl", 1)]


def test_a_comparison_the_other_way_round_is_its_mirror():
    comparison = compare_answers(2, 1, answers(monday=AFTER, tuesday=NEW), answers(monday=BEFORE))
    assert comparison.total == Change(subject="all", images=5, first=0.4, second=0.8, lost=1, gained=3)
    assert comparison.experiences[1] == Change(subject="tuesday", images=4, first=0.5, second=None, lost=0, gained=0)
    assert comparison.confused == {"cat → dog": 1}


def test_a_version_lost_nothing_against_itself():
    comparison = compare_answers(1, 1, answers(monday=BEFORE), answers(monday=BEFORE))
    assert (comparison.total.lost, comparison.total.gained, comparison.confused) == (0, 0, {})


def test_versions_with_nothing_in_common_have_no_total():
    comparison = compare_answers(1, 2, answers(monday=BEFORE), answers(tuesday=NEW))
    assert comparison.total is None
    assert [(c.subject, c.first, c.second) for c in comparison.experiences] == [
        ("monday", 0.8, None),
        ("tuesday", None, 0.5),
    ]
    assert comparison.confused == {}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Workspace:
    """Before the first night."""
    return create(tmp_path_factory.mktemp("fresh") / "workspace")


def test_the_status_of_a_new_workspace(fresh):
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


def test_what_is_not_there_is_wrong_input(fresh):
    with pytest.raises(WrongInput, match="has no version 1; there is none yet"):
        compare_versions(fresh, 1, 2)
    with pytest.raises(WrongInput, match="No finished run is called `c0ffee`"):
        approve_run(fresh, "c0ffee", by="somebody", note="", overrule=False)


def test_to_look_where_a_workspace_stands_loads_no_torch():
    """It takes seconds, and `retain status` is asked often."""
    asked = "import sys, tasks.queries.status; print([n for n in ('torch', 'pandas', 'scipy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
