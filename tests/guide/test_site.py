"""The site of the documentation: what docs/site.py prepares, and what zensical.toml shows."""

import importlib.util
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONFIGURATION = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]

SPECIFICATION = importlib.util.spec_from_file_location("site_of_the_documentation", ROOT / "docs" / "site.py")
assert SPECIFICATION
assert SPECIFICATION.loader
site = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(site)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    site.Site(target).write()
    return target


def test_every_link_leads_to_a_page_of_the_site(prepared: Path) -> None:
    dead = []
    for page in site.pages():
        folder = prepared / page.parent
        for text in site.FENCE.split((prepared / page).read_text())[::2]:
            dead += [f"{page}: {link}" for link in site.LINK.findall(text) if not (folder / link).is_file()]
    assert dead == []


def test_source_code_is_a_page(prepared: Path) -> None:
    page = (prepared / "libs/evenkeel/src/evenkeel/cache/lua/lease.lua.md").read_text()
    assert "# libs/evenkeel/src/evenkeel/cache/lua/lease.lua\n\n````lua\n" in page
    assert (ROOT / "libs/evenkeel/src/evenkeel/cache/lua/lease.lua").read_text() in page


def _entries(nav: list[Any]) -> Iterator[str]:
    for entry in nav:
        for value in entry.values():
            if isinstance(value, str):
                yield value
            else:
                yield from _entries(value)


def test_navigation_has_the_guide_in_its_order(prepared: Path) -> None:
    shown = list(_entries(CONFIGURATION["nav"]))
    assert [page for page in shown if not (prepared / page).is_file()] == []
    guide = [page for page in shown if page.startswith("docs/guide/")]
    chapters = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "guide").glob("[0-9]*.md"))
    assert guide == ["docs/guide/index.md", *chapters]


def test_every_page_can_be_reached_from_the_navigation(prepared: Path) -> None:
    reached: set[Path] = set()
    waiting = {Path(page) for page in _entries(CONFIGURATION["nav"])}
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = site.LINK.findall((prepared / page).read_text()) if page in set(site.pages()) else []
        waiting |= {Path(os.path.normpath(page.parent / link)) for link in links} - reached
    assert set(site.pages()) - reached == set()


def test_site_fetches_nothing_from_elsewhere() -> None:
    assert CONFIGURATION["theme"]["font"] is False
    assert CONFIGURATION["strict"] is True
    assert not re.search(r"https?://", (ROOT / "docs" / "site.css").read_text())
