"""What a person is shown of a night besides its scores: the test images whose masks lost most."""

from collections.abc import Mapping

from models.problems.base import Problem
from records.score_names import written
from records.snapshot import Snapshot
from reports.masks import mask_picture
from tasks.evaluate.exhibits import answered, lost, worst
from tasks.workspace.local_data import archive_of
from tasks.workspace.versions import version_folder
from tasks.workspace.workspace import Workspace


def write_worst_masks(workspace: Workspace, problem: Problem, deliveries: Mapping[str, str]) -> None:
    """Draw those of the last evaluation; of a problem without masks there is no such file."""
    workspace.worst_masks.unlink(missing_ok=True)
    if problem.annotation != "mask":
        return
    parent = workspace.run_file().parent
    folder = version_folder(workspace, parent)
    rows = worst(workspace.evaluation, folder)
    images = answered(workspace.candidate, folder, rows, archive_of(workspace), deliveries)
    classes = Snapshot.read(workspace.candidate / "snapshot.json").classes
    some = bool(lost(rows).any())
    title = f"Test images that lost most since v{parent}" if some else "Test images that were answered worst"
    picture = mask_picture(images, classes, f"v{parent}", "candidate", title, written(problem.score_name))
    workspace.worst_masks.write_bytes(picture)
