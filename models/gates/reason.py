"""The sentence that tells a person what a verdict is and why."""

import math
from collections.abc import Sequence

from records.verdict import Decision, Finding, Question

QUESTIONS: tuple[Question, ...] = ("forgotten", "taken", "learned")


def reason(decision: Decision, findings: Sequence[Finding]) -> str:
    """One sentence for a decision, naming the findings that decided it. Shares are given in percent."""
    decisive = [f for f in findings if f.decision == decision]
    if decision == "refuse":
        return f"Refused: {_refusals(decisive)}."
    return f"Inconclusive: {_open(decisive)}." if decision == "inconclusive" else f"Accepted: {_accepted(decisive)}."


def _accepted(findings: Sequence[Finding]) -> str:
    """What was lost on average, and the new experience that was learned least."""
    parts = []
    for f in findings:
        if f.subject == "mean" and f.question == "forgotten":
            most = f"at most {_percent(max(f.upper, 0))}, limit {_percent(f.limit)}"
            parts.append(f"forgot {_share(f)} on average ({most})")
        elif f.subject == "mean":
            parts.append(f"new classes took {_percent(f.estimate)} (limit {_percent(f.limit)})")
    learned = [f for f in findings if f.question == "learned"]
    if learned:
        least = min(learned, key=lambda f: f.estimate)
        share = _percent(least.estimate) + ("" if len(learned) == 1 else " or more")
        parts.append(f"learned the new images to {share} (limit {_percent(least.limit)})")
    return ", ".join(parts)


def _refusals(refused: Sequence[Finding]) -> str:
    """What is certain at the least for each question: the mean, and the experience furthest beyond its limit."""
    parts = []
    for question in QUESTIONS:
        asked = [f for f in refused if f.question == question]
        parts += [_refusal(f) for f in asked if f.subject == "mean"]
        each = [f for f in asked if f.subject != "mean"]
        if each:
            more = "" if len(each) == 1 else f" and too {_amount(question)} of {len(each) - 1} more"
            parts.append(_refusal(max(each, key=_excess)) + more)
    return ", ".join(parts)


def _refusal(f: Finding) -> str:
    limit = f"(limit {_percent(f.limit)})"
    if f.question == "learned":
        return f"learned at most {_percent(f.upper)} of {f.subject} {limit}"
    where = "on average" if f.subject == "mean" else f"of {f.subject}"
    return f"{_verb(f.question)} at least {_percent(f.lower)} {where} {limit}"


def _open(unsettled: Sequence[Finding]) -> str:
    """The open finding that is furthest from being settled, and how many others there are."""
    f = max(unsettled, key=lambda f: f.images_to_settle or math.inf)
    where = "on average" if f.subject == "mean" else f"of {f.subject}"
    between = f"somewhere between {_percent(f.lower)} and {_percent(f.upper)} (limit {_percent(f.limit)})"
    others = f" ({len(unsettled) - 1} more left open)" if len(unsettled) > 1 else ""
    return f"{_verb(f.question)} {_share(f)} {where}, {between}; {_images(f.images_to_settle)}{others}"


def _images(count: int | None) -> str:
    """A number of test images, rounded up to two digits: it is an estimate."""
    if count is None:
        return "no practical number of test images would settle it"
    step = 10 ** max(len(str(count)) - 2, 0)
    return f"about {math.ceil(count / step) * step:,} test images would settle it"


def _excess(f: Finding) -> float:
    return f.limit - f.upper if f.question == "learned" else f.lower - f.limit


def _verb(question: Question) -> str:
    return {"forgotten": "forgot", "taken": "new classes took", "learned": "learned"}[question]


def _amount(question: Question) -> str:
    return "little" if question == "learned" else "much"


def _share(f: Finding) -> str:
    """The estimate; where images were gained rather than lost, nothing was forgotten."""
    return "nothing" if f.question == "forgotten" and f.estimate < 0.0005 else _percent(f.estimate)


def _percent(share: float) -> str:
    """A share with one decimal, without the sign of a zero."""
    return f"{round(100 * share, 1) + 0:.1f}%"
