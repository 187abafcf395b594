"""How often a verdict on a mean intersection over union errs, by simulation.

`python -m benchmarks.verdict_tallies` prints the tables of decision 0020: fixed seeds, one core, some ten minutes.
`tests/models/gates/test_tally_calibration.py` holds the promises to fewer nights of the same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from models.comparison import certainly_higher
from models.gates.hypothesis import Hypothesis, LossHistogram
from models.gates.paired_bootstrap import PairedBootstrap
from models.gates.tally_draws import drawn_again, padded_by, seed_of
from models.gates.tally_losses import TallyLosses, score_of
from models.statistics import PADDING, Floats

NIGHTS = 1000
"""Simulated nights for each figure: a rate of 5% has a standard error of 0.7 points."""
RESAMPLES = 1000
FIRST = 0.04
"""What a first attempt may spend of the error at the confidence that ships."""
GATE = PairedBootstrap(resamples=RESAMPLES)


def mean_iou(sums: Tensor) -> Tensor:
    """[r] mean over the classes that occur of intersection over union; a tally is I, U, T of each class in order."""
    intersection, union, truth = sums.reshape(len(sums), -1, 3).unbind(-1)
    occurs = truth > 0
    share = torch.where(occurs, intersection / torch.where(occurs, union, 1.0), 0.0)
    return share.sum(1) / occurs.sum(1)


@dataclass(frozen=True)
class Scene:
    """Test images of one experience, each with background and one or two other classes, and two versions on them."""

    images: int = 100
    classes: int = 4
    """Background included."""
    shown: int | None = None
    """How many images show the last class, beside the others; None: as many as show any other."""
    sizes: float = 0.5
    """How unlike in size objects are: the standard deviation of their logarithm."""
    right: float = 0.9
    """Share of an object's pixels that is found, on average."""
    jitter: float = 0.05
    """How far the two versions differ in it, in either direction, by chance."""


@dataclass(frozen=True)
class Found:
    """Of each image and class [n, classes]: pixels there are, the share of them found, and pixels found wrongly."""

    truth: Floats
    hits: Floats
    wrong: Floats

    @property
    def tally(self) -> Floats:
        """[n, 3 * classes]"""
        parts = self.truth * self.hits, self.truth + self.wrong, self.truth
        return np.stack(parts, axis=-1).reshape(len(self.truth), -1)


Harm = Callable[[np.random.Generator, Found, float], Found]
"""What is done to so large a share of something."""


def scene(rng: np.random.Generator, of: Scene) -> Found:
    """Images as the reference answers them."""
    n, classes = of.images, of.classes
    truth = 60 * rng.lognormal(0, of.sizes, (n, classes))
    others = classes - 1 - (of.shown is not None)
    order = rng.random((n, others)).argsort(1).argsort(1)
    truth[:, 1 : 1 + others] *= order < rng.integers(1, 3, n)[:, None]
    if of.shown is not None:
        truth[of.shown :, -1] = 0
    truth[:, 0] = 1000
    many = 20.0
    hits, wrong = (rng.beta(many * share, many * (1 - share), (n, classes)) for share in (of.right, 1 - of.right))
    hits[:, 0], wrong[:, 0] = (hits[:, 0] + 4) / 5, wrong[:, 0] / 5
    return Found(truth, hits, truth * wrong)


def retrained(rng: np.random.Generator, found: Found, jitter: float) -> Found:
    """The same images answered by a version that is neither better nor worse."""
    hits = found.hits + _symmetric(rng, jitter, np.minimum(found.hits, 1 - found.hits))
    wrong = found.wrong + _symmetric(rng, jitter, found.wrong / np.maximum(found.truth, 1)) * found.truth
    return replace(found, hits=hits, wrong=wrong)


def _symmetric(rng: np.random.Generator, jitter: float, room: Floats) -> Floats:
    """Deviations that are as often up as down, within the room that there is in the narrower direction."""
    return np.clip(rng.normal(0, jitter, room.shape), -room, room)


