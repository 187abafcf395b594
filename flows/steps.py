"""A step of a night as Prefect runs it: under its name, and tried again while an outside system does not answer."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from prefect import task

from records.errors import Unavailable

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("retain")
PAUSES = (5.0, 15.0, 40.0, 60.0)
"""Seconds before each further try. Two minutes in all: a server that is started anew has answered by then."""


def step(name: str, run_name: str = "") -> "Callable[[Callable[P, R]], Task[P, R]]":
    """Every step asks something outside, be it only for the version that it starts from."""
    return task(
        name=name,
        task_run_name=run_name or name,
        retries=len(PAUSES),
        retry_delay_seconds=list(PAUSES),
        retry_condition_fn=may_pass,
    )


def may_pass(step: "Task[Any, Any]", run: "TaskRun", state: "State[Any]") -> bool:
    """Try again only after what may pass by itself: an outside system that did not answer. Says that it does."""
    failure = state.result(raise_on_failure=False)
    if not isinstance(failure, Unavailable):
        return False
    log.warning("%s %s is tried again (%d of %d).", failure, step.name, run.run_count, step.retries)
    return True
