"""The site of the documentation: what docs/site.py prepares, and what zensical.toml shows."""

import importlib.util
import os
import re
import shutil
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.chromium import chromium

if TYPE_CHECKING:
    from playwright.async_api import Page

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


ENVIRONMENT = "build/site-environment"

WIDTH = 375
"""Pixels: a telephone."""

PATIENCE = 30_000
"""Milliseconds."""


@pytest.fixture
def drawn(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """Where Zensical's pages are that have a diagram, as in the site, and their paths."""
    make = str(shutil.which("make"))
    subprocess.run([make, f"{ENVIRONMENT}/.ready"], cwd=ROOT, check=True)
    programs = ROOT / ENVIRONMENT / "bin"
    subprocess.run([programs / "python", ROOT / "docs" / "site.py", tmp_path / "pages"], check=True)
    paths = []
    for page in (tmp_path / "pages").rglob("*.md"):
        if "\n```mermaid\n" in page.read_text():
            relative = page.relative_to(tmp_path / "pages").with_suffix("")
            paths.append("" if relative.name == "README" else f"{relative}/")
        else:
            page.unlink()
    configuration = (ROOT / "zensical.toml").read_text()
    # Pages to which these have links are missing.
    for line in ('docs_dir = "pages"\n', 'site_dir = "site"\n', "strict = false\n", ""):
        setting = re.escape(line.partition(" ")[0] or "nav")
        pattern = re.compile(rf"^{setting} = (?:\[\n.*?^\]|[^\n]*)\n", re.MULTILINE | re.DOTALL)
        configuration, count = pattern.subn(line, configuration)
        assert count == 1
    (tmp_path / "zensical.toml").write_text(configuration)
    subprocess.run([programs / "zensical", "build"], cwd=tmp_path, check=True, capture_output=True)
    handler = partial(_Quiet, directory=tmp_path / "site")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", sorted(paths)
        server.shutdown()
    shutil.rmtree(tmp_path)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base's name)
        pass


def _watched(page: "Page", url: str) -> list[str]:
    """What goes wrong on the page, as it happens. A request to another server is wrong, too."""
    failures: list[str] = []
    page.on("response", lambda got: failures.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    page.on("request", lambda sent: failures.append(sent.url) if not sent.url.startswith(url) else None)
    page.on("pageerror", lambda error: failures.append(str(error)))
    return failures


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.chromium
async def test_diagrams_are_drawn_by_what_the_site_has(drawn: tuple[str, list[str]]) -> None:
    """On every page, on a telephone too: as pictures that scroll, not as text."""
    url, paths = drawn
    assert paths == ["", "docs/architecture/"]
    fences = {path: (ROOT / (f"{path.rstrip('/')}.md" if path else "README.md")).read_text() for path in paths}
    async with chromium() as browser:
        page = await browser.new_page(color_scheme="dark", viewport={"width": WIDTH, "height": 800})
        failures = _watched(page, url)
        for path in paths:
            await page.goto(url + path)
            diagrams = page.locator("div.mermaid")
            await diagrams.first.wait_for(timeout=PATIENCE)
            await page.wait_for_function("document.querySelector('pre.mermaid') === null", timeout=PATIENCE)
            assert await diagrams.count() == fences[path].count("```mermaid")
            for diagram in await diagrams.all():
                box = await diagram.bounding_box()
                assert box
                assert box["height"] > 200
            assert await page.evaluate("document.documentElement.scrollWidth") <= WIDTH
            assert await page.locator("code", has_text="flowchart").count() == 0
        assert failures == []
