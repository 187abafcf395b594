"""Each batch of a run, asked on its own, with everything that it is held against.

A batch that ends the process which looks at it is asked again in one of its own (`isolated.py`), so it cannot stop the
others.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from dataset.batches import read_batch
from records.errors import Unavailable
from records.experience import RejectedBatch
from records.registration import RunFile
from records.snapshot import Snapshot
from tasks.params.params import Params, read_params
from tasks.validate import isolated
from tasks.validate.earlier import LOOKED_UP, EarlierImages, earlier_images, is_damaged, remove_index
from tasks.validate.embeddings import Champion, Model, Thumbnails
from tasks.validate.validate import validate
from tasks.workspace.local_data import archive_of, facts_of, fetch_data
from tasks.workspace.versions import snapshot_of, version_folder
from tasks.workspace.workspace import Workspace

log = logging.getLogger("retain")


Asked = TypeVar("Asked")


def answers_of(workspace: Workspace, run: RunFile) -> list[isolated.Answer]:
    """Each batch of a run, asked on its own, with those before it counting as earlier."""
    fetch_data(workspace, run.batches)
    before = isolated.left_by_another(workspace.asking)
    if not before:
        return _with_index(workspace, partial(_all_here, workspace, run))
    log.warning("A process ended while it looked at %s; each batch is looked at in a process of its own.", before)
    answers: list[isolated.Answer] = []
    for question in _questions(workspace, run, answers):
        answers.append(isolated.ask_alone(question, read_batch(workspace.batches, question.batch)))
    workspace.asking.unlink(missing_ok=True)
    return answers


def _all_here(workspace: Workspace, run: RunFile) -> list[isolated.Answer]:
    answers: list[isolated.Answer] = []
    with validator_of(workspace, run) as validator:
        for question in _questions(workspace, run, answers):
            with isolated.noted(workspace.asking, question.batch):
                answers.append(validator.answer(question))
    return answers


def _questions(workspace: Workspace, run: RunFile, answers: Sequence[isolated.Answer]) -> Iterator[isolated.Question]:
    """One batch after the other; `answers` has those to the questions before."""
    for name in run.batches:
        tonight = tuple(answer.experience for answer in answers if answer.experience is not None)
        yield isolated.Question(root=workspace.root, batch=name, run=run, tonight=tonight)


def answer(question: isolated.Question) -> isolated.Answer:
    """What the data gate says of one batch, in a process that looks at nothing else."""
    workspace = Workspace(question.root)
    return _with_index(workspace, partial(_answer_here, workspace, question))


def _answer_here(workspace: Workspace, question: isolated.Question) -> isolated.Answer:
    with validator_of(workspace, question.run) as validator:
        for experience in question.tonight:
            validator.earlier.add(experience, partial(facts_of, workspace, experience.batch, LOOKED_UP))
        return validator.answer(question)


def _with_index(workspace: Workspace, ask: Callable[[], Asked]) -> Asked:
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
    """The data gate of a run: all that a batch is held against."""

    workspace: Workspace
    params: Params
    parent: Snapshot
    champion: Champion
    earlier: EarlierImages

    def answer(self, question: isolated.Question) -> isolated.Answer:
        """Ask about a batch; if it is admitted, its images count as earlier ones. One that cannot be looked at is held
        back, whatever was raised."""
        batch = read_batch(self.workspace.batches, question.batch)
        named = tuple(sorted({name for experience in question.tonight for name in experience.classes}))
        try:
            facts = facts_of(self.workspace, batch.id)
            experience, report = validate(
                facts, batch, self.earlier, self.parent.classes, self.params.validation, self.champion, named
            )
            self.earlier.add(experience, facts)
        except RejectedBatch as rejected:
            return isolated.Answer(report=rejected.report)
        except Exception as error:
            if not isolated.is_its_own(error):
                raise
            log.warning("%s is held: %s", batch.id, isolated.clause(error))
            return isolated.unanswered(batch, isolated.clause(error))
        return isolated.Answer(report=report, experience=experience)


@contextmanager
def validator_of(workspace: Workspace, run: RunFile) -> Iterator[Validator]:
    """The data gate for a run, with what its parent has learned."""
    parent = snapshot_of(workspace, run.parent)
    fetch_data(workspace, [experience.batch for experience in parent.experiences])
    params, champion = read_params(workspace.params, run.overrides), champion_of(workspace, run.parent)
    with earlier_images(
        workspace.index, parent.experiences, lambda e: facts_of(workspace, e.batch, LOOKED_UP)
    ) as earlier:
        yield Validator(workspace, params, parent, champion, earlier)


def champion_of(workspace: Workspace, version: int) -> Champion:
    """How a version sees images; version 0 sees small pictures."""
    folder, archive = version_folder(workspace, version), archive_of(workspace)
    return Thumbnails(archive) if folder is None else Model(archive, folder)
