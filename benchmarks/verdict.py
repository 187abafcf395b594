"""How often a verdict errs, by simulation: `python -m benchmarks.verdict` prints the tables of decision 0002.

Fixed seeds, one core, about a minute. `tests/models/gates/test_calibration.py` holds the promises to fewer nights of
the same.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from benchmarks.verdict_play import (
    SHIPPED,
    STRICT,
    Answers,
    Counts,
    Decisions,
    Stream,
    against_reference,
    attempts,
    by_evidence,
    changes,
    clustered,
    decide,
    flips,
    guard,
    play,
    spent,
    stuck,
)
from models.gates.paired_score import PairedScore
from models.statistics import share_lower, share_of_error, share_upper

NIGHTS = 4000
"""Simulated nights for each figure: a rate of 5% has a standard error of 0.34 points."""
CHURN = (0.0, 0.01, 0.04)
CHOSEN, ANEW = "4/5, then 1/10 each", "all of it each night"
SPENDING: dict[str, Callable[[int], float]] = {
    CHOSEN: spent,
    "4/5, then 1/5 each": lambda attempt: 0.04 if attempt == 1 else 0.01,
    "1 / (k (k + 1))": lambda attempt: 0.05 / (attempt * (attempt + 1)),
    ANEW: lambda attempt: 0.05,
}
"""How the error could be spent over attempts on the same data."""
WIDE = 0.5
"""A limit for the mean that decides nothing, so that another limit does."""


def rates(
    drops: Sequence[float], images: int, gate: PairedScore, churn: float = 0.02, nights: int = NIGHTS, seed: int = 0
) -> tuple[float, float]:
    """How often an update with true `drops` [experiences] is accepted, and how often refused."""
    decisions = decide(*flips(np.random.default_rng(seed), drops, churn, images, nights), images, gate)
    return float(decisions.accepted.mean()), float(decisions.refused.mean())


def one_at_its_limit(past: int, images: int, nights: int = NIGHTS) -> list[float]:
    """Accepted, for each churn: one experience at its limit, each judged alone."""
    gate = STRICT.model_copy(update={"forgotten_mean": WIDE, "min_group_size": 1})
    drops = [gate.forgotten_each] + [0.0] * (past - 1)
    return [rates(drops, images, gate, churn, nights, past)[0] for churn in CHURN]


def group_at_its_limit(past: int, hit: int, nights: int = NIGHTS, images: int = 30, size: int = 7) -> list[float]:
    """Accepted, for each churn: a group of seven small experiences at its limit, all of it lost in `hit` of them."""
    gate = STRICT.model_copy(update={"forgotten_mean": WIDE})
    drops = [gate.forgotten_each * size / hit] * hit + [0.0] * (past - hit)
    return [rates(drops, images, gate, churn, nights, past)[0] for churn in CHURN]


def small_one_at_its_limit(past: int, images: int, nights: int = NIGHTS) -> float:
    """Accepted: one of some experiences too small to be judged alone is at the limit for each."""
    gate = SHIPPED.model_copy(update={"forgotten_mean": WIDE})
    return rates([gate.forgotten_each] + [0.0] * (past - 1), images, gate, 0.01, nights)[0]


def mean_at_its_limit(past: int, images: int, nights: int = NIGHTS) -> list[float]:
    """Accepted: the mean at its limit, the same drop in all or all of it in a third, for each churn."""
    gate = STRICT.model_copy(update={"forgotten_each": 1.0})
    spread = np.zeros(past)
    spread[::3] = gate.forgotten_mean * past / len(spread[::3])
    patterns: list[Sequence[float]] = [[gate.forgotten_mean] * past, spread.tolist()]
    return [rates(drops, images, gate, churn, nights, past)[0] for drops in patterns for churn in CHURN]


def within_limits(past: int, images: int, nights: int = NIGHTS) -> list[float]:
    """Refused, though within: every experience exactly at its limit, then the mean exactly at its."""
    cases = ((STRICT.forgotten_each, WIDE), (STRICT.forgotten_mean, STRICT.forgotten_mean))
    gates = [(drop, STRICT.model_copy(update={"forgotten_mean": mean})) for drop, mean in cases]
    return [rates([drop] * past, images, gate, churn, nights, past)[1] for drop, gate in gates for churn in CHURN]


def harmless(past: int, images: int, mean: float, least: int = 200, nights: int = NIGHTS) -> float:
    """Accepted: an update without a true drop."""
    gate = STRICT.model_copy(update={"forgotten_mean": mean, "min_group_size": least})
    return rates([0.0] * past, images, gate, nights=nights)[0]


def hidden(drop: float, least: int, nights: int = NIGHTS) -> float:
    """Accepted: one of 20 experiences of 30 images loses `drop`, the others nothing; no limit for the mean."""
    gate = STRICT.model_copy(update={"forgotten_mean": WIDE, "min_group_size": least})
    return rates([drop] + [0.0] * 19, 30, gate, 0.01, nights)[0]


def tried_again(
    past: int, images: int, drop: float, spending: str = CHOSEN, nights: int = 30, lineages: int = 2000
) -> list[float]:
    """Accepted within 1, 3 and `nights` nights on the same test images."""
    accepted = attempts(np.random.default_rng(0), drop, past, images, nights, lineages, SPENDING[spending])
    return [float(accepted[:, n - 1].mean()) for n in (1, 3, nights)]


def in_clusters(past: int, images: int, correlation: float, nights: int = NIGHTS) -> float:
    """Accepted at the limit of the mean, where the images of clusters of ten share their fate."""
    gate = SHIPPED.model_copy(update={"forgotten_each": 1.0})
    lost = clustered(np.random.default_rng(0), gate.forgotten_mean, correlation, past, images, nights)
    return float(decide(lost, np.zeros_like(lost), images, gate).accepted.mean())


def class_lost(
    experiences: int, images: int, share: float, everywhere: bool = True, lost: float = 1.0, nights: int = NIGHTS
) -> tuple[float, float]:
    """Accepted without and with the guard: a class that is a share of every batch, or of one, loses that much."""
    rng = np.random.default_rng(0)
    of_class = np.full((nights, experiences), max(round(share * images), 1))
    of_class[:, 0 if everywhere else 1 :] *= everywhere
    right = rng.binomial(of_class, 0.9)
    gone = rng.binomial(right, lost)
    lost_else, gained = flips(rng, [0.0] * experiences, 0.01, images, nights)
    accepted = decide(np.minimum(gone + lost_else, images), gained, images).accepted
    total = int(of_class[0].sum())
    kept = guard(right.sum(-1, keepdims=True), (right - gone).sum(-1, keepdims=True), total)
    return float(accepted.mean()), float((accepted & kept.accepted).mean())


def class_harmless(classes: int, images: int, flipped: float, nights: int = 1000) -> float:
    """Held up by the guard: no class truly lost, but each loses this share by chance, and gains some."""
    rng = np.random.default_rng(0)
    right = rng.binomial(images, 0.9, (nights, classes))
    kept = rng.binomial(right, 1 - flipped) + rng.binomial(images - right, flipped / 2)
    return 1 - float(guard(right, kept, images).accepted.mean())


def class_over_attempts(images: int, lost: float, nights: int = 30, lineages: int = 2000) -> float:
    """Accepted by the guard at least once: a class of so many test images that truly lost this share, tried again."""
    rng = np.random.default_rng(0)
    right = rng.binomial(images, 0.9, (lineages, 1))
    kept = rng.binomial(np.broadcast_to(right, (lineages, nights)), 1 - lost)
    accepted = [guard(right, kept[:, n : n + 1], images).accepted for n in range(nights)]
    return float(np.any(accepted, axis=0).mean())


def learned_alone(images: int, score: float, nights: int = NIGHTS) -> tuple[float, float, float]:
    """A new experience with this true score: shown to be learned, waved through as too small to say, refused.

    What is left holds the night up.
    """
    error, limit = 1 - SHIPPED.confidence, SHIPPED.learned_at_least
    right = np.random.default_rng(0).binomial(images, score, nights)
    accepting = error * share_of_error(1)
    shown = share_lower(right, images, accepting) > limit
    refused = share_upper(right, images, error / 6) < limit
    hopeless = float(share_lower(images, images, accepting)) <= limit
    waved = ~shown & ~refused & (images < SHIPPED.min_group_size) & (hopeless | (right / images >= limit))
    return float(shown.mean()), float(waved.mean()), float(refused.mean())


def decay(stream: Stream, gate: PairedScore) -> tuple[float, float, float]:
    """Points truly lost at the end: by the mean, by the oldest experience, and by the worst lineage's mean."""
    lost = stream.start - play(stream, against_reference(gate)).true[-1]
    return float(np.nanmean(lost)), float(lost[:, 0].mean()), float(np.nanmean(lost, axis=1).max())


