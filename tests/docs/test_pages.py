"""What stands on the pages is true: links lead somewhere, commands and targets exist."""

import re
import tomllib
from pathlib import Path

import pytest
import typer.main

from docs.pages import gather, loaded_from_elsewhere, rewritten
from flows.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def listed(nav) -> list[str]:
    """Every page in the navigation, from entries within entries."""
    if isinstance(nav, str):
        return [nav]
    return [page for entry in (nav if isinstance(nav, list) else nav.values()) for page in listed(entry)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "pages"
    gather(ROOT, out)
    return out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_and_target_exists(page):
    text = page.read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands
    for command, inner in re.findall(r"(?:^|`)(?:\.venv/bin/)?retain ([a-z]+)(?: ([a-z]+))?", text, flags=re.M):
        assert command in commands, command
        assert command != "quarantine" or inner in {"", *commands["quarantine"].commands}, inner
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 120


def test_every_page_of_the_navigation_is_gathered(site):
    nav = listed(tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"])
    assert [page for page in nav if not (site / page).is_file()] == []
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.md")}
    assert {page for page in pages - set(nav) if not page.startswith("decisions/")} == set()


def test_the_list_of_decisions_has_each(site):
    text = (site / "decisions" / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((0[^)]+)\)", text)) == {path.name for path in (ROOT / "docs/decisions").glob("*.md")}


def test_links_on_the_site_lead_to_pages_of_it(site):
    for page in site.rglob("*.md"):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)\s#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).is_file(), f"{page.relative_to(site)}: {target}"


def test_a_link_to_a_source_file_becomes_its_name():
    known = {
        "docs/decisions/a.md": "decisions/a.md",
        "SECURITY.md": "security.md",
        "docs/decisions": "decisions/index.md",
    }
    turns, security = "../../flows/night.py", "../../SECURITY.md#report"
    text = f"[flows/night.py]({turns}), [the lock]({turns}), [safe]({security}), [all](.)"
    assert rewritten(text, "docs/decisions/a.md", known) == (
        "`flows/night.py`, the lock (`flows/night.py`), [safe](../security.md#report), [all](index.md)"
    )


def test_pictures_stay():
    known = {"docs/index.md": "index.md"}
    assert rewritten("![a matrix](score-matrix.png)", "docs/index.md", known) == "![a matrix](score-matrix.png)"


def test_what_a_built_page_loads_from_elsewhere_is_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<link rel="stylesheet" href="a.css"><script src="./b.js"></script><a href="https://example.org/read">read</a>'
    )
    (tmp_path / "a.css").write_text("a { background: url(data:image/png;base64,AA==) }")
    assert loaded_from_elsewhere(tmp_path) == []
    (tmp_path / "b.html").write_text(
        '<script async src="https://example.org/b.js"></script><img src=//example.org/c.png>'
    )
    (tmp_path / "b.css").write_text("@import 'https://example.org/d.css'; b { background: url(https://example.org/e) }")
    assert [url.rpartition("/")[2] for url in loaded_from_elsewhere(tmp_path)] == ["c.png", "b.js", "d.css", "e"]


def test_every_variable_of_ours_is_on_its_page():
    folders = ("records", "adapters", "models", "serving", "tasks", "flows")
    code = "".join(path.read_text(encoding="utf-8") for folder in folders for path in (ROOT / folder).rglob("*.py"))
    page = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    assert set(re.findall(r"RETAIN_[A-Z_]+", page)) == set(re.findall(r"RETAIN_[A-Z_]*[A-Z]", code))


def test_the_lock_of_the_site_has_what_the_group_asks_for():
    group = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["docs"]
    lock = (ROOT / "docs" / "requirements.lock").read_text(encoding="utf-8")
    assert all(f"{wanted} \\\n    --hash=sha256:" in lock for wanted in group)
    assert "zensical" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")
