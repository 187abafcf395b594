"""Commands that change nothing: where we stand, what is different between versions, what is checked."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import options
from flows.cli.options import AsJson, Where, open_workspace
from flows.terminal import screen, tables, views


def status(workspace: Where = Path(), as_json: AsJson = False) -> None:
    """Where do we stand: champion, last night, inbox, pending batches, quarantine.

    Examples:
      retain status -w shop
      retain status -w shop --json | jq .champion.number
    """
    from tasks.queries.status import status_of

    place = open_workspace(workspace)
    with screen.at_work("looking"):
        result = status_of(place)
    screen.print_json(result) if as_json else views.show_status(result, place.root)


def history(
    workspace: Where = Path(),
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Nights to show, newest first.", metavar="NUMBER")] = 30,
    as_json: AsJson = False,
) -> None:
    """Every judged night, newest first, with its verdict, version and run."""
    from tasks.workspace.versions import registry_of

    place = open_workspace(workspace)
    with screen.at_work("looking"):
        registry = registry_of(place)
        runs, champion, rollbacks = registry.runs(limit), registry.champion(), registry.rollbacks()
    screen.print_json(runs) if as_json else tables.show_history(runs, champion, rollbacks)


def compare(
    first: Annotated[str, typer.Argument(help="A registered version: 3 or v3.", metavar="V1", show_default=False)],
    second: Annotated[str, typer.Argument(help="Another one.", metavar="V2", show_default=False)],
    workspace: Where = Path(),
    by: Annotated[
        str | None, typer.Option(help="Compare value by value of a column, such as source.", metavar="COLUMN")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What did V2 learn, and what did it lose against V1?

    Image by image, from the answers stored with both versions; no model is
    run. `lost`: images that V1 answers rightly and V2 does not; `gained`: the
    other way round; of masks, images on which the score is lower or higher by
    more than 5 points. COLUMN is any column of a manifest, or source (the
    delivery), label, format or mode; images without a value are `(none)`.

    Examples:
      retain compare 3 4 -w shop
      retain compare v1 v4 -w shop --json | jq .total.lost
      retain compare 3 4 -w shop --by camera
    """
    from tasks.queries.comparison import compare_versions
    from tasks.queries.slices import compare_by

    place, versions = open_workspace(workspace), (options.version(first), options.version(second))
    if by is not None:
        with screen.at_work("comparing"):
            slices = compare_by(place, *versions, by)
        screen.print_json(slices) if as_json else tables.show_slices(slices)
        return
    with screen.at_work("comparing"):
        comparison = compare_versions(place, *versions)
    screen.print_json(comparison) if as_json else tables.show_comparison(comparison)


def params(workspace: Where = Path(), as_json: AsJson = False) -> None:
    """Every parameter with the value that the next night will use; those that are not the default stand out."""
    from records.renamed import what_to_write
    from tasks.params.params import Params, check_start
    from tasks.params.sections import renamed_in

    place = open_workspace(workspace)
    values = check_start(place)
    if as_json:
        screen.print_json(values)
        return
    tables.show_params(values.flat(), Params().flat())
    if outdated := what_to_write(renamed_in(place.params)):
        screen.say(outdated, "yellow")


def checks(workspace: Where = Path(), as_json: AsJson = False) -> None:
    """Every check of new images, with its limit and what follows, as this workspace has them.

    Limits and consequences are set in params.yaml, section validate; what
    each check means is in docs/checks.md and in every report.
    """
    from tasks.params.params import read_params
    from tasks.validate.handbook import configured_checks

    configured = configured_checks(read_params(open_workspace(workspace).params).validation)
    screen.print_json(configured) if as_json else tables.show_checks(configured)