def against_parent(reference: Answers, champion: Answers, candidate: Answers, attempt: Counts) -> Decisions:
    """The gate, but compared with the parent alone."""
    return decide(*changes(champion, candidate), candidate.shape[-1], STRICT)


def point_scores(reference: Answers, champion: Answers, candidate: Answers, attempt: Counts) -> Decisions:
    """A mean drop of 2 points against the parent."""
    accepted = (champion.mean((-2, -1)) - candidate.mean((-2, -1))) <= 0.02
    return Decisions(accepted, ~accepted)


def always(reference: Answers, champion: Answers, candidate: Answers, attempt: Counts) -> Decisions:
    """Whatever comes becomes the champion; what the gate would have said is kept as refused."""
    would = decide(*changes(reference, candidate), candidate.shape[-1], STRICT)
    return Decisions(np.ones(len(candidate), dtype=bool), ~would.accepted)


def the_highest(candidate: Answers, reference: Answers, look: Counts) -> Answers:
    """The version with the highest score is the reference."""
    return np.asarray(candidate.sum(-1) > reference.sum(-1))


Choose = Callable[[Answers, Answers, Counts], Answers]
CHOICES: dict[str, Choose] = {
    "the version with the highest score": the_highest,
    "a later one if better at 95%, every night anew": partial(by_evidence, spread=False),
    "a later one if better at 95%, spread over all nights": by_evidence,
}


