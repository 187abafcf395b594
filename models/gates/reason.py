"""The sentence that gives a verdict and its reason: what was lost, where most, and what too few images cannot show."""

import math
from collections.abc import Sequence

from models.gates.wording import Wording
from records.formatting import in_percent, listed
from records.verdict import ClassFinding, Decision, Finding, Question

QUESTIONS: tuple[Question, ...] = ("forgotten", "taken", "learned")
NAMED = 3
"""Subjects that are named before the rest is counted."""
NAME_LENGTH = 40
"""Characters of a class's name that are shown."""
RIGHT_ANSWERS = Wording()


def reason(
    decision: Decision,
    findings: Sequence[Finding],
    classes: Sequence[ClassFinding] = (),
    attempt: int = 1,
    words: Wording = RIGHT_ANSWERS,
) -> str:
    """One sentence for a decision, naming what decided it. Shares are given in percent."""
    decisive = [f for f in findings if f.decision == decision and not f.too_few]
    of_classes = [c for c in classes if c.decision == decision]
    if decision == "refuse":
        parts = _refusals(decisive, words) + ([_refused_classes(of_classes, words)] if of_classes else [])
        return f"Refused: {', '.join(parts)}."
    again = "" if attempt == 1 else f" at attempt {attempt}, which must be surer than a first"
    if decision == "inconclusive":
        parts = ([_open(decisive, words)] if decisive else []) + (
            [_open_classes(of_classes, words)] if of_classes else []
        )
        open_questions = "; ".join(parts or ["nothing was shown"])
        return f"Inconclusive{again}: {open_questions}{_unsaid(findings, classes, words)}."
    return f"Accepted{again}: {'; '.join(_accepted(decisive, findings, words))}{_unsaid(findings, classes, words)}."


def _accepted(findings: Sequence[Finding], all_findings: Sequence[Finding], words: Wording) -> list[str]:
    """What was lost on average and of which experience most, and the new experience that was learned least."""
    parts = []
    means = {f.question: f for f in findings if f.subject == "mean"}
    if "forgotten" in means:
        forgotten = means["forgotten"]
        at_most = f"at most {words.loss(max(forgotten.upper, 0))}, limit {words.loss(forgotten.limit)}"
        sentence = f"forgot {_amount(forgotten, words)} on average ({at_most}{_most(forgotten, all_findings, words)})"
        if "taken" in means:
            taken = means["taken"]
            limit = f"limit {words.loss(taken.limit)}{_most(taken, all_findings, words)}"
            sentence += f", new classes took {_amount(taken, words)} ({limit})"
            balance = _balance(forgotten.estimate + taken.estimate, words)
            sentence = f"{balance} {words.of} what was learned before: {sentence}"
        parts.append(sentence)
    learned = [f for f in findings if f.question == "learned"]
    if learned:
        least = min(learned, key=lambda f: f.estimate)
        share = in_percent(least.estimate) + ("" if len(learned) == 1 else " or more")
        parts.append(f"learned the new images to {words.reached(share)} (limit {in_percent(least.limit)})")
    return parts


def _most(f: Finding, all_findings: Sequence[Finding], words: Wording) -> str:
    """The experience that lost most, and whether it was judged by itself."""
    if not f.worst or f.worst_estimate < 0.0005:
        return ""
    alone = any(other.subject == f.worst for other in all_findings if other.question == f.question)
    small = "" if alone else ", too small to be judged alone"
    return f"; most {words.of} {f.worst}, {words.loss(f.worst_estimate)}{small}"


def _balance(lost: float, words: Wording) -> str:
    if abs(lost) < 0.0005:
        return "lost nothing"
    return f"lost {words.named_loss(lost)}" if lost > 0 else f"gained {words.named_loss(-lost)}"


