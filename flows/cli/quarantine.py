"""`retain quarantine`: what did not pass validation, and what a person does about it."""

import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import options
from flows.cli.options import Arrived, AsJson, Where
from flows.terminal import screen, tables, views
from records.errors import WrongInput

FEW = 5
"""Of so many files of a batch that were not taken it is said why."""

if TYPE_CHECKING:
    from tasks.workspace.workspace import Workspace

app = typer.Typer(rich_markup_mode="rich")

BatchArgument = Annotated[
    str, typer.Argument(help="Id of the batch, or its beginning.", metavar="BATCH", show_default=False)
]  # fmt: skip


@app.callback(invoke_without_command=True)
def quarantine(context: typer.Context) -> None:
    """Look at what did not pass validation; release it, corrected or not, or drop it; hold a batch that is pending.

    Three kinds of entries are here: batches that a check stopped as a whole;
    batches that are held, by a person or because validation could not look at
    them; and the refused images of batches that were admitted without them.
    Nothing is lost: all images are in the archive, under their batch.

    See what is there:    retain quarantine list
    Why, and what to do:  retain quarantine show 2026-03-02-3f
    Learn it after all:   retain quarantine release 2026-03-02-3f
    Give it up:           retain quarantine drop 2026-03-02-3f
    Let a batch wait:     retain quarantine hold 2026-03-02-3f
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("list")
def list_entries(workspace: Where = Path(), as_json: AsJson = False) -> None:
    """One row an entry: batch, what it was delivered as, images, refused, age, why.

    Batches that wait as a whole are in colour; of the others only the
    refused images are here. Below stands of which batches files were not taken,
    such as links or what came late, and where they lie.

    Examples:
      retain quarantine list -w shop
      retain quarantine list -w shop --json | jq -r '.[].batch'
    """
    from tasks.ingest.apart import reasons_of
    from tasks.quarantine.store import all_not_taken, entries
    from tasks.workspace.workspace import Workspace

    place = Workspace.open(workspace)
    found = entries(place)
    if as_json:
        screen.print_json(found)
        return
    tables.show_entries(found, options.day(None))
    for batch, number in all_not_taken(place).items():
        screen.say(f"Of {batch} {tables.files_not_taken(number, place.quarantine / batch)}.", "dim")
        for name, why in islice(reasons_of(place, batch).items(), FEW):
            screen.say(f"  {name}: {why}", "dim")


@app.command()
def show(
    batch: BatchArgument,
    workspace: Where = Path(),
    files: Annotated[
        Path | None,
        typer.Option(help="Also write the refused images into this new folder, with a manifest.csv.", metavar="DIR"),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="With --files: every image that is not learned.", metavar=" ")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What validation found: the checks that did not pass, their first images, and what can be done.

    With --files the images come out for a closer look. In DIR/manifest.csv,
    delete the lines of images that are worthless, change labels that are wrong,
    and hand it to `retain quarantine release BATCH --manifest DIR/manifest.csv`.
    A cell that a spreadsheet program could take for a formula begins with an
    apostrophe; leave it there, it is taken away again. Images with masks are in
    DIR/again, with classes.txt: mend their masks and deliver that folder again.

    Examples:
      retain quarantine show 2026-03-02-3f -w shop
      retain quarantine show 2026-03-02-3f -w shop --files look
    """
    from adapters.datastore import DataStore
    from tasks.quarantine import store
    from tasks.quarantine.export import write_files
    from tasks.workspace.workspace import Workspace

    if every and files is None:
        raise WrongInput("--all says which images --files writes; name a folder with --files DIR.")
    place = Workspace.open(workspace)
    report = store.find(place, batch)
    written = None
    if files is not None:
        with screen.at_work(f"writing {files}"):
            DataStore(place.root).restore_missing()
            written = write_files(place, report, files, every)
    if as_json:
        screen.print_json(report)
        return
    fits = not report.misfit or _fits(place, report.batch)
    views.show_report(report, place.root, store.not_taken(place, report.batch), fits)
    if files is not None and written is not None:
        views.say_written(report, place.root, files, written)


def _fits(place: "Workspace", batch: str) -> bool:
    """Whether a batch comes with what the problem needs by now: params.yaml may have changed since it was stopped."""
    from dataset.batches import read_batch
    from tasks.params.params import params_of

    return params_of(place).update.problem.annotation == read_batch(place.batches, batch).annotation


