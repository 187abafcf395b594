"""Whether one version is better than another, where the score is no mean over images.

As `models.statistics.certainly_better`, for scores of sums of tallies: see `models/gates/tally_losses.py`.
"""

from scipy.special import ndtri

from models.columns import widened
from models.gates.tally_draws import padded_error
from models.gates.tally_losses import Score, TallyLosses
from models.statistics import Floats


def certainly_higher(score: Score, candidate: Floats, reference: Floats, confidence: float, look: int = 1) -> bool:
    """Whether the score of `candidate` [n, k] is higher than that of `reference` [n, k], tallies of the same n images.

    The shorter tally is filled up with zeros. Of the error allowed, (1 - confidence) / (look * (look + 1)) is spent, so
    that it holds over all versions that challenge this reference, `look` of them with this one. The difference of the
    scores is held against its standard error, which is never less than what imaginary images explain. Raises ValueError
    if the tallies are of different numbers of images.
    """
    if len(candidate) != len(reference) or not len(candidate):
        raise ValueError(f"Both versions must have answered the same images: {len(candidate)}, {len(reference)}.")
    width = max(candidate.shape[1], reference.shape[1])
    gain = TallyLosses.of("", -1, score, widened(candidate, width), widened(reference, width))
    mean, error = padded_error(gain)
    return bool(mean + ndtri((1 - confidence) / (look * (look + 1))) * error > 0)
