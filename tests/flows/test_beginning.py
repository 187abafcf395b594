"""A small beginning: the first deliveries wait for each other, and say so."""

import pytest

from flows.terminal import views
from records.registration import Night
from tasks.queries.status import status_of
from tasks.workspace.workspace import Workspace

PARAMS = """
ingest: {settle_seconds: 0}
validate: {}
update: {network: {name: mlp}, memory: {size: 200}, budget: {min_steps: 60}}
evaluate: {}
judge: {name: paired_score}
"""


@pytest.fixture
def small(tmp_path, new_workspace) -> Workspace:
    """A workspace with the limits that ship."""
    workspace: Workspace = new_workspace(tmp_path / "shop")
    workspace.params.write_text(PARAMS)
    return workspace


@pytest.fixture
def nights(small, deliver, run_night):
    """`nights(300, 5)` plays five nights with so many images each."""

    def play(images: int, count: int) -> list[Night]:
        played = []
        for day in range(2, 2 + count):
            deliver(small.inbox / f"day-{day}", {"bar": images // 2, "column": images // 2}, day)
            played.append(run_night(small, day))
        return played

    return play


@pytest.mark.slow
def test_a_workspace_that_waits_says_for_what(small, nights, capsys):
    (night,) = nights(60, 1)
    assert night.sentence().startswith("Nothing to learn yet: 1 pending batch holds ")
    status = status_of(small)
    assert (status.champion, len(status.pending)) == (None, 1)
    assert status.beginning == night.beginning
    views.show_status(status, small.root)
    assert f"No version yet: {status.beginning.sentence()[:20]}" in capsys.readouterr().out
    assert not small.run_file().batches


@pytest.mark.slow
def test_deliveries_that_waited_are_learned_together(small, nights, deliver, run_night):
    (first,) = nights(300, 1)
    assert (first.outcome, first.beginning.wanted, first.learned) == ("nothing to learn", 200, ())
    deliver(small.inbox / "more", {"bar": 60, "column": 60}, 3)
    second = run_night(small, 3)
    assert (second.outcome, len(second.learned), second.beginning) == ("accept", 2, None), second.sentence()
