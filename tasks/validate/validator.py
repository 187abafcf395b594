"""Validation of a run: one batch after the other, with everything that they are held against."""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

import pandas as pd

from dataset.batches import read_batch
from records.errors import Unavailable
from records.experience import Experience, RejectedBatch
from records.registration import RunFile
from records.snapshot import Snapshot
from tasks.validate.checks.base import no_masks
from tasks.validate.earlier import LOOKED_UP, EarlierImages, earlier_images, is_damaged, remove_index
from tasks.validate.embeddings import Champion, Model, Thumbnails
from tasks.validate.mask_shares import COLUMNS, MaskShares
from tasks.validate.question import Answer, Question, clause, is_its_own, unanswered
from tasks.validate.settings import ValidateParams
from tasks.validate.validate import validate
from tasks.workspace.local_data import archive_of, facts_of, fetch_data
from tasks.workspace.versions import snapshot_of, version_folder
from tasks.workspace.workspace import Workspace

log = logging.getLogger("retain")


Asked = TypeVar("Asked")


def answer(question: Question) -> Answer:
    """What validation says of one batch, in a process that looks at nothing else."""
    workspace = Workspace(question.root)
    return with_index(workspace, partial(_answer_here, workspace, question))


def _answer_here(workspace: Workspace, question: Question) -> Answer:
    with validator_of(workspace, question.run, question.params) as validator:
        for experience in question.tonight:
            validator.earlier.add(experience, partial(facts_of, workspace, experience.batch, LOOKED_UP))
        return validator.answer(question)


def with_index(workspace: Workspace, ask: Callable[[], Asked]) -> Asked:
    """Ask; should the index of earlier images be none any more, once more with a new one."""
    try:
        return ask()
    except sqlite3.DatabaseError as error:
        if not is_damaged(error):
            raise Unavailable(f"The index of earlier images, {workspace.index}, cannot be used: {error}.") from error
        remove_index(workspace.index)
        return ask()


@dataclass(frozen=True)
class Validator:
    """Validation of a run: all that a batch is held against."""

    workspace: Workspace
    params: ValidateParams
    parent: Snapshot
    champion: Champion
    earlier: EarlierImages

    @cached_property
    def masks_before(self) -> MaskShares:
        """Of the batches that were learned last."""
        return masks_learned(self.workspace, self.parent.experiences[-self.params.drift_batches :])

    def answer(self, question: Question) -> Answer:
        """Ask about a batch; if it is admitted, its images count as earlier ones. One that cannot be looked at is held
        back, whatever was raised."""
        batch = read_batch(self.workspace.batches, question.batch)
        named = tuple(sorted({name for experience in question.tonight for name in experience.classes}))
        try:
            facts = facts_of(self.workspace, batch.id)
            experience, report = validate(
                facts, batch, self.earlier, self.parent.classes, self.params, self.champion, named,
                question.annotation, lambda: self.masks_before, partial(masks_in, self.workspace),
            )  # fmt: skip
            self.earlier.add(experience, facts)
        except RejectedBatch as rejected:
            return Answer(report=rejected.report)
        except Exception as error:
            if not is_its_own(error):
                raise
            log.warning("%s is held: %s", batch.id, clause(error))
            return unanswered(batch, clause(error))
        return Answer(report=report, experience=experience)


@contextmanager
def validator_of(workspace: Workspace, run: RunFile, params: ValidateParams) -> Iterator[Validator]:
    """Validation for a run, with what its parent has learned."""
    parent = snapshot_of(workspace, run.parent)
    fetch_data(workspace, [experience.batch for experience in parent.experiences])
    champion = champion_of(workspace, run.parent)
    with earlier_images(
        workspace.index, parent.experiences, lambda e: facts_of(workspace, e.batch, LOOKED_UP)
    ) as earlier:
        yield Validator(workspace, params, parent, champion, earlier)


def champion_of(workspace: Workspace, version: int) -> Champion:
    """How a version sees images; version 0 sees small pictures."""
    folder, archive = version_folder(workspace, version), archive_of(workspace)
    return Thumbnails(archive) if folder is None else Model(archive, folder)


def masks_in(workspace: Workspace, batch_id: str) -> "pd.Series[str]":
    """The `annotation_id` of each row of a batch, from one column of its shards; of one without masks, nothing."""
    if not read_batch(workspace.batches, batch_id).annotation:
        return no_masks(batch_id)
    found: pd.Series[str] = facts_of(workspace, batch_id, ("annotation_id",))["annotation_id"]
    return found


def masks_learned(workspace: Workspace, experiences: Sequence[Experience]) -> MaskShares:
    """What is known of the masks of some experiences, from two columns of their shards."""
    found = []
    for experience in experiences:
        batch = read_batch(workspace.batches, experience.batch)
        if batch.annotation:
            facts = facts_of(workspace, batch.id, COLUMNS)
            found.append(MaskShares.of(facts.drop(index=list(experience.left_out)), batch.mask_classes))
    return MaskShares.together(found)
