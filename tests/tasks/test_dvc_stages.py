"""The repository is a DVC pipeline over the digits: who clones it can learn them again and try other parameters."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from records.scores import ScoreMatrix
from records.verdict import Verdict

ROOT = Path(__file__).parents[2]
EXPERIMENT = ("dvc", "exp", "run", "-S", "update.network.name=patches", "-S", "update.strategy.name=analytic")


@pytest.fixture(scope="module")
def clone(tmp_path_factory, shell) -> Path:
    """What somebody gets who clones the repository, with the digits stream written again."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a Git repository")
    root = tmp_path_factory.mktemp("clone") / "retain"
    shell(ROOT, "git", "clone", "--quiet", ".", str(root))
    shell(root, "retain", "stream", "digits", "--workspace", ".")
    return root


@pytest.mark.slow
def test_the_digits_stream_is_written_again_with_the_same_digest(clone, shell):
    committed = yaml.safe_load(shell(clone, "git", "show", "HEAD:data.dvc"))
    assert yaml.safe_load((clone / "data.dvc").read_text()) == committed
    assert shell(clone, "git", "log", "--oneline") == shell(ROOT, "git", "log", "--oneline")
    assert "up to date" in shell(clone, "dvc", "status", "data.dvc")


LEARNED = ("night/candidate", "night/evaluation", "night/verdict.json", "night/metrics.json")


def certain(lock: str) -> dict[str, Any]:
    """A lock file without what depends on the last bits of the weights, and so on the processor."""
    stages = yaml.safe_load(lock)
    for stage in stages["stages"].values():
        for entry in stage["deps"] + stage["outs"]:
            if entry["path"] in LEARNED:
                del entry["md5"]
                if entry["path"] != "night/candidate":
                    del entry["size"]
    return stages


@pytest.mark.slow
def test_the_repository_can_be_reproduced_and_experimented_with(clone, shell):
    committed = shell(clone, "git", "show", "HEAD:dvc.lock")
    shell(clone, "dvc", "repro")
    assert "up to date" in shell(clone, "dvc", "status")
    assert certain((clone / "dvc.lock").read_text()) == certain(committed), "`make data`, `dvc repro`, commit dvc.lock"
    assert shell(clone, "git", "status", "--porcelain").strip() in ("", "M dvc.lock")
    for kept in ("candidate/weights.safetensors", "evaluation/outcomes.parquet"):
        digest = hashlib.md5((clone / "night" / kept).read_bytes()).hexdigest()
        assert not (clone / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]).exists(), "kept a second time"
    assert Verdict.read(clone / "night" / "verdict.json").decision == "accept"
    assert ScoreMatrix.read(clone / "night" / "evaluation" / "scores.json").average() > 0.9
    name_somebody = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    shell(clone, "git", *name_somebody, "commit", "--allow-empty", "--quiet", "--message", "Reproduce", "dvc.lock")

    output = shell(clone, *EXPERIMENT)
    assert "Running stage 'update'" in output
    assert "Running stage 'validate'" not in output
    table = shell(clone, "dvc", "metrics", "diff", "--all", "--md").splitlines()
    assert [cell.strip() for cell in table[0].split("|")[1:-1]] == ["Path", "Metric", "HEAD", "workspace", "Change"]
    average = next([cell.strip() for cell in row.split("|")] for row in table if " average_accuracy " in row)
    assert 0.9 < float(average[3]) < float(average[4]) <= 1


def test_the_experiment_is_the_one_that_the_page_shows():
    page = (ROOT / "docs" / "how-to" / "reproduce.md").read_text()
    assert " ".join(EXPERIMENT) in page
