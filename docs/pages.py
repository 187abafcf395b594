"""What the site is built from, and a look at what was built; `make docs` runs both.

    python -m docs.pages gather build/pages    write all pages there
    python -m docs.pages look build/site       fail if a built page loads anything from elsewhere

Pages lie where a reader of the repository looks for them, and link to source files. A site has no source files, so
such a link becomes the file's name. Pages from the code (`docs.reference`) are added.
"""

import re
import shutil
import sys
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from docs.reference import PAGES

ROOT = Path(__file__).parents[1]
PROJECT = {"CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md"}
"""Pages at the top of the repository, and where they are on the site."""
LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def gather(root: Path, out: Path) -> None:
    """Write every page of `root` and every generated one below `out`, which is emptied first."""
    shutil.rmtree(out, ignore_errors=True)
    sources = {**places(root), **{root / name: there for name, there in PROJECT.items()}}
    known = {source.relative_to(root).as_posix(): there for source, there in sources.items()}
    known["docs/decisions"] = "decisions/index.md"
    for source, there in sources.items():
        target = out / there
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            text = rewritten(source.read_text(encoding="utf-8"), source.relative_to(root).as_posix(), known)
            back = "\n[All decisions](index.md)\n" if there.startswith("decisions/") else ""
            target.write_text(text + back, encoding="utf-8")
        else:
            shutil.copyfile(source, target)
    (out / "decisions" / "index.md").write_text(decisions(root / "docs" / "decisions"), encoding="utf-8")
    for name, page in PAGES.items():
        (out / "reference").mkdir(exist_ok=True)
        (out / "reference" / name).write_text(page(), encoding="utf-8")


def places(root: Path) -> dict[Path, str]:
    """Each page, picture and style sheet below docs/ to where it is on the site."""
    docs = root / "docs"
    files = [path for path in sorted(docs.rglob("*")) if path.suffix in (".md", ".png", ".css")]
    return {path: path.relative_to(docs).as_posix() for path in files}


def decisions(folder: Path) -> str:
    """The page that lists the decisions; in the repository the folder itself does."""
    pages = sorted(folder.glob("0*.md"))
    titles = [page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for page in pages]
    listed = [f"- [{title}]({page.name})" for title, page in zip(titles, pages, strict=True)]
    return "# Decisions\n\nWhat was decided, the alternatives, and the price.\n\n" + "\n".join(listed) + "\n"


def rewritten(text: str, source: str, known: dict[str, str]) -> str:
    """The page at `source`, with links as they must be on the site: to pages that it has, or none."""
    here = PurePosixPath(known[source]).parent.as_posix()

    def link(found: re.Match[str]) -> str:
        shown, target, anchor = found[1], found[2], found[3] or ""
        there = normpath((PurePosixPath(source).parent / target).as_posix())
        if there in known:
            return f"[{shown}]({relpath(known[there], here)}{anchor})"
        return f"`{there}`" if shown.strip("`") == there else f"{shown} (`{there}`)"

    return LINK.sub(link, text)


def loaded_from_elsewhere(site: Path) -> list[str]:
    """What the built pages would load from another host, each once. Links that a reader may follow are none of it."""
    loads = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""")
    found = {url for page in site.rglob("*.html") for url in loads.findall(page.read_text(encoding="utf-8"))}
    found |= {
        url
        for sheet in site.rglob("*.css")
        for url in re.findall(
            r"""(?:@import|url\()\s*["']?((?:https?:)?//[^"')\s]+)""", sheet.read_text(encoding="utf-8")
        )
    }
    return sorted(found)


def main(verb: str, folder: Path) -> str | None:
    """Do one of the two; the answer is what is wrong."""
    if verb == "gather":
        gather(ROOT, folder)
        return None
    found = loaded_from_elsewhere(folder)
    return f"{folder} would load {', '.join(found)}." if found else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
