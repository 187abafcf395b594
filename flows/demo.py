"""The demo: a stream of real images, one delivery a night, every component at work."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.servers.processes import import_libraries, prefect_api
from flows.terminal import screen, tables, views
from records.errors import WrongInput
from records.registration import Night
from tasks.workspace.creation import create
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from dataset.streams.catalogue import StreamName
    from dataset.streams.delivery import StreamDelivery

log = logging.getLogger("retain")
MARK = "demo"
"""Name of the file below .retain/ that says: this workspace was made by the demo, and may be made anew."""


@dataclass(frozen=True)
class Watched:
    """A night of the demo, and what it is meant to show."""

    number: int
    delivery: "StreamDelivery"
    night: Night


def run(directory: Path, stream: "StreamName", root: Path | None) -> None:
    """The demo as `retain demo` shows it. Raises `WrongInput` if `directory` holds something else."""
    if root is not None and not root.is_dir():
        raise WrongInput(f"{root} is not a folder. --root names the folder that holds Fashion-MNIST's four files.")
    began = time.monotonic()
    with screen.at_work("making a workspace"):
        workspace = prepare(directory, stream)
    screen.say(f"retain on {stream}, in a workspace of its own: {screen.place(directory)}", "bold")
    screen.say()
    views.show_night_header()
    seen: list[Watched] = []
    nights = watch(workspace, stream, root)
    while watched := _next(nights):
        views.show_night_line(watched.number, watched.delivery.name, watched.night)
        seen.append(watched)
    show_end(seen, workspace, time.monotonic() - began)


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
    with prefect_api(workspace, import_libraries):
        from dataset.streams.catalogue import deliveries
        from flows.night import Request, night
        from tasks.ingest.readiness import mark
        from tasks.params.params import read_params

        plan = deliveries(stream, root, read_params(workspace.params).ingest.test_share)
        for number, delivery in enumerate(plan, start=1):
            log.info("night %d of %d, %s", number, len(plan), delivery.story, extra={"chapter": True})
            delivery.write(workspace.inbox / delivery.name, _progress("deliver", delivery.name))
            mark(workspace.inbox / delivery.name)
            request = Request.model_validate(delivery.request)
            yield Watched(number, delivery, night(request, str(workspace.root), delivery.day))


def show_end(seen: list[Watched], workspace: Workspace, seconds: float) -> None:
    """Why nights made no version, the score matrix, as a table and as a picture, and what to type next."""
    screen.say()
    for watched in seen:
        if watched.night.registration is None or watched.night.registration.version is None:
            views.show_reasons(f"night {watched.number}", watched.night)
    accepted = [w.night for w in seen if w.night.scores and w.night.registration and w.night.registration.version]
    if accepted:
        show_scores(accepted[-1], workspace)
    screen.say(f"{seconds:.0f} seconds in all.")
    screen.say()
    look_further(workspace, len(accepted))


def show_scores(last: Night, workspace: Workspace) -> None:
    """The score matrix of the last version, as a table and as a picture."""
    from reports.pictures import score_picture

    assert last.scores is not None
    assert last.registration is not None
    screen.say()
    tables.show_matrix(last.scores, last.registration.version, last.deliveries)
    screen.say()
    picture = workspace.root / "score-matrix.png"
    version = f"v{last.registration.version}"
    picture.write_bytes(score_picture(last.scores, candidate=version, deliveries=last.deliveries))
    screen.say(f"As a picture: {screen.place(picture)}")


def _next(nights: Iterator[Watched]) -> Watched | None:
    with screen.at_work("starting Prefect"):
        return next(nights, None)


def _progress(verb: str, name: str) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        if done % 5000 == 0:
            log.info("%s %s: %d of %d", verb, name, done, total, extra={"fleeting": True})

    return report


def look_further(workspace: Workspace, versions: int) -> None:
    """What to type next."""
    screen.say("Look further:", "bold")
    commands = [
        ("status", "champion, pending, quarantine"),
        ("history", "every night with its verdict"),
        ("ui", "Prefect's runs, MLflow's versions and their comparison"),
    ]
    if versions > 1:
        commands.insert(2, (f"compare 1 {versions}", f"what v{versions} learned and lost against v1"))
    lines = [(screen.command(words, workspace.root), meaning) for words, meaning in commands]
    reports = sorted(workspace.quarantine.glob("*/report.html"))
    lines += [(screen.place(report), "why a batch went to quarantine") for report in reports]
    for line, meaning in lines:
        screen.say(f"  {line:32}  {meaning}")
