"""A night as a person sees it: on one line, and at length."""

from datetime import date
from pathlib import Path

import pytest

from flows.terminal import views
from records.batch import Arrival, Batch, Shard
from records.experience import Report
from records.registration import Night, Registration
from records.verdict import Finding, Verdict

BATCH = "2026-03-02-0123abcd"
RUN = "adf3878dfcea4024b2cab547e74ea999"


def finding(question, estimate, lower, upper, subject="mean"):
    return Finding(question=question, subject=subject, estimate=estimate, lower=lower, upper=upper, limit=0.05,
                   images=100, decision="accept")  # fmt: skip


def judged(decision, *findings, version=None, outcome=None, **values):
    verdict = Verdict(decision=decision, reason="The reason.", gate="g", confidence=0.95, findings=findings)
    registration = Registration(run=RUN, model="m", version=version, champion=version is not None)
    return Night(outcome=outcome or decision, verdict=verdict, registration=registration, seconds=12.34, **values)


LEARNED = finding("learned", 0.9722, 0.95, 0.99, BATCH), finding("learned", 0.99, 0.95, 1, "other")
GOOD = judged(
    "accept", finding("forgotten", 0.003, -0.026, 0.02), finding("taken", 0.004, 0, 0.01), *LEARNED, version=3
)
REPORT = Report(batch=BATCH, source="scanner", images=9, admitted=False, summary="Quarantined: why.", checks=())


@pytest.mark.parametrize(
    ("estimate", "lower", "upper", "words"),
    [
        (0.6548, 0.6229, 0.6651, "65.5% [62.3, 66.5]"),
        (0.003, -0.026, 0.02, "0.3% [0.0, 2.0]"),
        (-0.004, -0.03, 0.009, "0.0% [0.0, 0.9]"),
        (-0.021, -0.04, -0.003, "gained 2.1%"),
        (-0.0, 0.0, 0.0, "0.0% [0.0, 0.0]"),
    ],
)
def test_nothing_below_zero_is_forgotten(estimate, lower, upper, words):
    assert views.lost(finding("forgotten", estimate, lower, upper)) == words


def test_a_first_night_has_no_past_to_forget():
    assert views.lost(None) == "–"
    assert views.learned(None) == "–"


def lines(capsys):
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def wide(monkeypatch):
    def be(width):
        monkeypatch.setenv("COLUMNS", str(width))

    be(100)
    return be


def test_a_night_on_one_line_stands_under_its_header(capsys, wide):
    views.show_night_header()
    views.show_night_line(4, "fours-and-fives", GOOD)
    header, line = lines(capsys)[-2:]
    assert header == "night  delivery               learned  forgotten            taken  verdict       version  seconds"
    assert line == "4      fours-and-fives          97.2%  0.3% [0.0, 2.0]       0.4%  accepted      v3        12.3 s"


def test_a_night_without_a_verdict_is_one_of_quarantine(capsys, wide):
    night = Night(outcome="nothing to learn", quarantined=(REPORT,), seconds=2)
    views.show_night_line(3, "a-scanner-with-a-long-name", night)
    views.show_reasons("night 3", night)
    assert lines(capsys) == [
        "3      a-scanner-with-a-lon…        –  –                        –  quarantined   –          2.0 s",
        "night 3      Quarantined: why.",
    ]


@pytest.mark.parametrize("width", [80, 88, 97, 100, 200])
def test_a_line_fits_the_terminal(capsys, wide, width):
    wide(width)
    night = judged("inconclusive", finding("forgotten", 0.5, 0.3, 0.6), finding("taken", 0.5, 0.3, 0.6), *LEARNED)
    views.show_night_line(1, "x" * 300 + "\n", night)
    (line,) = lines(capsys)
    assert len(line) <= width
    assert all(word in line for word in ("97.2%", "50.0% [30.0, 60.0]", "inconclusive", "12.3 s"))


def test_a_night_at_length(capsys, wide):
    wide(200)
    batch = Batch(id=BATCH, digest="0", arrived=date(2026, 3, 2), source="monday", images=7, classes=("a",),
                  shards=(Shard(name="s", rows=7, bytes=1, sha256="0"),))  # fmt: skip
    arrivals = (Arrival(batch=batch, known=False), Arrival(batch=batch, known=True))
    night = GOOD.model_copy(
        update={
            "arrivals": arrivals,
            "unreadable": {"bad\n": "It is empty."},
            "waiting": {"late": "changed 3 s ago; it is taken once it has been still for 10 s (why)."},
            "quarantined": (REPORT,),
            "learned": (BATCH,),
        }
    )
    views.show_night(night, Path("/shop"))
    assert lines(capsys) == [
        f"ingested     {BATCH}: 7 images of monday",
        f"ingested     {BATCH}: 7 images of monday (known already: nothing was added)",
        "not taken    bad\\n stays in the inbox: It is empty.",
        "waits        late changed 3 s ago; it is taken once it has been still for 10 s (why).",
        f"quarantined  {BATCH} (scanner)",
        "             Quarantined: why.",
        f"             /shop/quarantine/{BATCH}/report.html",
        f"learned      {BATCH}",
        "The reason. Registered as v3.",
        "12.3 seconds",
    ]


def test_what_was_sent_with_a_batch_and_is_not_in_it_is_named(capsys, wide, tmp_path):
    wide(500)
    batch = Batch(id=BATCH, digest="0", arrived=date(2026, 3, 2), source="monday", images=7, classes=("a",), shards=())
    (tmp_path / "quarantine" / BATCH / "files").mkdir(parents=True)
    views.show_night(Night(outcome="nothing to learn", arrivals=(Arrival(batch=batch, known=False),)), tmp_path)
    assert lines(capsys)[1] == (
        f"             Files that were sent with it and are in no batch: {tmp_path}/quarantine/{BATCH}/files"
    )


def test_a_night_of_which_all_still_changes_says_so():
    night = Night(outcome="nothing to learn", waiting={"late": "changed 3 s ago."})
    assert night.sentence() == "Nothing to learn: no batch is pending, and what is in the inbox still waits."


def test_an_open_night_says_how_a_person_decides(capsys, wide):
    wide(200)
    views.show_night(judged("inconclusive"), Path("/shop"))
    assert lines(capsys)[:2] == [
        "The reason. Its data stay pending.",
        "To approve it manually: retain approve adf3878d -w /shop",
    ]
    views.show_night(judged("accept", outcome="held"), Path("/shop"))
    assert f"`retain approve {RUN}`" in capsys.readouterr().out
    views.show_night(judged("refuse"), Path("/shop"))
    assert "approve" not in capsys.readouterr().out