def reference_after(nights: int, choose: Choose) -> tuple[float, float]:
    """After harmless nights: how much too high the reference is, and how often the next harmless update is accepted."""
    history = play(Stream(churn=0.04, nights=nights), always, choose)
    return history.above, 1 - float(history.last.refused.mean())


def page() -> Iterator[str]:
    """The tables, line by line."""
    yield from _errors()
    yield from _harmless()
    yield from _attempts()
    yield from _stuck()
    yield from _new()
    yield from _classes()
    yield from _dependence()
    yield from _decay()


def _errors() -> Iterator[str]:
    sizes = [(past, images) for past in (1, 10, 30) for images in (30, 100, 500)]
    alone = [r for past, images in sizes if images > 30 for r in one_at_its_limit(past, images)]
    groups = [r for past in (7, 20) for hit in (1, 2, 7) for r in group_at_its_limit(past, hit)]
    means = [r for past, images in sizes for r in mean_at_its_limit(past, images)]
    refused = [r for past, images in sizes for r in within_limits(past, images)]
    small = [small_one_at_its_limit(10, images) for images in (30, 100, 150)]
    yield from _table("", ["measured", "promised"])
    yield _row("one experience at its limit, judged alone, is accepted", _range(alone), "at most 5%")
    yield _row("a group of 7 x 30 images at its limit is accepted", _range(groups), "at most 5%")
    yield _row("the mean at its limit is accepted", _range(means), "at most 5%")
    yield _row("exactly at the limits is refused", _range(refused), "at most 5%")
    yield _row("one of 10 x 30, 10 x 100, 10 x 150 images at the limit for each is accepted", _list(small), "nothing")


def _harmless() -> Iterator[str]:
    sizes = (30, 50, 100, 200, 300, 500)
    yield from _table("images an experience", [str(n) for n in sizes])
    for past, mean, least in ((1, 0.03, 200), (1, 0.05, 200), (10, 0.03, 200), (30, 0.03, 200), (30, 0.03, 1)):
        alone = ", `min_group_size: 1`" if least == 1 else ""
        yield _row(f"{past} past, mean limit {mean:.0%}{alone}", *[_of(harmless(past, n, mean, least)) for n in sizes])
    drops = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
    yield from _table("truly lost by the one", [f"{drop:.0%}" for drop in drops])
    yield _row("accepted", *[_of(hidden(drop, 200)) for drop in drops])


def _attempts() -> Iterator[str]:
    names = ["1 night", "3 nights", "30 nights", "each night anew: 30 nights"]
    yield from _table("accepted at least once within", names)
    for drop in (0.06, 0.05, 0.0):
        for past, images in ((1, 70), (1, 200), (5, 100), (10, 100)):
            shares = tried_again(past, images, drop) + tried_again(past, images, drop, ANEW)[2:]
            yield _row(f"truly {drop:.0%}, {past} x {images} images", *map(_of, shares))


