"""`retain`: the command line. Each command is a few lines here; what it does is in `tasks/` and `flows/`.

Heavy libraries are imported inside the commands that need them, so that `--help` answers at once.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import typer.rich_utils

from flows.cli import options, quarantine
from flows.cli.options import Arrived, AsJson, By, Choice, Root, Stream, Where
from flows.failures import INTERRUPTED, explain
from flows.servers.processes import STEADY, switch_off_telemetry
from flows.terminal import screen, tables, views
from records.errors import Unavailable, WrongInput

if TYPE_CHECKING:
    from flows.night import Request
    from records.registration import Night
    from tasks.workspace import Workspace

app = typer.Typer(
    name="retain",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
# Typer prints all but the first paragraph faintly; examples are what people look for.
typer.rich_utils.STYLE_HELPTEXT = ""

BEGIN, WORK, LOOK, DECIDE = "Begin", "Work", "Look", "Decide"


@app.callback(invoke_without_command=True)
def retain(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", metavar=" ")] = False,
) -> None:
    """Keeps an image model learning.

    Each night it takes the images that arrived, checks them, teaches them to
    the current model, measures what was forgotten, and registers the new
    version only if that is little.

    See it work:         retain demo
    On your own images:  retain init shop
                         cp -r monday shop/inbox/     (monday/<class>/<image>)
                         retain night -w shop
                         retain status -w shop

    Exit codes: 0 done, 2 something to mend (one sentence says what),
    1 a defect of retain, 130 stopped by Ctrl-C.
    """
    if version:
        print(installed("retain"))
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command(rich_help_panel=BEGIN)
def demo(
    stream: Annotated[Stream, typer.Option(help="Which images arrive.", metavar="digits|fashion-mnist")] = (
        Stream.digits
    ),
    directory: Annotated[
        Path, typer.Option("--dir", help="Workspace to make; an earlier demo there is replaced.", metavar="DIR")
    ] = Path("demo"),
    root: Root = None,
) -> None:
    """See it work: several nights of real images, one delivery a night, in a workspace of its own.

    Examples:
      retain demo                          seven nights of handwritten digits
      retain demo --stream fashion-mnist   five nights, 70,000 images
    """
    from flows import demo as show

    show.run(directory.absolute(), stream.value, root)


@app.command(rich_help_panel=BEGIN)
def init(
    directory: Annotated[
        Path, typer.Argument(help="Folder to make; must be empty or not exist yet.", metavar="DIR", show_default=False)
    ],
    remote: Annotated[
        str | None, typer.Option(help="DVC remote that batches are pushed to: a folder or s3://...", metavar="ADDRESS")
    ] = None,
    mlflow: Annotated[
        str | None,
        typer.Option(
            help="MLflow that keeps the versions: http://... or postgresql://...; this workspace's own if left out.",
            metavar="ADDRESS",
        ),
    ] = None,
    prefect: Annotated[
        str | None,
        typer.Option(
            help="Prefect's API: http://host:4200/api; a server of the workspace's own if left out.", metavar="ADDRESS"
        ),
    ] = None,
) -> None:
    """Make a workspace: a folder with its own Git and DVC repository in which one model keeps learning.

    Examples:
      retain init shop
      retain init shop --remote s3://bucket/shop
      retain init shop --mlflow http://mlflow:5000 --prefect http://prefect:4200/api

    Addresses are kept in shop/workspace.json and are committed, so every
    command and worker knows them; passwords belong into the environment.

    Afterwards: adjust shop/params.yaml, put images below
    shop/inbox/<delivery>/<class>/ and run `retain night -w shop`.
    """
    from tasks.creation import create

    with screen.at_work(f"making {directory}"):
        place = create(directory, options.remote(remote), told=options.told(mlflow, prefect))
    inbox, night = screen.place(place.inbox), screen.command("night", place.root)
    screen.say(f"Made {screen.place(place.root)}. Put images below {inbox}/<delivery>/<class>/ and run `{night}`.")


@app.command(rich_help_panel=WORK)
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
    from tasks.stages import params_of
    from tasks.workspace import alone

    place, day = _open(workspace), options.day(arrived)
    if not os.path.lexists(source):
        raise WrongInput(f"{source} does not exist. Name a folder of class folders, or a .csv, .tar or .parquet file.")
    with screen.at_work(f"ingest {source}"), alone(place, f"`retain ingest {source}`", patient=True):
        arrival = take(place, source.absolute(), day, params_of(place).ingest)
    batch = arrival.batch
    if as_json:
        screen.print_json(arrival)
    elif arrival.known:
        screen.say(f"Nothing added: the same content was ingested before, as {batch.id}.")
    else:
        classes = screen.count(len(batch.classes), "class", "classes")
        screen.say(
            f"Ingested {batch.id}: {screen.count(batch.images, 'image')}, {classes} "
            f"({screen.listed(batch.classes)}). The next night validates and learns it."
        )


@app.command(rich_help_panel=WORK)
def night(
    workspace: Where = Path(),
    strategy: Annotated[
        Choice, typer.Option(help=f"How this night learns: {', '.join(Choice)}.", metavar="NAME")
    ] = Choice.configured,
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
    as_json: AsJson = False,
) -> None:
    """Run one night: take the inbox, validate, learn what is pending, evaluate, judge, register.

    Exit code 0 if the night did its work, whatever the verdict: a refused
    candidate is a result, not a failure. Its data stay pending. What is not
    given here is as params.yaml has it.

    Examples:
      retain night -w shop
      retain night -w shop --strategy joint --epochs 3 --hold
      retain night -w shop --json | jq -r .verdict.decision
    """
    place, day = _open(workspace), options.day(arrived)
    with screen.at_work("starting Prefect"):
        told = _run_night(
            place, lambda: _request(strategy=strategy.value, epochs=epochs, memory=memory, hold=hold), day
        )
    if as_json:
        screen.print_json(told)
    else:
        views.show_night(told, place.root)


@app.command(rich_help_panel=WORK)
def stream(
    name: Annotated[Stream, typer.Argument(help="Which images.", metavar="digits|fashion-mnist", show_default=False)],
    workspace: Where = Path(),
    root: Root = None,
) -> None:
    """Write a stream's batches straight into the archive, each on its day: same content, same digests."""
    from tasks.example_data import restore
    from tasks.workspace import alone

    place = _open(workspace)
    with screen.at_work(f"writing {name.value}"), alone(place, f"`retain stream {name.value}`", patient=True):
        batches = restore(place, name.value, root)
    for batch in batches:
        screen.say(f"{batch.id}  {screen.count(batch.images, 'image')} of {batch.source}")


