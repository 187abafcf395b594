"""What the README says is done here: the demo, the five lines for one's own images, and every command it names."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent


def run(*command: str, cwd: Path, code: int = 0) -> str:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_API", "PREFECT_HOME", "MLFLOW_TR"))
    }
    environment |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120", "HOME": str(cwd)}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280, stdin=subprocess.DEVNULL
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.servers
def test_the_demo_shows_seven_nights(tmp_path: Path) -> None:
    result = run("retain", "demo", cwd=tmp_path)
    nights = [line for line in result.splitlines() if re.match(r"[1-7] +[a-z-]+ ", line)]
    verdicts = [re.search(r"accepted|refused|quarantined", line) for line in nights]
    assert [v and v.group() for v in verdicts] == [
        "accepted",
        "accepted",
        "quarantined",
        "accepted",
        "refused",
        "accepted",
        "accepted",
    ]
    demo = tmp_path / "demo"
    assert (demo / "score-matrix.png").read_bytes().startswith(b"\x89PNG")
    status = json.loads(run("retain", "status", "--workspace", "demo", "--json", cwd=tmp_path))
    assert status["champion"]["number"] == 5
    assert status["pending"] == []
    assert len(status["learned"]) == 6
    assert len(status["quarantine"]) == 1
    refused = [
        r for r in json.loads(run("retain", "history", "-w", "demo", "--json", cwd=tmp_path)) if not r["version"]
    ]
    assert [r["decision"] for r in refused] == ["refuse"]
    assert subprocess.run(["git", "status", "--porcelain"], cwd=demo, capture_output=True).stdout in (
        b"",
        b"?? score-matrix.png\n",
    )


@pytest.mark.slow
@pytest.mark.servers
def test_the_five_lines_work_on_ones_own_images(tmp_path: Path, deliver) -> None:
    run("retain", "init", "shop", cwd=tmp_path)
    deliver(tmp_path / "shop" / "inbox" / "monday", {"bar": 225, "column": 225}, 1)
    (tmp_path / "shop" / "inbox" / "monday" / "_READY").touch()
    first = json.loads(run("retain", "night", "--workspace", "shop", "--json", cwd=tmp_path))
    assert first["outcome"] == "accept", first["verdict"]["reason"]
    deliver(tmp_path / "shop" / "inbox" / "tuesday", {"cross": 120, "square": 120}, 2)
    (tmp_path / "shop" / "inbox" / "tuesday" / "_READY").touch()
    second = json.loads(run("retain", "night", "--workspace", "shop", "--json", cwd=tmp_path))
    assert second["outcome"] == "accept", second["verdict"]["reason"]
    assert "champion" in run("retain", "status", "--workspace", "shop", cwd=tmp_path)
    compared = json.loads(run("retain", "compare", "1", "2", "--workspace", "shop", "--json", cwd=tmp_path))
    assert [c["subject"] for c in compared["classes"] if c["first"] is None] == ["cross", "square"]


def test_every_command_in_the_readme_exists() -> None:
    commands = set(re.findall(r"^(?:\.venv/bin/)?retain ([a-z]+)", README, flags=re.M)) | set(
        re.findall(r"`retain ([a-z]+)", README)
    )
    assert {"init", "night", "status", "compare", "approve", "params", "ui", "demo"} <= commands
    listed = run("retain", "--help", cwd=ROOT)
    for command in commands:
        assert re.search(rf"^\W*{command}\s", listed, flags=re.M), command


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^make ([a-z-]+)", README, flags=re.M))
    assert targets >= {"demo", "ui", "test", "lint", "check", "data"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, flags=re.M) for target in targets)


def test_every_file_that_the_readme_links_to_is_there() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
