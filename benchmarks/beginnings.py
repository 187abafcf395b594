"""How small streams begin, by simulation: `python -m benchmarks.beginnings` prints the tables of decision 0017.

A first version is learned from the deliveries that hold `min_test_images` test images together; each night after it
tries a candidate on those images, until one is accepted. Fixed seeds, one core, about a minute. Every delivery brings
the test images that are expected of it, each class and each new batch is taken to be learned.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.verdict_play import Answers, Counts, anew, answered_by_luck, attempts, changes, decide, flips, spent
from models.gates.paired_score import PairedScore
from models.statistics import share_of_error
from tasks.ingest.settings import IngestParams

LINEAGES = 4000
"""Simulated streams for each figure: a share of 2% has a standard error of 0.22 points."""
NIGHTS = 30
STREAMS = (60, 100, 300)
"""Images a night."""
SHIPPED = IngestParams()
GATE = PairedScore()
BEGINNINGS = (100, 150, SHIPPED.min_test_images, 250, 300)
CHURN = (0.0, 0.01, 0.02, 0.04)


@dataclass(frozen=True)
class Start:
    """What a first version is learned from."""

    batches: int
    tests: int
    """Test images of each batch."""


Harmless = Callable[[np.random.Generator, Start], Iterator[tuple[Counts, Counts]]]
"""Counts lost and gained [lineages, batches] of one harmless candidate after another."""


def start_of(images: int, params: IngestParams) -> Start:
    """The first version of a stream of so many images a night. Raises ValueError if its batches are of unlike size."""
    tests: list[int] = []
    while params.beginning(len(tests), sum(tests)):
        tests.append(round(images * params.share_of_tests(images, sum(tests))))
    if len(set(tests)) != 1:
        raise ValueError(f"Batches of {tests} test images: only those of one size are simulated.")
    return Start(len(tests), tests[0])


def churned(rng: np.random.Generator, start: Start) -> Iterator[tuple[Counts, Counts]]:
    """Of all images 2% are lost and as many gained, others every night."""
    while True:
        yield flips(rng, [0.0] * start.batches, 0.02, start.tests, LINEAGES)


def lucky(rng: np.random.Generator, start: Start) -> Iterator[tuple[Counts, Counts]]:
    """Of all images 12% are answered by chance: beside a lucky first version every candidate loses."""
    first, by_luck = answered_by_luck(rng, (LINEAGES, start.batches, start.tests), 0.12)
    while True:
        yield changes(first, anew(rng, first, by_luck))


def accepted_at(start: Start, harmless: Harmless, nights: int = NIGHTS) -> NDArray[np.int64]:
    """[lineages]: the comparison that is accepted, from 1; `nights` + 1 if none of so many is."""
    found = np.full(LINEAGES, nights + 1)
    rng = np.random.default_rng(0)
    for attempt, (lost, gained) in zip(range(1, nights + 1), harmless(rng, start), strict=False):
        level = (1 - GATE.confidence) * share_of_error(attempt)
        accepted: Answers = decide(lost, gained, start.tests, GATE, level).accepted
        found[accepted] = np.minimum(found[accepted], attempt)
    return found


def let_through(start: Start, drop: float, nights: int = NIGHTS) -> list[float]:
    """Accepted at the first comparison, and at least once in so many, with the churn at which that is most often."""
    shares = [
        attempts(np.random.default_rng(0), drop, start.batches, start.tests, nights, LINEAGES, spent, churn).mean(0)
        for churn in CHURN
    ]
    return [max(float(one[night]) for one in shares) for night in (0, nights - 1)]


def page() -> Iterator[str]:
    """The tables, line by line."""
    for name, harmless in (("2% lost, 2% gained", churned), ("12% answered by chance", lucky)):
        yield from _table(
            name, "first version", "first comparison accepted", "never in 12", "never in 30", "night, median", "of 95%"
        )
        for images in STREAMS:
            for begin in BEGINNINGS:
                start = start_of(images, SHIPPED.model_copy(update={"min_test_images": begin}))
                yield _row(f"{images} a night, min_test_images {begin}", *_stream(start, accepted_at(start, harmless)))
    yield from _table("truly lost", "first comparison", f"once in {NIGHTS}")
    for images in STREAMS:
        for drop in (GATE.forgotten_mean, 0.06, 0.08):
            found = let_through(start_of(images, SHIPPED), drop)
            yield _row(f"{images} a night, {drop:.0%}", *map(_of, found))


def _stream(start: Start, comparison: NDArray[np.int64]) -> Sequence[str]:
    night = start.batches + comparison
    never = [_of(float((night > nights).mean())) for nights in (12, NIGHTS)]
    middle, late = (int(np.quantile(night, q, method="higher")) for q in (0.5, 0.95))
    name = f"night {start.batches}, {start.batches} x {start.tests} tests"
    return (name, _of(float((comparison == 1).mean())), *never, str(middle), str(late) if late <= NIGHTS else "-")


def _table(*columns: str) -> Iterator[str]:
    yield ""
    yield _row(*columns)
    yield _row(*["---"] * len(columns))


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _of(rate: float) -> str:
    return f"{rate:.1%}"


if __name__ == "__main__":
    for line in page():
        print(line, flush=True)
