"""The sentence that gives a verdict and its reason: what was lost, where most, and what too few images cannot show."""

import math
from collections.abc import Sequence

from records.formatting import in_percent, listed
from records.verdict import ClassFinding, Decision, Finding, Question

QUESTIONS: tuple[Question, ...] = ("forgotten", "taken", "learned")
NAMED = 3
"""Subjects that are named before the rest is counted."""
NAME_LENGTH = 40
"""Characters of a class's name that are shown."""


def reason(
    decision: Decision, findings: Sequence[Finding], classes: Sequence[ClassFinding] = (), attempt: int = 1
) -> str:
    """One sentence for a decision, naming what decided it. Shares are given in percent."""
    decisive = [f for f in findings if f.decision == decision and not f.too_few]
    of_classes = [c for c in classes if c.decision == decision]
    if decision == "refuse":
        parts = _refusals(decisive) + ([_refused_classes(of_classes)] if of_classes else [])
        return f"Refused: {', '.join(parts)}."
    again = "" if attempt == 1 else f" at attempt {attempt}, which must be surer than a first"
    if decision == "inconclusive":
        parts = ([_open(decisive)] if decisive else []) + ([_open_classes(of_classes)] if of_classes else [])
        open_questions = "; ".join(parts or ["nothing was shown"])
        return f"Inconclusive{again}: {open_questions}{_unsaid(findings, classes)}."
    return f"Accepted{again}: {'; '.join(_accepted(decisive, findings))}{_unsaid(findings, classes)}."


def _accepted(findings: Sequence[Finding], all_findings: Sequence[Finding]) -> list[str]:
    """What was lost on average and of which experience most, and the new experience that was learned least."""
    parts = []
    means = {f.question: f for f in findings if f.subject == "mean"}
    if "forgotten" in means:
        forgotten = means["forgotten"]
        at_most = f"at most {in_percent(max(forgotten.upper, 0))}, limit {in_percent(forgotten.limit)}"
        sentence = f"forgot {_share(forgotten)} on average ({at_most}{_most(forgotten, all_findings)})"
        if "taken" in means:
            taken = means["taken"]
            limit = f"limit {in_percent(taken.limit)}{_most(taken, all_findings)}"
            sentence += f", new classes took {in_percent(taken.estimate)} ({limit})"
            sentence = f"{_balance(forgotten.estimate + taken.estimate)} of what was learned before: {sentence}"
        parts.append(sentence)
    learned = [f for f in findings if f.question == "learned"]
    if learned:
        least = min(learned, key=lambda f: f.estimate)
        share = in_percent(least.estimate) + ("" if len(learned) == 1 else " or more")
        parts.append(f"learned the new images to {share} (limit {in_percent(least.limit)})")
    return parts


def _most(f: Finding, all_findings: Sequence[Finding]) -> str:
    """The experience that lost most, and whether it was judged by itself."""
    if not f.worst or f.worst_estimate < 0.0005:
        return ""
    alone = any(other.subject == f.worst for other in all_findings if other.question == f.question)
    return f"; most of {f.worst}, {in_percent(f.worst_estimate)}{'' if alone else ', too small to be judged alone'}"


def _balance(lost: float) -> str:
    if abs(lost) < 0.0005:
        return "lost nothing"
    return f"lost {in_percent(lost)}" if lost > 0 else f"gained {in_percent(-lost)}"


def _unsaid(findings: Sequence[Finding], classes: Sequence[ClassFinding]) -> str:
    """Of what there were too few test images to say anything."""
    few = [f for f in findings if f.too_few]
    small = [c for c in classes if c.decision == "too few"]
    parts = []
    if few:
        shown = [f"{f.subject} ({in_percent(f.estimate)} of {f.images})" for f in few]
        parts.append(f"whether {listed(shown, NAMED)} {'was' if len(few) == 1 else 'were'} learned")
    if small:
        shown = [f"{_label(c)} ({c.kept:g} of {c.right:g} right)" for c in small]
        parts.append(f"whether {'class' if len(small) == 1 else 'classes'} {listed(shown, NAMED)} still will be right")
    return f"; too few test images to say {' and '.join(parts)}" if parts else ""


def _refusals(refused: Sequence[Finding]) -> list[str]:
    """What is certain at the least for each question: the mean, and the experience furthest beyond its limit."""
    parts = []
    for question in QUESTIONS:
        of_question = [f for f in refused if f.question == question]
        parts += [_refusal(f) for f in of_question if f.subject == "mean"]
        each = [f for f in of_question if f.subject != "mean"]
        if each:
            more = "" if len(each) == 1 else f" and too {_amount(question)} of {len(each) - 1} more"
            parts.append(_refusal(max(each, key=_excess)) + more)
    return parts


def _refusal(f: Finding) -> str:
    if f.question == "learned":
        return f"learned at most {in_percent(f.upper)} of {f.subject} (limit {in_percent(f.limit)})"
    where = "on average" if f.subject == "mean" else f"of {f.subject}"
    worst = f"; most of {f.worst}, {in_percent(f.worst_estimate)}" if f.worst else ""
    return f"{_verb(f.question)} at least {in_percent(f.lower)} {where} (limit {in_percent(f.limit)}{worst})"


def _refused_classes(refused: Sequence[ClassFinding]) -> str:
    most = refused[0]
    more = "" if len(refused) == 1 else f" and too much of {len(refused) - 1} more"
    return f"lost at least {in_percent(most.lower)} of class {_label(most)} (limit {in_percent(most.limit)}){more}"


def _open(unsettled: Sequence[Finding]) -> str:
    """The open finding that is furthest from being settled, and how many others there are."""
    f = max(unsettled, key=lambda f: f.images_to_settle or math.inf)
    where = "on average" if f.subject == "mean" else f"of {f.subject}"
    worst = f"; most of {f.worst}, {in_percent(f.worst_estimate)}" if f.worst and f.worst_estimate >= 0.0005 else ""
    between = f"somewhere between {in_percent(f.lower)} and {in_percent(f.upper)} (limit {in_percent(f.limit)}{worst})"
    others = f" ({len(unsettled) - 1} more left open)" if len(unsettled) > 1 else ""
    return f"{_verb(f.question)} {_share(f)} {where}, {between}; {_images(f.images_to_settle)}{others}"


def _open_classes(open_: Sequence[ClassFinding]) -> str:
    most = open_[0]
    more = "" if len(open_) == 1 else f" ({len(open_) - 1} more left open)"
    return (
        f"of {most.right:g} test images of class {_label(most)} that were right {_kept(most)}, "
        f"so more than {in_percent(most.limit)} of it may be lost{more}"
    )


def _kept(of: ClassFinding) -> str:
    return "none is any more" if of.kept == 0 else f"as many as {of.kept:g} are"


def _label(of: ClassFinding) -> str:
    """A class's name, as code: names come from outside, and mean nothing in what is shown."""
    name = of.label.replace("`", "'")
    return f"`{name if len(name) <= NAME_LENGTH else name[:NAME_LENGTH] + '…'}`"


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
    return "nothing" if f.question == "forgotten" and f.estimate < 0.0005 else in_percent(f.estimate)