def spread(rng: np.random.Generator, found: Found, share: float) -> Found:
    """A little of everything is lost."""
    return replace(found, hits=found.hits * (1 - share))


def images_lost(rng: np.random.Generator, found: Found, share: float) -> Found:
    """Some images are wholly wrong: as many pixels are found, all of them elsewhere."""
    return _wrong(found, (rng.random(len(found.hits)) < share)[:, None])


def class_lost(rng: np.random.Generator, found: Found, share: float) -> Found:
    """Some images are wholly wrong on the last class."""
    hit = np.zeros(found.hits.shape, dtype=bool)
    hit[:, -1] = rng.random(len(hit)) < share
    return _wrong(found, hit)


def half_lost(rng: np.random.Generator, found: Found, share: float) -> Found:
    """Half is lost of some images."""
    hit = (rng.random(len(found.hits)) < share)[:, None]
    return replace(found, hits=np.where(hit, found.hits / 2, found.hits))


def flooded(rng: np.random.Generator, found: Found, share: float) -> Found:
    """Some images are answered with the last class alone: what they show is lost, and all of it is wrongly found."""
    hit = rng.random(len(found.hits)) < share
    last = np.arange(found.truth.shape[1]) == found.truth.shape[1] - 1
    flood = np.where(last, found.truth.sum(1, keepdims=True), 0)
    return replace(
        found, hits=np.where(hit[:, None], last, found.hits), wrong=np.where(hit[:, None], flood, found.wrong)
    )


def _wrong(found: Found, hit: NDArray[np.bool_]) -> Found:
    return replace(found, hits=np.where(hit, 0, found.hits), wrong=np.where(hit, found.truth, found.wrong))


def night(rng: np.random.Generator, of: Scene, harm: Harm, share: float) -> TallyLosses:
    """What one night's candidate forgot."""
    before = scene(rng, of)
    after = harm(rng, retrained(rng, before, of.jitter), share)
    return TallyLosses.of("e", -1, mean_iou, before.tally, after.tally)


