"""Commands to begin with: the demonstration, a new workspace, example images."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import options
from flows.cli.options import Root, Stream, Where, open_workspace
from flows.terminal import screen


def demo(
    stream: Annotated[
        Stream, typer.Option(help="Which images arrive.", metavar="digits|digits-on-canvas|fashion-mnist")
    ] = (Stream.digits),
    directory: Annotated[
        Path,
        typer.Option(
            "--workspace", "-w", "--dir", help="Workspace to make; an earlier demo there is replaced.", metavar="DIR"
        ),
    ] = Path("demo"),
    root: Root = None,
) -> None:
    """See it work: several nights of real images, one delivery a night, in a workspace of its own.

    Examples:
      retain demo                             seven nights of handwritten digits
      retain demo --stream digits-on-canvas   six nights of images with masks, for segmentation
      retain demo --stream fashion-mnist      five nights, 70,000 images
    """
    from flows import demo as show

    show.run(directory.absolute(), stream.value, root)


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
    from tasks.workspace.creation import create

    with screen.at_work(f"making {directory}"):
        place = create(directory, options.remote(remote), workspace_file=options.workspace_file(mlflow, prefect))
    inbox, night = screen.place(place.inbox), screen.command("night", place.root)
    screen.say(f"Made {screen.place(place.root)}. Put images below {inbox}/<delivery>/<class>/ and run `{night}`.")


def stream(
    name: Annotated[
        Stream,
        typer.Argument(help="Which images.", metavar="digits|digits-on-canvas|fashion-mnist", show_default=False),
    ],
    workspace: Where = Path(),
    root: Root = None,
) -> None:
    """Write example images into the archive, each delivery on its day, and learn nothing. Again, it adds nothing."""
    from tasks.example_data import restore
    from tasks.workspace.lock import workspace_lock

    place = open_workspace(workspace)
    with screen.at_work(f"writing {name.value}"), workspace_lock(place, f"`retain stream {name.value}`", patient=True):
        batches = restore(place, name.value, root)
    for batch in batches:
        screen.say(f"{batch.id}  {screen.count(batch.images, 'image')} of {batch.source}")