@app.command(rich_help_panel=LOOK)
def status(workspace: Where = Path(), as_json: AsJson = False) -> None:
    """Where do we stand: champion, last night, inbox, pending batches, quarantine.

    Examples:
      retain status -w shop
      retain status -w shop --json | jq .champion.number
    """
    from tasks.status import status_of

    place = _open(workspace)
    with screen.at_work("looking"):
        told = status_of(place)
    screen.print_json(told) if as_json else views.show_status(told, place.root)


@app.command(rich_help_panel=LOOK)
def history(
    workspace: Where = Path(),
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Nights to show, newest first.", metavar="NUMBER")] = 30,
    as_json: AsJson = False,
) -> None:
    """Every judged night, newest first, with its verdict, version and run."""
    from tasks.versions import registry_of

    place = _open(workspace)
    with screen.at_work("looking"):
        registry = registry_of(place)
        runs, champion, rollbacks = registry.runs(limit), registry.champion(), registry.rollbacks()
    screen.print_json(runs) if as_json else tables.show_history(runs, champion, rollbacks)


@app.command(rich_help_panel=LOOK)
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
    other way round. COLUMN is any column of a manifest, or source (the
    delivery), label, format or mode; images without a value are `(none)`.

    Examples:
      retain compare 3 4 -w shop
      retain compare v1 v4 -w shop --json | jq .total.lost
      retain compare 3 4 -w shop --by camera
    """
    from tasks.overview import compare_versions
    from tasks.slices import compare_by

    place, versions = _open(workspace), (options.version(first), options.version(second))
    if by is not None:
        with screen.at_work("comparing"):
            slices = compare_by(place, *versions, by)
        screen.print_json(slices) if as_json else tables.show_slices(slices)
        return
    with screen.at_work("comparing"):
        told = compare_versions(place, *versions)
    screen.print_json(told) if as_json else tables.show_comparison(told)


@app.command(rich_help_panel=LOOK)
def params(workspace: Where = Path(), as_json: AsJson = False) -> None:
    """Every parameter with the value that the next night will use; those that are not the default stand out."""
    from tasks.params import Params, read_params

    values = read_params(_open(workspace).params)
    screen.print_json(values) if as_json else tables.show_params(values.flat(), Params().flat())


@app.command(rich_help_panel=LOOK)
def checks(workspace: Where = Path(), as_json: AsJson = False) -> None:
    """Every question that the data gate asks, with its limit and what follows, as this workspace has them.

    Limits and consequences are set in params.yaml, section validate; what
    each check means is in docs/checks.md and in every report.
    """
    from tasks.params import read_params
    from tasks.validate.handbook import asked_of

    told = asked_of(read_params(_open(workspace).params).validation)
    screen.print_json(told) if as_json else tables.show_checks(told)


@app.command(rich_help_panel=LOOK)
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

    serve(_open(workspace), prefect_port, mlflow_port, worker)


@app.command(rich_help_panel=DECIDE)
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
    from tasks.overview import approve_run

    place = _open(workspace)
    with screen.at_work("approving"):
        registration = approve_run(place, run, options.who(by), note, overrule)
    if as_json:
        screen.print_json(registration)
    else:
        screen.say(f"Approved: v{registration.version} is the champion.", "green")


@app.command(rich_help_panel=DECIDE)
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
    from tasks.versions import registry_of

    place, number = _open(workspace), options.version(version)
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


app.add_typer(quarantine.app, name="quarantine", rich_help_panel=DECIDE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; `arguments` are those of the process if left out."""
    switch_off_telemetry()
    for name, value in STEADY.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "retain")
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    # What is said before and between the nights is for the terminal alone.
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    # Threads of a small network that wait for each other by spinning stand still on a machine that is busy otherwise.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    for output in (sys.stdout, sys.stderr):
        # A name that this terminal has no characters for is no reason to end.
        getattr(output, "reconfigure", dict)(errors="backslashreplace")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = app(arguments, prog_name="retain", standalone_mode=False) or 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # The last line of defence: no traceback reaches a person who did not ask for it.
        if os.environ.get("RETAIN_DEBUG"):
            raise
        sentence, code = explain(error)
        screen.fail(sentence)
    finally:
        signal.signal(signal.SIGTERM, before)
    if code == INTERRUPTED:
        screen.fail("Stopped.")
        if arguments is None:
            # Python's tidying up can take minutes: libraries still tell a server that has stopped, threads still wait.
            for output in (sys.stdout, sys.stderr):
                output.flush()
            os._exit(INTERRUPTED)
    return int(code)


def _open(folder: Path) -> "Workspace":
    from tasks.workspace import Workspace

    return Workspace.open(folder)


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


if __name__ == "__main__":
    sys.exit(main())
