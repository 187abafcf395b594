"""What came of a night, told to scripts."""

import pytest

from records.experience import Report
from records.registration import Night

REPORT = Report(batch="2026-03-02-aaaaaaaa", source="monday", images=3, admitted=False, summary="broken", checks=())


@pytest.mark.parametrize(
    ("night", "concerns"),
    [
        (Night(outcome="accept"), ()),
        (Night(outcome="refuse", unreadable={"monday": "holds no files"}), ("refused", "unreadable")),
        (Night(outcome="inconclusive", refusals=(REPORT,)), ("inconclusive", "quarantine")),
        (Night(outcome="held"), ("held",)),
        (Night(outcome="nothing to learn", quarantined=(REPORT,)), ("nothing", "quarantine")),
    ],
)
def test_what_somebody_may_want_to_hear_of(night, concerns):
    assert night.concerns() == concerns
