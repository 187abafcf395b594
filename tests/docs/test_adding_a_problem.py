"""What docs/extending.md says of adding a problem, done to the letter with a copy of retain that runs nights."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PACKAGES = ("records", "dataset", "models", "adapters", "serving", "reports", "tasks", "flows")
GRADES = 5


def page() -> tuple[str, str]:
    """The file that the page adds, and what stands in it."""
    text = (ROOT / "docs" / "extending.md").read_text()
    section = text[text.index("## A problem, start to end") :]
    (name,) = re.findall(r"whole of\n`(models/problems/\w+\.py)`", section)
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.S)
    return name, code


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """retain with the problem: one file more, and one line of the catalogue."""
    folder = tmp_path / "retain"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    name, code = page()
    (folder / name).write_text(code)
    catalogue = folder / "models" / "catalogue.py"
    text = catalogue.read_text().replace(
        "from models.problems.segmentation",
        "from models.problems.grading import Grading\nfrom models.problems.segmentation",
    )
    catalogue.write_text(text.replace("Classification | Segmentation", "Classification | Grading | Segmentation"))
    return folder


def retain(copy: Path, workspace: Path, *words: str) -> str:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_API", "PREFECT_HOME", "MLFLOW_TR"))
    }
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from flows.cli.main import main; sys.exit(main(sys.argv[1:]))", *words],
        cwd=workspace.parent,
        env=environment | {"PYTHONPATH": str(copy), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=280,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def deliver(folder: Path, seed: int, each: int = 100) -> None:
    """Images whose brightness is the grade, more or less."""
    dice = np.random.default_rng(seed)
    for grade in range(GRADES):
        (folder / str(grade)).mkdir(parents=True)
        for number in range(each):
            level = 30 + 45 * grade + dice.normal(0, 12)
            pixels = np.clip(level + dice.normal(0, 10, (8, 8)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / str(grade) / f"{number}.png")
    (folder / "_READY").touch()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.servers
def test_a_problem_is_one_file_and_one_line(copy: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "grades"
    retain(copy, workspace, "init", str(workspace))
    params = workspace / "params.yaml"
    text = params.read_text().replace("network: {name: cnn}", "problem: {name: grading}\n  network: {name: mlp}")
    params.write_text(text.replace("name: paired_score", "name: paired_bootstrap"))
    for seed, name in enumerate(("monday", "tuesday")):
        deliver(workspace / "inbox" / name, seed)
        retain(copy, workspace, "night", "-w", str(workspace))
    nights = json.loads(retain(copy, workspace, "history", "-w", str(workspace), "--json"))
    assert [night["decision"] for night in nights] == ["accept", "accept"]
    metrics = json.loads((workspace / "night" / "metrics.json").read_text())
    # Grades beside the right one count: no share of right answers among five grades would reach this.
    assert metrics["average_accuracy"] > 0.85
