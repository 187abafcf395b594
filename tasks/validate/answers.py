"""Each batch of a run, asked on its own.

A batch that ends the process which looks at it is asked again in one of its own (`isolated.py`), so it cannot stop the
others.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import partial

from dataset.batches import read_batch
from records.batch import Annotation
from records.registration import RunFile
from tasks.validate import isolated
from tasks.validate.question import Answer, Question
from tasks.validate.settings import ValidateParams
from tasks.validate.validator import validator_of, with_index
from tasks.workspace.local_data import fetch_data
from tasks.workspace.workspace import Workspace

log = logging.getLogger("retain")


def answers_of(workspace: Workspace, run: RunFile, params: ValidateParams, annotation: Annotation = "") -> list[Answer]:
    """Each batch of a run, asked on its own, with those before it counting as earlier.

    `annotation` is what images must come with.
    """
    fetch_data(workspace, run.batches)
    before = isolated.left_by_another(workspace.asking)
    if not before:
        return with_index(workspace, partial(_all_here, workspace, run, params, annotation))
    log.warning("A process ended while it looked at %s; each batch is looked at in a process of its own.", before)
    answers: list[Answer] = []
    for question in _questions(workspace, run, params, annotation, answers):
        answers.append(isolated.ask_alone(question, read_batch(workspace.batches, question.batch)))
    workspace.asking.unlink(missing_ok=True)
    return answers


def _all_here(workspace: Workspace, run: RunFile, params: ValidateParams, annotation: Annotation) -> list[Answer]:
    answers: list[Answer] = []
    with validator_of(workspace, run, params) as validator:
        for question in _questions(workspace, run, params, annotation, answers):
            with isolated.noted(workspace.asking, question.batch):
                answers.append(validator.answer(question))
    return answers


def _questions(
    workspace: Workspace, run: RunFile, params: ValidateParams, annotation: Annotation, answers: Sequence[Answer]
) -> Iterator[Question]:
    """One batch after the other; `answers` has those to the questions before."""
    for name in run.batches:
        tonight = tuple(answer.experience for answer in answers if answer.experience is not None)
        yield Question(root=workspace.root, batch=name, run=run, params=params, annotation=annotation, tonight=tonight)
