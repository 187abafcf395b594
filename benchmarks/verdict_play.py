"""Nights that are judged by the thousand: the default gate on arrays of counts, and what it is tried on.

An update flips answers both ways: `churn` of all images are gained, and as many plus the true drop are lost. That the
gate itself decides the same, night by night, is tested (tests/models/gates/test_calibration.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.gates.by_class import ALL_GONE
from models.gates.paired_score import PairedScore
from models.statistics import Floats, share_lower, share_of_error, share_upper, tango_lower, tango_upper

Counts = NDArray[np.int64]
Answers = NDArray[np.bool_]

FAMILIES = 5
"""Forgotten and taken, mean and each, and learned: what the error of refusing is divided by if no class is asked."""
SHIPPED = PairedScore()
STRICT = PairedScore(forgotten_mean=0.03, taken_mean=0.25, taken_each=0.40)


@dataclass(frozen=True)
class Decisions:
    """[nights] each."""

    accepted: Answers
    refused: Answers


def decide(
    lost: Counts, gained: Counts, images: int, gate: PairedScore = SHIPPED, level: float | Floats | None = None
) -> Decisions:
    """What the gate decides on nights [nights, experiences] on which nothing was taken and all was learned.

    `level` is the error of accepting, of all nights or [nights, 1]; None for that of a first attempt.
    """
    error = 1 - gate.confidence
    accepting = error * share_of_error(1) if level is None else level
    groups = together(lost, gained, images, gate.min_group_size)
    each = error / FAMILIES / sum(group[0].shape[-1] for group in groups)
    # What the last full group is together with the rest stands for it in the mean.
    parts = [(minus[:, :-1], plus[:, :-1], total) for minus, plus, total in groups[:-1]] + groups[-1:]
    give = 0.5 / np.sqrt(sum(part[0].shape[-1] for part in parts))

    def of_mean(bound: Callable[..., Floats], level: float | Floats, side: int) -> Floats:
        rates = np.concatenate([(minus - plus) / total for minus, plus, total in parts], axis=-1)
        ends = np.concatenate([bounds(bound, *part, level, give) for part in parts], axis=-1)
        found: Floats = rates.mean(-1) + side * np.sqrt(((ends - rates) ** 2).sum(-1)) / rates.shape[-1]
        return found

    accepted = of_mean(tango_upper, accepting, 1) < gate.forgotten_mean
    refused = of_mean(tango_lower, error / FAMILIES, -1) > gate.forgotten_mean
    for minus, plus, total in groups:
        accepted &= (bounds(tango_upper, minus, plus, total, accepting) < gate.forgotten_each).all(-1)
        refused |= (bounds(tango_lower, minus, plus, total, each) > gate.forgotten_each).any(-1)
    return Decisions(accepted, refused)


def bounds(
    bound: Callable[..., Floats], lost: Counts, gained: Counts, images: int, level: float | Floats, give: float = 0.5
) -> Floats:
    """`bound` of every cell; equal counts at one level are looked up, not computed again."""
    if not isinstance(level, float):
        return bound(lost, gained, images, level, give)
    pairs, where = np.unique(lost * (images + 1) + gained, return_inverse=True)
    found: Floats = bound(pairs // (images + 1), pairs % (images + 1), images, level, give)[where].reshape(lost.shape)
    return found


def together(lost: Counts, gained: Counts, images: int, least: int) -> list[tuple[Counts, Counts, int]]:
    """Counts [nights, groups] of full groups of experiences of `images` each, and of the one that the rest joins."""
    past, size = lost.shape[-1], -(-least // images)
    full = past // size * size
    last = max(full - size, 0)
    found = []
    if full:
        minus, plus = (c[:, :full].reshape(-1, full // size, size).sum(-1) for c in (lost, gained))
        found.append((minus, plus, images * size))
    if full < past:
        minus, plus = (c[:, last:].sum(-1, keepdims=True) for c in (lost, gained))
        found.append((minus, plus, images * (past - last)))
    return found


def flips(
    rng: np.random.Generator, drops: Sequence[float], churn: float, images: int, nights: int
) -> tuple[Counts, Counts]:
    """Counts lost and gained [nights, experiences] for true `drops` [experiences]."""
    lose = np.broadcast_to(np.asarray(drops, dtype=np.float64) + churn, (nights, len(drops)))
    lost = rng.binomial(images, lose)
    return lost, rng.binomial(images - lost, churn / (1 - lose))


def clustered(
    rng: np.random.Generator, drop: float, correlation: float, past: int, images: int, nights: int, size: int = 10
) -> Counts:
    """Counts lost [nights, past] where the images of a cluster of `size` share their fate with this correlation.

    Each image takes the fate drawn for its cluster with probability sqrt(correlation), and one of its own otherwise.
    """
    shape = (nights, past, images // size)
    common = rng.random(shape) < drop
    follow = rng.binomial(size, np.sqrt(correlation), shape)
    lost = np.where(common, follow, 0) + rng.binomial(size - follow, drop)
    counts: Counts = lost.sum(-1)
    return counts


def spent(attempt: int) -> float:
    """The error that the gate lets an attempt on the same data spend."""
    return 0.05 * share_of_error(attempt)


def attempts(
    rng: np.random.Generator,
    drop: float,
    past: int,
    images: int,
    nights: int,
    lineages: int,
    level_of: Callable[[int], float],
    churn: float = 0.02,
) -> Answers:
    """[lineages, nights]: whether any candidate until then was accepted; each night another tries on the same images.

    `level_of` gives the error that an attempt may spend.
    """  # fmt: skip
    found = []
    for attempt in range(1, nights + 1):
        lost, gained = flips(rng, [drop] * past, churn, images, lineages)
        found.append(decide(lost, gained, images, SHIPPED, level_of(attempt)).accepted)
    return np.maximum.accumulate(np.array(found), axis=0).T


def guard(right: Counts, kept: Counts, images: int, gate: PairedScore = SHIPPED) -> Decisions:
    """What the guard of each class decides on [nights, classes] of `images` each: accepted if it holds nothing up."""
    error = 1 - gate.confidence
    judged = np.maximum((right >= gate.class_images).sum(-1, keepdims=True), 1)
    scale = images / np.maximum(right, 1)
    uppers = 1 - share_lower(kept, images, error * share_of_error(1)) * scale
    lowers = 1 - share_upper(kept, images, error / (FAMILIES + 1) / judged) * scale
    small = right < gate.class_images
    refused = ~small & (lowers > gate.class_lost)
    held = np.where(small, (kept == 0) & (right >= ALL_GONE), uppers >= gate.class_lost)
    return Decisions(np.asarray(~(held | refused).any(-1)), np.asarray(refused.any(-1)))


@dataclass(frozen=True)
class Stream:
    """Lineages that are judged night by night; each candidate loses some of what its parent knows."""

    past: int = 10
    """Experiences at the beginning."""
    images: int = 500
    """Test images of each."""
    grows: bool = False
    """Whether an accepted night adds an experience."""
    start: float = 0.9
    """True score of an experience when it is learned."""
    drop: float = 0.0
    churn: float = 0.02
    nights: int = 30
    lineages: int = 40


@dataclass(frozen=True)
class History:
    """How lineages went."""

    true: Floats
    """[nights + 1, lineages, experiences] true scores; of an experience that is not there yet, NaN."""
    last: Decisions
    """[lineages] on the last night."""
    above: float
    """How much higher the references are in the end than a true score that never changed."""


Judge = Callable[[Answers, Answers, Answers, Counts], Decisions]
Choose = Callable[[Answers, Answers, Counts], Answers]


def by_evidence(candidate: Answers, reference: Answers, look: Counts, spread: bool = True) -> Answers:
    """`certainly_better` at confidence 0.95 for arrays of answers, its error spread over all looks or not."""
    worse, better = changes(reference, candidate)
    level = 0.05 / (look * (look + 1)) if spread else 0.05
    found: Answers = tango_lower(better, worse, candidate.shape[-1], level) > 0
    return found


def changes(before: Answers, after: Answers) -> tuple[Counts, Counts]:
    """Images lost and gained."""
    return (before & ~after).sum(-1), (~before & after).sum(-1)


def against_reference(gate: PairedScore) -> Judge:
    """The gate as it is: the k-th attempt spends its part of the error."""

    def judge(reference: Answers, champion: Answers, candidate: Answers, attempt: Counts) -> Decisions:
        level = (1 - gate.confidence) * np.array([[share_of_error(int(k))] for k in attempt])
        return decide(*changes(reference, candidate), candidate.shape[-1], gate, level)

    return judge


def play(stream: Stream, judge: Judge, choose: Choose = by_evidence) -> History:
    """Lineages of a stream. A candidate that is not accepted leaves the parent where it is; the next night tries again.

    `judge` decides on answers [lineages, experiences, images] of the reference, the parent and the candidate, and on
    the attempts [lineages]; `choose` says where the champion becomes the reference. Lineages that grow are played one
    by one, as each has another number of experiences.
    """
    if not stream.grows:
        return _play(stream, judge, choose, np.random.default_rng(0))
    one = replace(stream, lineages=1)
    histories = [_play(one, judge, choose, np.random.default_rng(seed)) for seed in range(stream.lineages)]
    accepted, refused = (np.concatenate([getattr(h.last, what) for h in histories]) for what in ("accepted", "refused"))
    return History(
        np.concatenate([history.true for history in histories], axis=1),
        Decisions(accepted, refused),
        float(np.mean([history.above for history in histories])),
    )


def _play(stream: Stream, judge: Judge, choose: Choose, rng: np.random.Generator) -> History:
    shape = (stream.lineages, stream.past, stream.images)
    champion = rng.random(shape) < stream.start
    reference, score = champion.copy(), np.full(shape[:2], stream.start)
    attempt, looks = np.ones(stream.lineages, dtype=np.int64), np.zeros(shape[:2], dtype=np.int64)
    true = np.full((stream.nights + 1, stream.lineages, stream.past + stream.grows * stream.nights), np.nan)
    true[0, :, : stream.past] = score
    for night in range(1, stream.nights + 1):
        chance = rng.random(champion.shape)
        lose, win = (stream.churn + stream.drop) / score, stream.churn / (1 - score)
        candidate = np.where(champion, chance >= lose[..., None], chance < win[..., None])
        decisions = judge(reference, champion, candidate, attempt)
        champion = np.where(decisions.accepted[:, None, None], candidate, champion)
        score = score - stream.drop * decisions.accepted[:, None]
        attempt, looks = np.where(decisions.accepted, 1, attempt + 1), looks + decisions.accepted[:, None]
        if night < stream.nights:
            moved = choose(champion, reference, np.maximum(looks, 1)) & decisions.accepted[:, None]
            reference, looks = np.where(moved[..., None], champion, reference), np.where(moved, 0, looks)
        if stream.grows and decisions.accepted[0]:
            fresh = rng.random((1, 1, stream.images)) < stream.start
            champion, reference = (np.concatenate([answers, fresh], axis=1) for answers in (champion, reference))
            score, looks = np.append(score, [[stream.start]], axis=1), np.append(looks, [[0]], axis=1)
        true[night, :, : score.shape[1]] = score
    return History(true, decisions, float(reference.mean()) - stream.start)


def answered_by_luck(
    rng: np.random.Generator, shape: tuple[int, int, int], by_chance: float
) -> tuple[Answers, Answers]:
    """Answers of which a share is by chance, two of three of them right, and which those are.

    Of the others 82 in 100 of all are always right.
    """
    kind = rng.random(shape)
    by_luck = kind > 1 - by_chance
    return (kind < 0.82) | (by_luck & (rng.random(shape) < 2 / 3)), by_luck


def anew(rng: np.random.Generator, champion: Answers, by_luck: Answers) -> Answers:
    """A harmless candidate's answers: three of ten of those by chance are drawn anew."""
    drawn = by_luck & (rng.random(champion.shape) < 0.3)
    return np.where(drawn, rng.random(champion.shape) < 2 / 3, champion)