@app.command()
def release(
    batch: BatchArgument,
    workspace: Where = Path(),
    relabel: Annotated[
        list[str] | None,
        typer.Option(
            help="Images labelled OLD are labelled NEW; in masks the class is renamed. May be repeated.",
            metavar="OLD=NEW",
        ),
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave out the images that CHECK complains of, or all `refused` ones. May be repeated.",
            metavar="CHECK",
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(help="What CHECK found is all right: it only warns. May be repeated.", metavar="CHECK"),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="The edited manifest.csv of `show --files`.", metavar="FILE")
    ] = None,
    by: Annotated[str, typer.Option(help="Who releases.", envvar="USER", metavar="NAME")] = "somebody",
    note: Annotated[str, typer.Option(help="Why; kept with the batch.", metavar="TEXT")] = "",
    arrived: Arrived = None,
    as_json: AsJson = False,
) -> None:
    """Ask every check again; what passes now is learned by the next night.

    Without a correction the batch is asked about as it is: params.yaml may
    have changed, or the model. A correction makes a new batch of its images, or
    of those alone that were refused if the others were admitted; the old batch
    stays as it was and is not learned beside it. Several corrections go
    together: first the manifest, then labels, then what is left out. What is
    left out of a batch that was held back stays behind for good; refused images
    of an admitted batch go on waiting until they are corrected or dropped.

    Exit code 0 whatever the checks say: still in quarantine is a result.

    Examples:
      retain quarantine release 2026-03-02-3f -w shop
      retain quarantine release 2026-03-02-3f -w shop --leave-out refused
      retain quarantine release 2026-03-02-3f -w shop --relabel four?=4
      retain quarantine release 2026-03-02-3f -w shop --accept class-unconfirmed
      retain quarantine release 2026-03-02-3f -w shop --manifest look/manifest.csv
    """
    from tasks.quarantine import release as decisions
    from tasks.workspace.lock import workspace_lock
    from tasks.workspace.workspace import Workspace

    place = Workspace.open(workspace)
    wish = decisions.ReleaseRequest(
        relabel=tuple(_pair(text) for text in relabel or ()),
        leave_out=tuple(leave_out or ()),
        accept=tuple(accept or ()),
        manifest=manifest,
        by=by,
        note=note,
    )
    with screen.at_work(f"releasing {batch}"), workspace_lock(place, "`retain quarantine release`"):
        result = decisions.release(place, batch, wish, options.day(arrived))
    screen.print_json(result) if as_json else views.show_release(result, place.root)


@app.command()
def hold(
    batch: BatchArgument,
    workspace: Where = Path(),
    by: Annotated[str, typer.Option(help="Who holds it.", envvar="USER", metavar="NAME")] = "somebody",
    note: Annotated[str, typer.Option(help="Why; kept with the batch.", metavar="TEXT")] = "",
    as_json: AsJson = False,
) -> None:
    """Let a pending batch wait: no night learns it until it is released, and no other batch waits for it.

    For a batch that passed validation and does harm, or that somebody wants
    to look at first. Nothing of it moves. `retain quarantine release` lets it
    go on, and `retain quarantine drop` gives it up.

    Examples:
      retain quarantine hold 2026-03-02-3f -w shop
      retain quarantine hold 2026-03-02-3f -w shop --by ada --note "labels of camera 4"
    """
    from tasks.quarantine import release
    from tasks.workspace.lock import workspace_lock
    from tasks.workspace.workspace import Workspace

    place = Workspace.open(workspace)
    with screen.at_work(f"holding {batch}"), workspace_lock(place, "`retain quarantine hold`"):
        report = release.hold(place, batch, by, note)
    screen.print_json(report) if as_json else views.show_hold(report, place.root)


@app.command()
def drop(
    batch: BatchArgument,
    workspace: Where = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, for scripts.", metavar=" ")] = False,
    as_json: AsJson = False,
) -> None:
    """Give an entry up, or a pending batch, after a question.

    A batch that was stopped, that is held, or that is pending without an entry
    leaves the archive; its history keeps it, and the answer says how to get it
    back. Of a batch that was admitted without some images only the entry goes:
    they stay in it, unlearned; to drop it all, hold it first. To drop a
    correction is to go back to what it corrected. Files of the delivery that
    were not taken, such as links, stay in quarantine/BATCH/files.

    Examples:
      retain quarantine drop 2026-03-02-3f -w shop
      retain quarantine drop 2026-03-02-3f -w shop --yes
    """
    from tasks.quarantine import release
    from tasks.workspace.lock import workspace_lock
    from tasks.workspace.workspace import Workspace

    place = Workspace.open(workspace)
    report = release.to_drop(place, batch)
    images = screen.count(report.images, "image")
    what = "what is known of its refused images" if report.admitted and report.checks else images
    if not yes and not _agreed(f"Drop {report.batch} ({screen.visible(report.source)}), {what}?"):
        screen.say("Nothing was dropped.")
        return
    with screen.at_work(f"dropping {report.batch}"), workspace_lock(place, "`retain quarantine drop`"):
        dropped = release.drop(place, report.batch)
    screen.print_json(dropped) if as_json else views.show_drop(dropped, place.root)


def _pair(text: str) -> tuple[str, str]:
    old, between, new = text.partition("=")
    if not between:
        raise WrongInput(f"--relabel is {text!r}; write the old and the new label as OLD=NEW.")
    return old, new


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise WrongInput("Nothing was dropped: nobody is there to answer. For scripts there is --yes.")
    print(f"{screen.visible(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