def share_for(of: Scene, harm: Harm, limit: float) -> float:
    """The share that makes the loss of very many images `limit`."""
    if limit == 0:
        return 0.0
    times = max(10_000 // of.images, 1)
    many = replace(of, images=of.images * times, shown=None if of.shown is None else of.shown * times)
    low, high = 0.0, 1.0
    for _ in range(10):
        middle = (low + high) / 2
        lost = night(np.random.default_rng(0), many, harm, middle).mean
        low, high = (low, middle) if lost > limit else (middle, high)
    return high


Bound = Callable[[TallyLosses, float], float]


def ours(losses: TallyLosses, level: float) -> float:
    """The upper bound of the gate."""
    return float(GATE.uppers([Hypothesis("forgotten", "e", (losses,), 1)], level)[0])


def unpadded(losses: TallyLosses, level: float) -> float:
    """The bootstrap-t of the images alone."""
    drawn, variances = drawn_again(losses.sample, RESAMPLES, seed_of("forgotten", losses))
    errors = np.sqrt(np.maximum(variances, 1e-12) / losses.total)
    low = np.quantile((drawn - losses.mean) / errors, level)
    return losses.mean - float(low * np.sqrt(losses.sample.variance / losses.total))


def percentile(losses: TallyLosses, level: float) -> float:
    """The share of redrawn losses itself."""
    return float(np.quantile(drawn_again(losses.sample, RESAMPLES, seed_of("forgotten", losses))[0], 1 - level))


def one_average_image(losses: TallyLosses, level: float) -> float:
    """Padded as a mean is: by imaginary images of an average weight, however few hold much of the score."""
    ends, pads = np.array([-1.0, 1.0]), np.array([PADDING, PADDING])
    centre, error = padded_by(losses.mean, losses.sample.variance, losses.total, ends, pads)
    return float(centre - ndtri(level) * error)


def pseudo_values(losses: TallyLosses, level: float) -> float:
    """The losses of images by the delete-one jackknife, judged as if the score were their mean."""
    assert losses.sample.before is not None
    n = len(losses.sample.after)
    full, kept = (score_of(mean_iou, tally.sum(0) - tally) for tally in (losses.sample.before, losses.sample.after))
    values = n * losses.mean - (n - 1) * (full - kept)
    histogram = LossHistogram.of("e", -1, np.clip(values, -1, 1))
    return float(GATE.uppers([Hypothesis("forgotten", "e", (histogram,), 1)], level)[0])


BOUNDS: dict[str, Bound] = {
    "the gate": ours,
    "no imaginary images": unpadded,
    "average imaginary images": one_average_image,
    "percentile": percentile,
    "pseudo-values as a mean": pseudo_values,
}


def rates(
    of: Scene, harm: Harm, true: float, limit: float, nights: int = NIGHTS, bounds: Sequence[Bound] = (ours,)
) -> list[float]:
    """For each bound how often a candidate that truly loses `true` is accepted at `limit` at the first attempt; NaN if
    nothing can lose so much."""
    share = share_for(of, harm, true)
    if share == 1:
        return [np.nan] * len(bounds)
    rng = np.random.default_rng(1)
    losses = [night(rng, of, harm, share) for _ in range(nights)]
    accepted = [[bound(one, FIRST) < limit for bound in bounds] for one in losses]
    return [float(rate) for rate in np.mean(accepted, axis=0)]


def better(of: Scene, looks: int, nights: int = NIGHTS) -> float:
    """How often any of so many versions that are as good as the reference is taken for better on the same images."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(nights):
        reference = scene(rng, of)
        tallies = (retrained(rng, reference, of.jitter).tally for _ in range(looks))
        wrong += any(
            certainly_higher(mean_iou, one, reference.tally, 0.95, look) for look, one in enumerate(tallies, start=1)
        )
    return wrong / nights


LOSSES: dict[str, tuple[Scene, Harm]] = {
    "a little of everything": (Scene(), spread),
    "half of some images": (Scene(), half_lost),
    "images wholly lost": (Scene(), images_lost),
    "the same, 98% right before": (Scene(right=0.98, jitter=0.01), images_lost),
    "the same, of very unlike sizes": (Scene(sizes=1.0), images_lost),
    "one class of three, in some images": (Scene(), class_lost),
    "one class of four, which 15 images show": (Scene(classes=5, shown=15), class_lost),
    "one class of four, which 2 images show": (Scene(classes=5, shown=2), class_lost),
    "images answered with one class alone": (Scene(), flooded),
}
SIZES = {30: 0.20, 60: 0.10, 100: 0.10, 300: 0.05}
"""Test images, and the limit that the candidate is at: what so few can rule out, about."""


def tables(nights: int = NIGHTS) -> Iterator[str]:
    """The tables of decision 0020, line by line."""
    yield f"Accepted at the limit, {nights} nights each"
    yield _row("lost", "images, limit", *BOUNDS)
    for name, (of, harm) in LOSSES.items():
        for images, limit in SIZES.items():
            found = rates(replace(of, images=images), harm, limit, limit, nights, tuple(BOUNDS.values()))
            yield _row(name, f"{images}, {limit:.0%}", *[f"{rate:.1%}" for rate in found])
    yield "Accepted, harmless, limit 5%"
    for jitter in (0.02, 0.05, 0.1):
        sizes = {n: Scene(images=n, jitter=jitter) for n in (100, 150, 200, 300)}
        found = [rates(of, spread, 0, 0.05, nights)[0] for of in sizes.values()]
        yield _row(f"{jitter}", *[f"{n}: {rate:.1%}" for n, rate in zip(sizes, found, strict=True)])
    yield "Taken for better than a reference that is as good, in 10 nights"
    for images in (30, 100, 300):
        yield _row(f"{images} images", f"{better(Scene(images=images), 10, nights):.1%}")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in tables():
        print(line, flush=True)