def _stuck() -> Iterator[str]:
    sizes = ((1, 100), (1, 200), (2, 100), (5, 100), (10, 200))
    within = "truly 6%, 1 x 200: accepted within 30"
    yield from _table(
        "harmless, but stuck after 40 nights", [*(f"{past} x {images}" for past, images in sizes), within]
    )
    for name, level_of in SPENDING.items():
        shares = [f"{stuck(past, images, level_of):.0%}" for past, images in sizes]
        yield _row(name, *shares, _of(tried_again(1, 200, 0.06, name)[-1]))


def _new() -> Iterator[str]:
    sizes = (5, 10, 20, 40, 100, 199, 200, 500)
    yield from _table("true score; shown / too few to say / refused", [f"{n} images" for n in sizes])
    for score in (0.1, 0.5, 0.55, 0.6, 0.7, 0.8, 0.95):
        yield _row(f"{score:.0%}", *[" / ".join(f"{r:.0%}" for r in learned_alone(n, score)) for n in sizes])


def _classes() -> Iterator[str]:
    yield from _table("a class wholly lost", ["accepted without the guard", "accepted"])
    for experiences, images, share, everywhere in (
        (10, 500, 0.04, True),
        (10, 2000, 0.04, True),
        (10, 100, 0.1, False),
    ):
        where = f"of every batch, {experiences} x {images}" if everywhere else f"of one of {experiences} x {images}"
        yield _row(f"{share:.0%} {where}", *map(_of, class_lost(experiences, images, share, everywhere)))
    shares = (0.8, 0.85, 0.9, 0.95, 1.0)
    yield from _table("truly lost of a class; at least once in 30 attempts", [f"{lost:.0%}" for lost in shares])
    for images in (8, 10, 15, 20, 50, 200):
        yield _row(f"{images} test images", *[_of(class_over_attempts(images, lost)) for lost in shares])
    sizes = (6, 10, 12, 20, 50, 200)
    yield from _table("harmless, held up by the guard", [f"{n} images a class" for n in sizes])
    for flipped in (0.05, 0.1, 0.2):
        for classes in (10, 100, 1000):
            held = [_of(class_harmless(classes, n, flipped)) for n in sizes]
            yield _row(f"{classes} classes, {flipped:.0%} flip", *held)


def _dependence() -> Iterator[str]:
    correlations = (0.0, 0.2, 0.5, 1.0)
    yield from _table("correlation in clusters of ten", [f"{c:g}" for c in correlations])
    for past, images in ((1, 500), (10, 200), (10, 500)):
        yield _row(f"{past} x {images} images", *[_of(in_clusters(past, images, c)) for c in correlations])


def _decay() -> Iterator[str]:
    yield from _table("points truly lost", ["mean", "oldest experience", "mean of the worst lineage"])
    for nights in (30, 60, 120):
        losses = decay(Stream(drop=0.003, nights=nights), STRICT)
        yield _row(f"0.3% a night, limit 3%, 10 x 500, {nights} nights", *map(_points, losses))
    for images in (100, 200, 500):
        losses = decay(Stream(images=images, drop=0.002, nights=60), SHIPPED)
        yield _row(f"0.2% a night, limit 5%, 10 x {images}, 60 nights", *map(_points, losses))
    losses = decay(Stream(past=2, images=100, grows=True, drop=0.002, nights=60, lineages=20), SHIPPED)
    yield _row("0.2% a night, limit 5%, from 2 x 100 and 100 more a night, 60 nights", *map(_points, losses))
    for name, judge in (("against the parent only", against_parent), ("mean drop > 2%, point scores", point_scores)):
        lost = 0.9 - play(Stream(drop=0.003, nights=30), judge).true[-1].mean(-1)
        yield _row(f"0.3% a night, 30 nights, {name}", _points(lost.mean()), "", _points(lost.max()))
    yield from _table("reference is", ["30 nights: too high by, accepted", "100 nights: too high by, accepted"])
    for name, choose in CHOICES.items():
        told_of = [reference_after(nights, choose) for nights in (30, 100)]
        yield _row(name, *[f"{_points(above)} points, {accepted:.0%}" for above, accepted in told_of])


def _table(corner: str, columns: Sequence[str]) -> Iterator[str]:
    yield ""
    yield _row(corner, *columns)
    yield _row(*["---"] * (len(columns) + 1))


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _of(rate: float) -> str:
    return f"{rate:.1%}"


def _list(found: Sequence[float]) -> str:
    return ", ".join(map(_of, found))


def _range(found: Sequence[float]) -> str:
    return f"{100 * min(found):.1f} to {_of(max(found))}"


def _points(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.2f}"


if __name__ == "__main__":
    for line in page():
        print(line, flush=True)
