"""`retain`: the command line. Each command is a few lines here; what it does is in `tasks/` and `flows/`.

Heavy libraries are imported inside the commands that need them, so that `--help` answers at once.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows import screen
from flows.servers import switch_off_telemetry
from records.errors import RetainError, WrongInput

if TYPE_CHECKING:
    from flows.night import Request
    from records.registration import Night
    from tasks.workspace import Workspace

app = typer.Typer(
    name="retain",
    help="Keeps an image model learning: each night it takes the images that arrived, checks them, teaches them to the "
    "current model, measures what was forgotten, and registers the new version only if that is little.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

WORK, LOOK = "Work", "Look and decide"
Where = Annotated[
    Path,
    typer.Option("--workspace", "-w", envvar="RETAIN_WORKSPACE", help="Folder of the workspace.", show_default="here"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]


class Stream(StrEnum):
    """Streams of images that come with retain."""

    digits = "digits"
    fashion = "fashion-mnist"


class Choice(StrEnum):
    """Strategies that a night can be run with."""

    configured = "as configured"
    finetune = "finetune"
    joint = "joint"
    replay = "replay"
    replay_distillation = "replay_distillation"


@app.command(rich_help_panel=WORK)
def init(
    directory: Annotated[Path, typer.Argument(help="Folder to make; must be empty or not exist yet.")],
    remote: Annotated[
        str | None, typer.Option(help="DVC remote that batches are pushed to: a folder, s3://bucket/path, ...")
    ] = None,
) -> None:
    """Make a workspace: a folder with its own Git and DVC repository in which one model keeps learning."""
    from tasks.creation import create

    with screen.at_work(f"making {directory}"):
        workspace = create(directory, remote)
    screen.say(f"Made {workspace.root}. Put images below {workspace.inbox}/<delivery>/<class>/ and run `retain night`.")


@app.command(rich_help_panel=WORK)
def ingest(
    source: Annotated[
        Path, typer.Argument(help="Folder <batch>/<class>/<file>, or a manifest (CSV, Parquet) with path and label.")
    ],
    workspace: Where = Path(),
    as_json: AsJson = False,
) -> None:
    """Make an immutable batch of a folder or manifest. The source stays as it is; the next night learns the batch."""
    from tasks.inbox import take
    from tasks.stages import params_of

    place = _open(workspace)
    if not source.exists():
        raise WrongInput(f"{source} does not exist. Name a folder of class folders, or a manifest.")
    with screen.at_work(f"ingest {source}"):
        arrival = take(place, source.absolute(), date.today(), params_of(place).ingest)
    if as_json:
        _print_json(arrival.model_dump(mode="json"))
        return
    batch = arrival.batch
    if arrival.known:
        screen.say(f"Nothing added: the same content was ingested before, as {batch.id}.")
    else:
        screen.say(f"Ingested {batch.id}: {batch.images} images, {len(batch.classes)} classes.")


@app.command(rich_help_panel=WORK)
def night(
    workspace: Where = Path(),
    strategy: Annotated[Choice, typer.Option(help="How this night learns.")] = Choice.configured,
    epochs: Annotated[float | None, typer.Option(min=0.01, max=1000, help="Passes over the new images.")] = None,
    memory: Annotated[int | None, typer.Option(min=0, help="Images that are remembered.")] = None,
    hold: Annotated[bool, typer.Option("--hold", help="Even if accepted, wait for `retain approve`.")] = False,
    arrived: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Day that deliveries are filed under; today if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run one night: take the inbox, validate, learn what is pending, evaluate, judge, register.

    Exit code 0 if the night did its work, whatever the verdict; a refused candidate is a result, not a failure.
    """
    place, day = _open(workspace), _day(arrived)
    with screen.at_work("starting Prefect"):
        told = _run_night(
            place, lambda: _request(strategy=strategy.value, epochs=epochs, memory=memory, hold=hold), day
        )
    if as_json:
        _print_json(told.model_dump(mode="json"))
    else:
        screen.show_night(told)


@app.command(rich_help_panel=WORK)
def demo(
    stream: Annotated[Stream, typer.Option(help="Which images arrive.")] = Stream.digits,
    directory: Annotated[
        Path, typer.Option("--dir", help="Workspace to make; an earlier demo there is replaced.")
    ] = Path("demo"),
    root: Annotated[
        Path | None, typer.Option(help="Folder with Fashion-MNIST's four files; downloaded if left out.")
    ] = None,
) -> None:
    """See it work: several nights of real images, one delivery a night, in a workspace of their own."""
    from flows import demo as show

    show.run(directory.absolute(), stream.value, root)


@app.command(rich_help_panel=LOOK)
def status(workspace: Where = Path(), as_json: AsJson = False) -> None:
    """Champion, pending batches, quarantine, last verdict."""
    from tasks.overview import status_of

    with screen.at_work("looking"):
        told = status_of(_open(workspace))
    _print_json(told.model_dump(mode="json")) if as_json else screen.show_status(told)