def _unsaid(findings: Sequence[Finding], classes: Sequence[ClassFinding], words: Wording) -> str:
    """Of what there were too few test images to say anything."""
    few = [f for f in findings if f.too_few]
    small = [c for c in classes if c.decision == "too few"]
    parts = []
    if few:
        shown = [f"{f.subject} ({words.few(f)})" for f in few]
        parts.append(f"whether {listed(shown, NAMED)} {'was' if len(few) == 1 else 'were'} learned")
    if small:
        shown = [f"{_label(c)} ({words.kept(c)})" for c in small]
        parts.append(f"whether {'class' if len(small) == 1 else 'classes'} {listed(shown, NAMED)} {words.still}")
    return f"; too few test images to say {' and '.join(parts)}" if parts else ""


def _refusals(refused: Sequence[Finding], words: Wording) -> list[str]:
    """What is certain at the least for each question: the mean, and the experience furthest beyond its limit."""
    parts = []
    for question in QUESTIONS:
        of_question = [f for f in refused if f.question == question]
        parts += [_refusal(f, words) for f in of_question if f.subject == "mean"]
        each = [f for f in of_question if f.subject != "mean"]
        if each:
            more = "" if len(each) == 1 else f" and too {_too(question)} of {len(each) - 1} more"
            parts.append(_refusal(max(each, key=_excess), words) + more)
    return parts


def _refusal(f: Finding, words: Wording) -> str:
    if f.question == "learned":
        return f"{words.learned(f'at most {in_percent(f.upper)}', f.subject)} (limit {in_percent(f.limit)})"
    worst = f"; most {words.of} {f.worst}, {words.loss(f.worst_estimate)}" if f.worst else ""
    at_least = f"{_verb(f.question)} at least {words.named_loss(f.lower)}"
    return f"{at_least} {_where(f, words)} (limit {words.loss(f.limit)}{worst})"


def _where(f: Finding, words: Wording) -> str:
    return "on average" if f.subject == "mean" else f"{words.of} {f.subject}"


def _refused_classes(refused: Sequence[ClassFinding], words: Wording) -> str:
    most = refused[0]
    more = "" if len(refused) == 1 else f" and too much of {len(refused) - 1} more"
    return f"{words.lost_class(most.lower, _label(most))} (limit {in_percent(most.limit)}){more}"


def _open(unsettled: Sequence[Finding], words: Wording) -> str:
    """The open finding that is furthest from being settled, and how many others there are."""
    f = max(unsettled, key=lambda f: f.images_to_settle or math.inf)
    named = f.worst and f.worst_estimate >= 0.0005
    worst = f"; most {words.of} {f.worst}, {words.loss(f.worst_estimate)}" if named else ""
    least, most, limit = (words.bound(f, value) for value in (f.lower, f.upper, f.limit))
    between = f"somewhere between {least} and {most} (limit {limit}{worst})"
    others = f" ({len(unsettled) - 1} more left open)" if len(unsettled) > 1 else ""
    return f"{_happened(f, words)}, {between}; {_images(f.images_to_settle)}{others}"


def _happened(f: Finding, words: Wording) -> str:
    if f.question == "learned":
        return words.learned(in_percent(f.estimate), f.subject)
    return f"{_verb(f.question)} {_amount(f, words)} {_where(f, words)}"


def _open_classes(open_: Sequence[ClassFinding], words: Wording) -> str:
    most = open_[0]
    more = "" if len(open_) == 1 else f" ({len(open_) - 1} more left open)"
    return f"{words.open_class(most, _label(most))}, so more than {in_percent(most.limit)} of it may be lost{more}"


def _label(of: ClassFinding) -> str:
    """A class's name, as code: names come from outside, and mean nothing in what is shown."""
    name = of.label.replace("`", "'")
    shown = f"`{name if len(name) <= NAME_LENGTH else name[:NAME_LENGTH] + '…'}`"
    return f"{shown} in tonight's images" if of.unlabelled else shown


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


def _too(question: Question) -> str:
    return "little" if question == "learned" else "much"


def _amount(f: Finding, words: Wording) -> str:
    """The estimate; where something was gained rather than lost, nothing was forgotten."""
    may_gain = f.question == "forgotten" or not words.counts
    return "nothing" if may_gain and f.estimate < 0.0005 else words.named_loss(f.estimate)
