"""The demo: a stream of real images, one delivery a night, every component at work."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows import screen
from flows.servers import import_libraries, prefect_api
from records.errors import WrongInput
from records.registration import Night
from tasks.creation import create
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.streams import Delivery, StreamName

log = logging.getLogger("retain")
MARK = "demo"
"""Name of the file below .retain/ that says: this workspace was made by the demo, and may be made anew."""


@dataclass(frozen=True)
class Watched:
    """A night of the demo, and what it is meant to show."""

    number: int
    delivery: "Delivery"
    night: Night


def run(directory: Path, stream: "StreamName", root: Path | None) -> None:
    """The demo as `retain demo` shows it. Raises `WrongInput` if `directory` holds something else."""
    if root is not None and not root.is_dir():
        raise WrongInput(f"{root} is not a folder. --root names the folder that holds Fashion-MNIST's four files.")
    began = time.monotonic()
    with screen.at_work("making a workspace"):
        workspace = prepare(directory, stream)
    screen.say(f"retain on {stream}, in a workspace of its own: {directory}\n", "bold")
    screen.say(screen.NIGHT_HEADER, "dim")
    last: Night | None = None
    nights = watch(workspace, stream, root)
    while watched := _next(nights):
        screen.show_watched(watched.number, watched.delivery.name, watched.night)
        last = watched.night if watched.night.scores else last
    if last is not None:
        show_end(last, workspace, time.monotonic() - began)


def prepare(root: Path, stream: "StreamName") -> Workspace:
    """An empty workspace for a stream. A workspace that an earlier demo made is replaced; anything else is not."""
    if (root / ".retain" / MARK).exists():
        shutil.rmtree(root)
    remote = root / ".retain" / "remote"
    workspace = create(root, str(remote), f"params-{stream}.yaml")
    (workspace.state / MARK).write_text(stream)
    return workspace


def watch(workspace: Workspace, stream: "StreamName", root: Path | None) -> Iterator[Watched]:
    """Run the stream's nights one after the other, giving each as it ends."""
    with prefect_api(workspace.prefect_home, import_libraries):
        from flows.night import Request, night
        from tasks.params import read_params
        from tasks.streams import deliveries

        plan = deliveries(stream, root, read_params(workspace.params).ingest.test_share)
        for number, delivery in enumerate(plan, start=1):
            log.info("night %d of %d: %s", number, len(plan), delivery.story)
            delivery.write(workspace.inbox / delivery.name, _tell("deliver", delivery.name))
            request = Request.model_validate(delivery.request)
            yield Watched(number, delivery, night(request, str(workspace.root), delivery.day))


def show_end(last: Night, workspace: Workspace, seconds: float) -> None:
    """The score matrix, as a table and as a picture, and what to type next."""
    from tasks.pictures import score_picture

    assert last.scores is not None
    version = last.registration.version if last.registration else None
    screen.console.print()
    screen.console.print(screen.matrix_table(last.scores, version))
    picture = workspace.root / "score-matrix.png"
    picture.write_bytes(score_picture(last.scores))
    screen.say(f"\n{seconds:.0f} seconds in all. The matrix as a picture: {os.path.relpath(picture)}")
    screen.say(look_further(workspace))


def _next(nights: Iterator[Watched]) -> Watched | None:
    with screen.at_work("starting Prefect"):
        return next(nights, None)


def _tell(verb: str, name: str) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        if done % 5000 == 0:
            log.info("%s %s: %d of %d", verb, name, done, total)

    return tell


def look_further(workspace: Workspace) -> str:
    """What to type next."""
    here = os.path.relpath(workspace.root)
    lines = [
        "",
        "Look further:",
        f"  retain ui -w {here}              Prefect's runs, MLflow's versions and their comparison",
        f"  retain history -w {here}         every night with its verdict",
        f"  retain compare -w {here} 1 4     what v4 learned and lost against v1",
        f"  retain status -w {here}          champion, pending, quarantine",
    ]
    reports = sorted(workspace.quarantine.glob("*/report.html"))
    lines += [f"  {os.path.relpath(report)}   why a batch went to quarantine" for report in reports]
    return "\n".join(lines)
