"""`python -m tasks STEP`: one inner step, as DVC's stages call it."""

import argparse
import shutil
import sys
from pathlib import Path

from records.batch import called
from records.errors import RetainError
from tasks.update import launch
from tasks.workspace.workspace import Workspace

STEPS = ("validate", "update", "evaluate", "judge")


def main() -> int:
    """Run one step in the present folder; 2 and one sentence if it cannot be run."""
    parser = argparse.ArgumentParser(prog="python -m tasks", description="Run one inner step of a night.")
    parser.add_argument("step", choices=STEPS, help="what to run; it reads run.json and params.yaml, writes night/")
    step = parser.parse_args().step
    try:
        workspace = Workspace.open(Path.cwd())
        launch.relay_messages()
        with launch.joined():
            result = _run(step, workspace)
        if launch.first():
            print(result)
    except RetainError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run(step: str, workspace: Workspace) -> str:
    from tasks import stages

    if step == "validate":
        return "\n".join(report.summary for report in stages.run_validate(workspace)[1])
    if step == "update":
        if not launch.together():
            # Whoever runs the stage wants it learned; DVC does not remove what is said to persist.
            shutil.rmtree(workspace.candidate, ignore_errors=True)
        snapshot, _ = stages.run_update(workspace, launch.say_progress())
        return f"Learned {len(snapshot.experiences)} experiences, {len(snapshot.classes)} classes."
    if step == "evaluate":
        return f"Average score {stages.run_evaluate(workspace).average():.4f}."
    names = stages.deliveries_of(workspace, stages.read_matrix(workspace))
    return called(stages.run_judge(workspace).reason, names)


if __name__ == "__main__":
    sys.exit(main())
