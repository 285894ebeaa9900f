"""Copies the documentation to build/docs, in the form of which Zensical makes a site.

A page may link to any file of the repository. Files that are no pages, such as source code, become pages of their
own, so that every link of the site leads somewhere, and Zensical can check it.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "build" / "docs"

LINK = re.compile(r"\]\((?!https?:|#)([^)\s#]+)")
PICTURE = re.compile(r"<(?:source|img)[^>]* src(?:set)?=\"([^\":]+)\"")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
ASSETS = (Path("docs/site.css"), Path("docs/diagrams.js"))
MERMAID = Path("docs/mermaid.min.js")
IMAGES = {".png", ".svg"}
LANGUAGES = {".lua": "lua", ".py": "python", ".sql": "sql", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}


def pages() -> Iterator[Path]:
    """The pages of the documentation, relative to the repository."""
    for folder in ("", "libs/evenkeel", "gateway", "deploy/k8s"):
        yield from (path.relative_to(ROOT) for path in (ROOT / folder).glob("*.md"))
    yield from (path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))


class Site:
    def __init__(self, target: Path = TARGET) -> None:
        self._to = target
        self._pages = set(pages())
        self._others: set[Path] = set()

    def write(self) -> None:
        shutil.rmtree(self._to, ignore_errors=True)
        for page in self._pages:
            parts = FENCE.split((ROOT / page).read_text())
            parts[::2] = [self._linked(page, text) for text in parts[::2]]
            self._put(page, "".join(parts))
        for asset in ASSETS:
            self._copy(asset)
        for other in sorted(self._others):
            self._put(_page_of(other), _shown(other))

    def _linked(self, page: Path, text: str) -> str:
        """The text with links to where things are in the site, and its pictures."""
        for picture in PICTURE.findall(text):
            self._copy(page.parent / picture)
        return LINK.sub(lambda link: f"]({self._target(page, link[1])}", text)

    def _target(self, page: Path, link: str) -> str:
        """Where the link leads in the site."""
        path = Path(os.path.normpath(page.parent / link))
        if path in self._pages or not (ROOT / path).exists():
            return link
        if path / "README.md" in self._pages:
            return os.path.relpath(path / "README.md", page.parent)
        if path.suffix in IMAGES:
            self._copy(path)
            return link
        self._others.add(path)
        return os.path.relpath(_page_of(path), page.parent)

    def _copy(self, path: Path) -> None:
        (self._to / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, self._to / path)

    def _put(self, page: Path, text: str) -> None:
        (self._to / page).parent.mkdir(parents=True, exist_ok=True)
        (self._to / page).write_text(text)


def _page_of(path: Path) -> Path:
    """The page that shows a file or folder. Zensical leaves out names that begin with a dot."""
    return Path(*(part.lstrip(".") for part in path.parent.parts), f"{path.name.lstrip('.')}.md")


def _shown(path: Path) -> str:
    """A file, or the names in a folder. The search does not find these pages."""
    if (ROOT / path).is_dir():
        text = "\n".join(sorted(entry.name for entry in (ROOT / path).iterdir() if entry.name != "__pycache__"))
    else:
        text = (ROOT / path).read_text()
    return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n````{LANGUAGES.get(path.suffix, 'text')}\n{text}\n````\n"


def mermaid() -> Path:
    """The program that draws diagrams. The site's own environment has it."""
    return Path(str(distribution("mermaidx").locate_file("mermaidx/assets/mermaid.js")))


if __name__ == "__main__":
    target = Path(sys.argv[1]) if sys.argv[1:] else TARGET
    Site(target).write()
    shutil.copy(mermaid(), target / MERMAID)