@app.command(rich_help_panel=LOOK)
def history(
    workspace: Where = Path(),
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Nights to show, newest first.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Every judged night, newest first, with its verdict, version and run."""
    from tasks.stages import registry_of

    with screen.at_work("looking"):
        runs = registry_of(_open(workspace)).runs(limit)
    _print_json([run.model_dump(mode="json") for run in runs]) if as_json else screen.show_history(runs)


@app.command(rich_help_panel=LOOK)
def compare(
    first: Annotated[str, typer.Argument(help="A registered version, for example 3 or v3.", metavar="V1")],
    second: Annotated[str, typer.Argument(help="Another one.", metavar="V2")],
    workspace: Where = Path(),
    as_json: AsJson = False,
) -> None:
    """What did V2 learn, and what did it lose against V1: by experience, by class, image by image."""
    from tasks.overview import compare_versions

    with screen.at_work("comparing"):
        told = compare_versions(_open(workspace), _version(first), _version(second))
    _print_json(told.model_dump(mode="json")) if as_json else screen.show_comparison(told)


@app.command(rich_help_panel=LOOK)
def approve(
    run: Annotated[str, typer.Argument(help="Run of a night that was inconclusive or held; see `retain history`.")],
    workspace: Where = Path(),
    by: Annotated[str, typer.Option(help="Who approves.", envvar="USER")] = "somebody",
    note: Annotated[str, typer.Option(help="Why; kept with the version.")] = "",
    overrule: Annotated[bool, typer.Option("--overrule", help="Approve although the gate refused.")] = False,
) -> None:
    """Make the candidate of a night the champion, on a person's word, which is recorded."""
    from tasks.overview import approve_run

    with screen.at_work("approving"):
        version = approve_run(_open(workspace), run, by, note, overrule)
    screen.say(f"Approved: v{version} is the champion.", "green")


@app.command(rich_help_panel=LOOK)
def rollback(
    version: Annotated[str, typer.Argument(help="The registered version that shall be the champion again.")],
    workspace: Where = Path(),
) -> None:
    """Make an earlier version the champion. The next night starts from it; what came after is pending again."""
    from tasks.stages import registry_of

    with screen.at_work("rolling back"):
        number = _version(version)
        registry_of(_open(workspace)).rollback(number)
    screen.say(f"v{number} is the champion. What later versions learned is pending again.", "green")


@app.command(rich_help_panel=LOOK)
def ui(
    workspace: Where = Path(),
    prefect_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 5000,
    worker: Annotated[
        bool, typer.Option("--worker", help="Also deploy `nightly` and `manual` and run a worker for them.")
    ] = False,
) -> None:
    """Open what the nights left behind: Prefect and MLflow on loopback, until Ctrl-C."""
    from flows.interface import serve

    serve(_open(workspace), prefect_port, mlflow_port, worker)


@app.command(rich_help_panel=LOOK)
def params(workspace: Where = Path(), as_json: AsJson = False) -> None:
    """Every parameter with the value that the next night will use."""
    from tasks.params import read_params

    values = read_params(_open(workspace).params).flat()
    if as_json:
        _print_json(values)
        return
    for name, value in values.items():
        screen.say(f"{name:40} {value}")


@app.command(rich_help_panel=WORK)
def stream(
    name: Annotated[Stream, typer.Argument(help="Which images.")],
    workspace: Where = Path(),
    root: Annotated[
        Path | None, typer.Option(help="Folder with Fashion-MNIST's four files; downloaded if left out.")
    ] = None,
) -> None:
    """Write a stream's batches straight into the archive, each on its day: same content, same digests."""
    from tasks.restoration import restore

    with screen.at_work(f"writing {name.value}"):
        batches = restore(_open(workspace), name.value, root)
    for batch in batches:
        screen.say(f"{batch.id}  {batch.images} images of {batch.source}")


def main() -> None:
    """Entry point: what a person can mend is one sentence and exit code 2; a defect of ours is told as such."""
    switch_off_telemetry()
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    try:
        app()
    except RetainError as error:
        screen.fail(str(error))
        sys.exit(2)
    except Exception as defect:  # The last line of defence: no traceback reaches a person who did not ask for it.
        if os.environ.get("RETAIN_DEBUG"):
            raise
        place = "".join(traceback.format_tb(defect.__traceback__)[-1:]).strip().splitlines()[0]
        screen.fail(
            f"This is a defect of retain, not of your input: {type(defect).__name__}: {defect} ({place}). "
            "Nothing was registered. Set RETAIN_DEBUG=1 to see the whole traceback."
        )
        sys.exit(1)


def _open(folder: Path) -> "Workspace":
    from tasks.workspace import Workspace

    return Workspace.open(folder)


def _run_night(place: "Workspace", request: "Callable[[], Request]", day: date) -> "Night":
    from flows.servers import import_libraries, prefect_api

    with prefect_api(place.prefect_home, import_libraries):
        from flows.night import night as flow

        return flow(request(), str(place.root), day)


def _request(**chosen: object) -> "Request":
    from flows.night import Request

    return Request.model_validate(chosen)


def _day(text: str | None) -> date:
    try:
        return date.fromisoformat(text) if text else date.today()
    except ValueError:
        raise WrongInput(f"--arrived is {text!r}, which is not a day; write it as 2026-03-31.") from None


def _version(text: str) -> int:
    digits = text.removeprefix("v")
    if not digits.isdigit() or int(digits) == 0:
        raise WrongInput(f"{text!r} is not a version; write its number, for example 3 or v3.")
    return int(digits)


def _print_json(content: object) -> None:
    print(json.dumps(content, indent=2))
