"""The score matrix: how well every version of a lineage does on every experience.

Each cell holds two scores on the same test images. `overall`: all classes that the version knows compete.
`among_known`: only the classes that were known when the experience was first learned compete, so the question stays
the same for ever. Their difference is what new classes took.

Measures follow Lopez-Paz and Ranzato (2017), "Gradient Episodic Memory for Continual Learning", NeurIPS; Chaudhry et
al. (2018), "Riemannian Walk for Incremental Learning", ECCV; and Riemer et al. (2019), "Learning to Learn without
Forgetting by Maximizing Transfer and Minimizing Interference", ICLR. In their formulas a(i, j) is the overall score of
version i on experience j, k is the candidate, and version j learned experience j.
"""

from collections.abc import Callable

from pydantic import Field

from records.measures import Measures
from records.record import Record


class Score(Record):
    """A version's score on one experience, 0..1, higher is better."""

    overall: float = Field(ge=0, le=1)
    among_known: float = Field(ge=0, le=1)
    images: int = Field(ge=1)
    """Number of test images."""


class FirstSight(Record):
    """The overall score on an experience of a version that had not learned it yet. Unknown classes are wrong."""

    overall: float = Field(ge=0, le=1)
    """Of the version that it was learned on top of."""
    untrained: float = Field(ge=0, le=1)
    """What is expected of an untrained network with the same classes."""


class ScoreRow(Record):
    """One version's scores."""

    version: str
    """`v3` for a registered version, `candidate` for one that is being judged."""
    scores: dict[str, Score]
    """Experience to score; experiences that came after this version are absent."""


class ScoreMatrix(Record):
    """Rows are versions, oldest first, the candidate last; columns are experiences, oldest first."""

    experiences: tuple[str, ...]
    new: tuple[str, ...]
    """The experiences that the candidate learned now."""
    rows: tuple[ScoreRow, ...] = Field(min_length=1)
    references: dict[str, str] = {}
    """Past experience to the version it is compared with: the best so far, by evidence."""
    before: dict[str, FirstSight] = {}
    """Experience to how it was answered just before it was learned; what the first version learned has none."""
    measures: Measures | None = None
    """What else the candidate's answers say; None in matrices of earlier releases."""
    outcomes: dict[str, str] = {}
    """File name to SHA-256 of the tables of per-image outcomes beside this record."""

    @property
    def candidate(self) -> ScoreRow:
        """The row that is being judged."""
        return self.rows[-1]

    @property
    def past(self) -> tuple[str, ...]:
        """The experiences learned before."""
        return tuple(e for e in self.experiences if e not in self.new)

    def average(self) -> float:
        """Mean overall score of the candidate over all experiences, each counted once (average accuracy)."""
        return _mean([self.candidate.scores[e].overall for e in self.experiences])

    def forgetting_from_best(self) -> float | None:
        """Mean over past experiences of the best earlier overall score minus the candidate's. None without a past."""
        return self._mean_drop(max)

    def forgetting_from_first(self) -> float | None:
        """Mean over past experiences of the score when first learned minus the candidate's. None without a past."""
        return self._mean_drop(lambda earlier: earlier[0])

    def forgetting_from_parent(self) -> float | None:
        """Mean over past experiences of the parent's score minus the candidate's. None without a past."""
        return self._mean_drop(lambda earlier: earlier[-1])

    def backward_transfer(self) -> float | None:
        """Mean over past experiences of the candidate's score minus that when first learned. None without a past."""
        forgotten = self.forgetting_from_first()
        return None if forgotten is None else -forgotten

    def learning_accuracy(self) -> float:
        """Mean over all experiences of the score right after each was learned: mean of a(j, j) (Riemer et al. 2019).

        What could be learned at all, before anything was forgotten; average accuracy minus it is what came after.
        """
        return _mean([next(r for r in self.rows if e in r.scores).scores[e].overall for e in self.experiences])

    def forward_transfer(self) -> float | None:
        """Mean over experiences after the first of the score before each was learned minus an untrained network's.

        Mean of a(j - 1, j) - b(j), where b is the score of an untrained network (Lopez-Paz and Ranzato 2017); b(j) is
        its expected value here. Of classes that nobody knew both are 0. None if no version was asked beforehand.
        """
        gains = [first.overall - first.untrained for first in self.before.values()]
        return _mean(gains) if gains else None

    def intransigence(self, reference: ScoreRow) -> float | None:
        """Mean over the new experiences of the reference's score minus the candidate's (Chaudhry et al. 2018).

        a*(k, k) - a(k, k), where a* is the score of a network that learned everything again from all data, such as
        strategy `joint` makes: what the candidate could not learn for being held to the past. None if nothing is new,
        or if the reference was not asked all of it.
        """
        if not self.new or not all(e in reference.scores for e in self.new):
            return None
        return _mean([reference.scores[e].overall - self.candidate.scores[e].overall for e in self.new])

    def taken_by_new_classes(self) -> float | None:
        """Mean over past experiences of what the candidate loses to classes that came later. None without a past."""
        scores = [self.candidate.scores[e] for e in self.past]
        return _mean([s.among_known - s.overall for s in scores]) if scores else None

    def _mean_drop(self, choose: Callable[[list[float]], float]) -> float | None:
        drops = []
        for experience in self.past:
            earlier = [r.scores[experience].overall for r in self.rows[:-1] if experience in r.scores]
            drops.append(choose(earlier) - self.candidate.scores[experience].overall)
        return _mean(drops) if drops else None


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
