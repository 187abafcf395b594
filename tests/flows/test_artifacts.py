"""What Prefect's lists and tables call a night and its deliveries, and what its log says of progress."""

import logging
from datetime import date

from flows.artifacts import narrate, score_rows, title, verdict_page
from flows.terminal import screen
from records.batch import Arrival, Batch
from records.registration import Night, Registration
from records.scores import Score, ScoreMatrix, ScoreRow
from records.verdict import Finding, Verdict


def arrival(name: str) -> Arrival:
    day = date(2026, 3, 2)
    batch = Batch(id=f"{day}-0", digest="0", arrived=day, source=name, images=7, classes=("a",), shards=())
    return Arrival(batch=batch, known=False, delivery=name)


def test_a_night_is_called_by_what_it_took_and_what_came_of_it():
    registration = Registration(run="r", model="m", version=3, champion=True)
    arrivals = tuple(map(arrival, ("monday", "tuesday", "wednesday", "thursday")))
    night = Night(outcome="accept", day=date(2026, 3, 2), arrivals=arrivals[:2], registration=registration)
    assert title(night) == "monday, tuesday: accepted as v3 · 2026-03-02"
    refused = night.model_copy(update={"outcome": "refuse", "arrivals": arrivals, "registration": None})
    assert title(refused) == "monday, tuesday, wednesday and 1 more: refused · 2026-03-02"
    idle = Night(outcome="nothing to learn", day=date(2026, 3, 2))
    assert title(idle) == "nothing new: nothing to learn · 2026-03-02"
    assert title(idle.model_copy(update={"learned": ("b",), "outcome": "held"})).startswith("what was pending: held")


def test_scores_stand_under_the_names_of_deliveries():
    names = ("2026-03-02-" + "0e8d" * 8, "2026-03-03-" + "745f" * 8, "2026-03-04-" + "11aa" * 8)
    score = Score(overall=0.905, among_known=1, images=10)
    rows = tuple(ScoreRow(version=v, scores=dict.fromkeys(names[:n], score)) for v, n in (("v1", 1), ("candidate", 3)))
    matrix = ScoreMatrix(experiences=names, new=names[1:], rows=rows)
    assert score_rows(matrix, dict(zip(names, ("monday", "version", "a\nb"), strict=True))) == [
        {"version": "v1", "monday": "90.5", "2026-03-03-745f745f": "", "a\\nb": ""},
        {"version": "candidate", "monday": "90.5", "2026-03-03-745f745f": "90.5", "a\\nb": "90.5"},
    ]


def test_a_verdict_calls_deliveries_by_their_names():
    one, other = "2026-03-02-" + "0e8d" * 8, "2026-03-03-" + "745f" * 8
    of = {"estimate": 0.1, "lower": 0.0, "upper": 0.2, "limit": 0.3, "images": 9, "decision": "accept"}
    findings = (Finding(question="forgotten", subject=f"{one} to {other}", worst=one, **of),)
    verdict = Verdict(
        decision="accept", reason=f"Most of {one}.", gate="g", confidence=0.95, attempt=1, findings=findings
    )
    page = verdict_page(verdict, {one: "mon*day`"})
    assert "\nMost of `mon*day'` (2026-03-02).\n" in page
    assert "| forgotten | `mon*day'` (2026-03-02) to 2026-03-03-745f745f | 10.0% |" in page
    night = Night(outcome="accept", day=date(2026, 3, 2), verdict=verdict, deliveries={one: "monday"})
    assert night.sentence().startswith("Most of monday (2026-03-02). ")


def test_progress_goes_to_the_log_at_every_tenth_and_to_a_terminal_every_second(caplog, monkeypatch):
    now, moved = [0.0], []
    monkeypatch.setattr(screen.MOVING, "handlers", [handler := logging.Handler()])
    monkeypatch.setattr(handler, "emit", lambda record: moved.append(record.getMessage()))
    monkeypatch.setattr(screen.MOVING, "level", logging.INFO)
    caplog.set_level(logging.INFO, "retain")
    tell = narrate("training", lambda: now[0])
    for done in range(1, 1001):
        now[0] += 0.4
        tell(done, 1000)
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) == 11
    assert (logged[0], logged[5], logged[-1]) == ("training: 0%", "training: 50%, about 3 min left", "training: 100%")
    assert moved[:3] == [f"training: {percent}%, about 7 min left" for percent in (0, 0, 1)]
    assert 300 < len(moved) < 340
    assert moved[-1] == "training: 99%, about 1 s left"
