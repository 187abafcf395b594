"""Decisions of a person about versions."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import options
from flows.cli.options import AsJson, By, Where, open_workspace
from flows.terminal import screen


def approve(
    run: Annotated[
        str, typer.Argument(help="Run of a judged night, or its beginning.", metavar="RUN", show_default=False)
    ],
    workspace: Where = Path(),
    by: By = None,
    note: Annotated[str, typer.Option(help="Why; kept with the version.", metavar="TEXT")] = "",
    overrule: Annotated[
        bool, typer.Option("--overrule", help="Approve although the gate refused.", metavar=" ")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the candidate of a night the champion, on a person's word, which is recorded.

    For nights that were held or inconclusive; `retain history` lists the runs.
    With --overrule also for one that was refused, or that did not start from
    the present champion: what was learned since is then lost from it.

    What the gate did not accept is granted: later nights are compared with this
    version, in all that it had learned. No bound holds for what was granted;
    `retain compare` shows what was lost. After a rollback to an earlier version
    nothing is granted.

    Examples:
      retain approve 2d596f9e -w shop --note "checked the new labels by hand"
      retain approve adf3878d -w shop --by ada --overrule
    """
    from tasks.approve import approve_run

    place = open_workspace(workspace)
    with screen.at_work("approving"):
        registration = approve_run(place, run, options.who(by), note, overrule)
    if as_json:
        screen.print_json(registration)
    else:
        screen.say(f"Approved: v{registration.version} is the champion.", "green")


def rollback(
    version: Annotated[str, typer.Argument(help="Registered version, 3 or v3.", metavar="VERSION", show_default=False)],
    workspace: Where = Path(),
    by: By = None,
    note: Annotated[str, typer.Option(help="Why; kept for ever.", metavar="TEXT")] = "",
    as_json: AsJson = False,
) -> None:
    """Make an earlier version the champion. The next night starts from it; what came after is pending again.

    Who did so, when and why is kept in the registry: `retain status` and
    `retain history` show it, and so does the model's page in MLflow.

    Examples:
      retain rollback 3 -w shop --note "camera 4 had moved"
    """
    from tasks.workspace.versions import registry_of

    place, number = open_workspace(workspace), options.version(version)
    with screen.at_work("rolling back"):
        registry = registry_of(place)
        before = registry.champion()
        registry.rollback(number, options.who(by), note)
    if as_json:
        screen.print_json({"model": registry.model, "champion": number, "before": before})
    elif number == before:
        screen.say(f"v{number} is the champion already; nothing was changed.")
    else:
        screen.say(f"v{number} is the champion, v{before} no longer. What v{number} has not learned is pending.",
                   "green")  # fmt: skip
