"""Commands that do something: take a delivery, learn a night, serve the pages."""

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from flows.cli import options
from flows.cli.options import Arrived, AsJson, Where, open_workspace
from flows.terminal import screen, views
from models.strategies.names import Strategy
from records.errors import Unavailable, WrongInput
from records.registration import Concern

if TYPE_CHECKING:
    from flows.night import Request
    from records.registration import Night
    from tasks.workspace.workspace import Workspace

CONCERN = 3
"""Exit code of a night that came to what `--fail-on` names."""


def ingest(
    source: Annotated[
        Path, typer.Argument(help="A folder, or a .csv, .tar or .parquet file.", metavar="SOURCE", show_default=False)
    ],
    workspace: Where = Path(),
    arrived: Arrived = None,
    as_json: AsJson = False,
) -> None:
    """Make an immutable batch of a delivery. The next night learns it.

    SOURCE is one of
      a folder <delivery>/<class>/<image>;
      for segmentation a folder with images/, masks/ and classes.txt, COCO JSON,
      or Pascal VOC;
      a manifest: a CSV or Parquet file with the columns path (relative to the
      manifest) and label;
      a .tar of samples (0001.jpg with 0001.cls or 0001.json), or a folder of
      such shards;
      a .parquet with the images in it, as Hugging Face writes them, or a
      folder of such files.

    It is taken at once, or when a night that is at work has ended, and stays
    as it is, unless it lies in the inbox. The same content twice adds nothing.
    What lies in the inbox needs no ingest: a night takes it once it is whole.

    Examples:
      retain ingest photos/monday -w shop
      retain ingest photos/monday.csv -w shop --arrived 2026-03-02
    """
    from tasks.ingest.inbox import take
    from tasks.params.params import params_of
    from tasks.workspace.lock import workspace_lock

    place, day = open_workspace(workspace), options.day(arrived)
    if not os.path.lexists(source):
        raise WrongInput(f"{source} does not exist. Name a folder of class folders, or a .csv, .tar or .parquet file.")
    with screen.at_work(f"ingest {source}"), workspace_lock(place, f"`retain ingest {source}`", patient=True):
        params = params_of(place)
        arrival = take(place, source.absolute(), day, params.ingest)
    batch = arrival.batch
    if as_json:
        screen.print_json(arrival)
    elif arrival.known:
        screen.say(f"Nothing added: the same content was ingested before, as {batch.id}.")
    else:
        classes = screen.count(len(batch.classes), "class", "classes")
        fits = batch.annotation == params.update.problem.annotation
        goes_on = " The next night validates and learns it." if fits else ""
        screen.say(
            f"Ingested {batch.id}: {screen.count(batch.images, 'image')}, {classes} "
            f"({screen.listed(batch.classes)}).{goes_on}"
        )
        if not fits:
            comes = "with masks" if batch.annotation else "without masks"
            screen.say(
                f"It comes {comes}, and `update.problem` is `{params.update.problem.name}`: the next night will "
                "quarantine it (docs/how-to/segmentation.md).",
                "yellow",
            )


def night(
    workspace: Where = Path(),
    strategy: Annotated[
        Strategy, typer.Option(help=f"How this night learns: {', '.join(get_args(Strategy))}.", metavar="NAME")
    ] = "as configured",
    epochs: Annotated[
        float | None, typer.Option(min=0.01, max=1000, help="Passes over the new images.", metavar="NUMBER")
    ] = None,
    memory: Annotated[
        int | None, typer.Option(min=0, max=10_000_000, help="Images that are remembered.", metavar="NUMBER")
    ] = None,
    hold: Annotated[
        bool, typer.Option("--hold", help="Even if accepted, wait for `retain approve`.", metavar=" ")
    ] = False,
    arrived: Arrived = None,
    fail_on: Annotated[
        list[Concern] | None,
        typer.Option(
            help=f"End with exit code {CONCERN} if the night came to this: {', '.join(Concern)}. May be repeated.",
            metavar="NAME",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Run one night: take the inbox, validate, learn what is pending, evaluate, judge, register.

    Exit code 0 if the night did its work, whatever the verdict: a refused
    candidate is a result, not a failure. Its data stay pending. Where a script
    wants to hear of it, --fail-on says of what. What is not given here is as
    params.yaml has it.

    Examples:
      retain night -w shop
      retain night -w shop --strategy joint --epochs 3 --hold
      retain night -w shop --json | jq -r .verdict.decision
      retain night -w shop --fail-on refused --fail-on quarantine || mail ...
    """
    place, day = open_workspace(workspace), options.day(arrived)
    with screen.at_work("starting Prefect"):
        result = _run_night(place, lambda: _request(strategy=strategy, epochs=epochs, memory=memory, hold=hold), day)
    if as_json:
        screen.print_json(result)
    else:
        views.show_night(result, place.root)
    told = [concern for concern in result.concerns() if concern in (fail_on or ())]
    if told:
        screen.fail(f"Exit code {CONCERN}, as --fail-on wishes: {', '.join(told)}.")
    return CONCERN if told else 0


def ui(
    workspace: Where = Path(),
    prefect_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.", metavar="PORT")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.", metavar="PORT")] = 5000,
    worker: Annotated[
        bool, typer.Option("--worker", help="Also deploy `nightly` and `manual` and run their worker.", metavar=" ")
    ] = False,
) -> None:
    """Open what the nights left behind: Prefect and MLflow on loopback, until Ctrl-C."""
    from flows.servers.interface import serve

    serve(open_workspace(workspace), prefect_port, mlflow_port, worker)


def _run_night(place: "Workspace", request: "Callable[[], Request]", day: date) -> "Night":
    from flows.servers.processes import import_libraries, prefect_api

    with prefect_api(place, lambda: import_libraries(place)) as address:
        from httpx import HTTPError

        from flows.night import night as flow

        try:
            return flow(request(), str(place.root), day)
        except HTTPError as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise Unavailable(f"Prefect at {address} does not do its work: {reason}.") from error


def _request(**chosen: object) -> "Request":
    from pydantic import ValidationError

    from flows.night import Request
    from records.record import first_problem

    try:
        return Request.model_validate(chosen)
    except ValidationError as error:
        raise WrongInput(f"--{first_problem(error)}.") from None
