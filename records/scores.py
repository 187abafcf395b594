"""The score matrix: how well every version of a lineage does on every experience.

Each cell holds two scores on the same test images. `overall`: all classes that the version knows compete.
`among_known`: only the classes that were known when the experience was first learned compete, so the question stays
the same for ever; or, once a person has let a version in that had lost too much, the classes that this version knew.
Their difference is what new classes took.

A matrix of every version would grow with the square of the nights. So of the versions before the candidate it holds
the last ones, and of older ones fewer the older they are (`thinned`); what the measures need of all of them is added
up in `history`. At rest a row is three lists beside the list of experiences.

Measures follow Lopez-Paz and Ranzato (2017), "Gradient Episodic Memory for Continual Learning", NeurIPS; Chaudhry et
al. (2018), "Riemannian Walk for Incremental Learning", ECCV; and Riemer et al. (2019), "Learning to Learn without
Forgetting by Maximizing Transfer and Minimizing Interference", ICLR. In their formulas a(i, j) is the overall score of
version i on experience j, k is the candidate, and version j learned experience j.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ModelWrapValidatorHandler, SerializerFunctionWrapHandler, model_serializer, model_validator

from records.measures import Measures
from records.record import Record
from records.score_names import ACCURACY

RECENT = 12
"""Versions before the candidate that a matrix holds all of; of older ones it holds a few."""


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


class History(Record):
    """What all versions before the candidate scored on an experience, in three numbers."""

    first: float = Field(ge=0, le=1)
    """Overall score of the version that learned it."""
    best: float = Field(ge=0, le=1)
    """The largest overall score."""
    best_among_known: float = Field(ge=0, le=1)
    """The largest score among the classes known when it was learned."""

    @classmethod
    def after(cls, earlier: "History | None", score: Score) -> "History":
        """The same once another version was scored; `earlier` is None for the first."""
        if earlier is None:
            return cls(first=score.overall, best=score.overall, best_among_known=score.among_known)
        return cls(
            first=earlier.first,
            best=max(earlier.best, score.overall),
            best_among_known=max(earlier.best_among_known, score.among_known),
        )


class ScoreMatrix(Record):
    """Rows are versions, oldest first, the candidate last; columns are experiences, oldest first."""

    experiences: tuple[str, ...]
    new: tuple[str, ...]
    """The experiences that the candidate learned now."""
    rows: tuple[ScoreRow, ...] = Field(min_length=1)
    references: dict[str, str] = {}
    """Past experience to the version it is compared with: the best so far, by evidence."""
    history: dict[str, History] = {}
    """Past experience to what all versions before the candidate scored on it; taken from the rows if left out."""
    before: dict[str, FirstSight] = {}
    """Experience to how it was answered just before it was learned; what the first version learned has none."""
    score_name: str = ACCURACY
    """Which score it is: what metrics are called after it, see `records/score_names.py`."""
    class_score_name: str = ACCURACY
    """Which score of a class is in `measures`."""
    measures: Measures | None = None
    """What else the candidate's answers say; None in matrices of earlier releases."""
    outcomes: dict[str, str] = {}
    """File name to SHA-256 of the tables of per-image outcomes beside this record."""

    @model_validator(mode="wrap")
    @classmethod
    def _from_lists(cls, given: Any, build: ModelWrapValidatorHandler["ScoreMatrix"]) -> "ScoreMatrix":
        if not isinstance(given, Mapping):
            return build(given)
        data = dict(given)
        names = data.get("experiences", ())
        rows = tuple(row if isinstance(row, ScoreRow) else _row(row, names) for row in data.get("rows", ()))
        if not data.get("history") and all(isinstance(row, ScoreRow) for row in rows):
            data["history"] = history_of(rows[:-1])
        return build({**data, "rows": rows})

    @model_serializer(mode="wrap")
    def _as_lists(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        names = {name for name in ("score_name", "class_score_name") if getattr(self, name) == ACCURACY}
        fields = {name: value for name, value in plain(self).items() if name not in names}
        return {**fields, "rows": [_lists(row, self.experiences) for row in self.rows]}

    def write(self, path: Path) -> None:
        """As any record is written, but without spaces: a matrix is long."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.write_text(self.model_dump_json() + "\n", encoding="utf-8")
        os.replace(unfinished, path)

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
        return self._mean_drop({name: past.best for name, past in self.history.items()})

    def forgetting_from_first(self) -> float | None:
        """Mean over past experiences of the score when first learned minus the candidate's. None without a past."""
        return self._mean_drop({name: past.first for name, past in self.history.items()})

    def forgetting_from_parent(self) -> float | None:
        """Mean over past experiences of the parent's score minus the candidate's. None without a past."""
        return self._mean_drop({name: score.overall for row in self.rows[-2:-1] for name, score in row.scores.items()})

    def backward_transfer(self) -> float | None:
        """Mean over past experiences of the candidate's score minus that when first learned. None without a past."""
        forgotten = self.forgetting_from_first()
        return None if forgotten is None else -forgotten

    def learning_accuracy(self) -> float:
        """Mean over all experiences of the score right after each was learned: mean of a(j, j) (Riemer et al. 2019).

        What could be learned at all, before anything was forgotten; average accuracy minus it is what came after.
        """
        now = self.candidate.scores
        return _mean([self.history[e].first if e in self.history else now[e].overall for e in self.experiences])

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

    def _mean_drop(self, earlier: Mapping[str, float]) -> float | None:
        drops = [earlier[e] - self.candidate.scores[e].overall for e in self.past]
        return _mean(drops) if drops else None


def history_of(rows: Sequence[ScoreRow]) -> dict[str, History]:
    """Experience to what these versions, oldest first, scored on it."""
    found: dict[str, History] = {}
    for row in rows:
        found |= {name: History.after(found.get(name), score) for name, score in row.scores.items()}
    return found


def thinned(rows: Sequence[ScoreRow]) -> tuple[ScoreRow, ...]:
    """Of registered versions `v<number>`, oldest first: the oldest, the last `RECENT`, and of those between fewer the
    older they are, so that their number grows with the logarithm of the nights.

    A version that was left out once is not missed later: what is kept at some age was kept at every age before.
    """
    newest = _number(rows[-1]) if rows else 0
    return tuple(row for at, row in enumerate(rows) if at == 0 or _is_kept(_number(row), newest))


def _is_kept(number: int, newest: int) -> bool:
    """Every number at an age below `RECENT`, every 8th up to twice that age, every 16th up to twice that, and so on."""
    octaves = ((newest - number) // RECENT).bit_length()
    return octaves == 0 or bool(number % (1 << octaves + 2) == 0)


def _number(row: ScoreRow) -> int:
    return int(row.version.removeprefix("v"))


def _row(stored: Any, names: Sequence[str]) -> Any:
    """A row as it lies in a file: three lists; records of earlier releases hold scores by name."""
    if not isinstance(stored, Mapping) or "overall" not in stored:
        return ScoreRow.model_validate(stored)
    lists = zip(names, stored["overall"], stored["among_known"], stored["images"], strict=True)
    scores = {
        name: Score(overall=overall, among_known=among_known, images=images)
        for name, overall, among_known, images in lists
        if overall is not None
    }
    return ScoreRow(version=stored["version"], scores=scores)


def _lists(row: ScoreRow, names: Sequence[str]) -> dict[str, Any]:
    found = [row.scores.get(name) for name in names]
    return {
        "version": row.version,
        "overall": [score and score.overall for score in found],
        "among_known": [score and score.among_known for score in found],
        "images": [score and score.images for score in found],
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
