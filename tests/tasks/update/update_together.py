"""Updates in one of several processes, as `torchrun` starts it: those that a JSON file names, one after the other."""

import json
import sys
from pathlib import Path

from dataset.archive import Archive
from records.experience import Experience
from tasks.update import launch
from tasks.update.settings import UpdateParams
from tasks.update.update import update


def run(orders: Path) -> None:
    """An order names the archive's folder, the parent's and the candidate's, and what is learned how."""
    for order in json.loads(orders.read_text()):
        root = Path(order["archive"])
        update(
            Path(order["parent"]),
            1,
            [Experience.model_validate(experience) for experience in order["experiences"]],
            Archive(root / "batches", root / "cache"),
            UpdateParams.model_validate(order["params"]),
            "aa",
            Path(order["out"]),
            unfinished=Path(order["unfinished"]),
        )


if __name__ == "__main__":
    with launch.joined():
        run(Path(sys.argv[1]))
