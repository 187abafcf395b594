"""The sentence of a verdict, word by word."""

from models.gates.reason import reason
from records.verdict import Finding


def finding(question, subject, estimate, lower, upper, limit, decision, settle=None):
    return Finding(
        question=question,
        subject=subject,
        estimate=estimate,
        lower=lower,
        upper=upper,
        limit=limit,
        images=100,
        decision=decision,
        images_to_settle=settle,
    )


def test_accepted():
    findings = [
        finding("forgotten", "mean", 0.004, -0.01, 0.019, 0.03, "accept"),
        finding("forgotten", "a", 0.004, -0.01, 0.019, 0.1, "accept"),
        finding("taken", "mean", 0.061, 0.05, 0.07, 0.25, "accept"),
        finding("learned", "b", 0.972, 0.95, 0.98, 0.6, "accept"),
    ]
    assert reason("accept", findings) == (
        "Accepted: forgot 0.4% on average (at most 1.9%, limit 3.0%), new classes took 6.1% (limit 25.0%), "
        "learned the new images to 97.2% (limit 60.0%)."
    )


def test_accepted_on_the_first_night():
    findings = [
        finding("learned", "a", 0.972, 0.95, 0.98, 0.6, "accept"),
        finding("learned", "b", 0.91, 0.88, 0.93, 0.6, "accept"),
    ]
    assert reason("accept", findings) == "Accepted: learned the new images to 91.0% or more (limit 60.0%)."


def test_nothing_forgotten():
    findings = [finding("forgotten", "mean", -0.004, -0.02, -0.001, 0.03, "accept")]
    assert reason("accept", findings) == "Accepted: forgot nothing on average (at most 0.0%, limit 3.0%)."


def test_refused_for_one_experience():
    findings = [
        finding("forgotten", "mean", 0.02, 0.01, 0.04, 0.03, "inconclusive", 500),
        finding("forgotten", "2026-01-03-ab12cd34", 0.4, 0.312, 0.48, 0.1, "refuse"),
    ]
    assert reason("refuse", findings) == "Refused: forgot at least 31.2% of 2026-01-03-ab12cd34 (limit 10.0%)."


def test_refused_for_many_reasons():
    findings = [
        finding("forgotten", "mean", 0.3, 0.2, 0.4, 0.03, "refuse"),
        finding("forgotten", "a", 0.3, 0.25, 0.4, 0.1, "refuse"),
        finding("forgotten", "b", 0.4, 0.35, 0.5, 0.1, "refuse"),
        finding("taken", "mean", 0.5, 0.45, 0.6, 0.25, "refuse"),
        finding("learned", "c", 0.2, 0.1, 0.3, 0.6, "refuse"),
        finding("learned", "d", 0.3, 0.2, 0.4, 0.6, "refuse"),
    ]
    assert reason("refuse", findings) == (
        "Refused: forgot at least 20.0% on average (limit 3.0%), forgot at least 35.0% of b (limit 10.0%) "
        "and too much of 1 more, new classes took at least 45.0% on average (limit 25.0%), "
        "learned at most 30.0% of c (limit 60.0%) and too little of 1 more."
    )


def test_inconclusive():
    findings = [finding("forgotten", "mean", 0.021, 0.009, 0.034, 0.03, "inconclusive", 1388)]
    assert reason("inconclusive", findings) == (
        "Inconclusive: forgot 2.1% on average, somewhere between 0.9% and 3.4% (limit 3.0%); "
        "about 1,400 test images would settle it."
    )


def test_of_several_open_findings_the_farthest_from_settled_is_named():
    findings = [
        finding("forgotten", "mean", 0.021, 0.009, 0.034, 0.03, "inconclusive", 1388),
        finding("taken", "a", 0.4, 0.3, 0.5, 0.4, "inconclusive"),
        finding("learned", "b", 0.62, 0.5, 0.7, 0.6, "inconclusive", 7),
    ]
    assert reason("inconclusive", findings) == (
        "Inconclusive: new classes took 40.0% of a, somewhere between 30.0% and 50.0% (limit 40.0%); "
        "no practical number of test images would settle it (2 more left open)."
    )