def stuck(
    past: int,
    images: int,
    level_of: Callable[[int], float],
    by_chance: float = 0.12,
    nights: int = 40,
    lineages: int = 40,
) -> float:
    """Share of harmless lineages of which nothing was accepted on the last ten nights; `level_of` gives the error.

    Of the images a share is answered by chance, see `answered_by_luck`.
    """
    rng = np.random.default_rng(0)
    champion, by_luck = answered_by_luck(rng, (lineages, past, images), by_chance)
    reference = champion.copy()
    attempt, looks = np.ones(lineages, dtype=np.int64), np.zeros((lineages, past), dtype=np.int64)
    waiting = np.zeros(lineages, dtype=np.int64)
    for _ in range(nights):
        candidate = anew(rng, champion, by_luck)
        level = np.array([[level_of(int(k))] for k in attempt])
        accepted = decide(*changes(reference, candidate), images, SHIPPED, level).accepted
        champion = np.where(accepted[:, None, None], candidate, champion)
        attempt, looks = np.where(accepted, 1, attempt + 1), looks + accepted[:, None]
        moved = by_evidence(champion, reference, np.maximum(looks, 1)) & accepted[:, None]
        reference, looks = np.where(moved[..., None], champion, reference), np.where(moved, 0, looks)
        waiting = np.where(accepted, 0, waiting + 1)
    return float((waiting >= 10).mean())
