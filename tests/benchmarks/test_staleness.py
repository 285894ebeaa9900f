"""The parts of benchmarks/staleness.py: the link, the tables, and the page."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks import environments, staleness
from benchmarks.faulty.link import Link
from benchmarks.staleness import PHASES, details, summary, write

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """It sends everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(100):
            writer.write(piece)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as listening:
        yield f"redis://:secret@127.0.0.1:{listening.sockets[0].getsockname()[1]}/0"


async def test_a_link_is_slow_or_loses_what_is_sent(server: str) -> None:
    async with Link(server).open() as link:
        assert link.url == f"redis://:secret@127.0.0.1:{link.port}/0"
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        link.delay = 0.2
        began = time.monotonic()
        for piece in (b"a", b"b"):  # the second does not wait for the first
            writer.write(piece)
            await asyncio.sleep(0.01)
        assert await reader.readexactly(2) == b"ab"
        assert time.monotonic() - began >= 0.2
        link.delay, link.loses = 0, True
        writer.write(b"lost")
        await asyncio.sleep(0.1)
        link.loses = False
        writer.write(b"c")
        assert await reader.readexactly(1) == b"c"
        link.reset()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        writer.close()


async def test_a_link_that_becomes_fast_again_keeps_the_order(server: str) -> None:
    """A command in whose middle another one arrives is none."""
    async with Link(server).open() as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        link.delay = 0.2
        writer.write(b"a")
        await asyncio.sleep(0.05)  # it is under way
        link.delay = 0
        writer.write(b"b")
        assert await reader.readexactly(2) == b"ab"
        writer.close()


async def test_a_link_that_is_left_by_an_error_cuts_its_connections(server: str) -> None:
    async with asyncio.timeout(10):
        with contextlib.suppress(ValueError):
            async with Link(server).open() as link:
                reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
                writer.write(b"a")
                await reader.readexactly(1)
                raise ValueError("no")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        writer.close()


async def test_a_link_leads_elsewhere(server: str) -> None:
    async with Link("redis://:secret@127.0.0.1:1/0").open() as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)  # nothing listens there
        writer.close()
        link.target = server
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        writer.close()


def _phase(name: str, *, stale: int = 0, worst: float = 0, failed: int = 0) -> dict[str, Any]:
    """As `verify cache --json` has it, with 1000 reads."""
    return {
        "phase": name,
        "reads": 1000,
        "writes": 90,
        "marked_stale": 0,
        "errors": {"read 500": failed} if failed else {},
        "stale": stale,
        "stale_share": stale / 1000,
        "staleness_ms": {"p50": worst / 2, "p99": worst, "p99.9": worst, "max": worst},
    }


RESULTS = {
    "tutorial": [_phase(name, stale=345, worst=65_432, failed=10) for name in PHASES],
    "Evenkeel": [_phase(name, stale=int(name == "sql"), worst=87 * (name == "sql")) for name in PHASES],
}


def test_the_tables() -> None:
    header, rows = summary(RESULTS)
    assert header == ["stale answers, worst", "tutorial", "Evenkeel"]
    assert rows[1] == ["SQL by hand", "34.5%, 65.4 s", "0.1%, 87 ms"]
    assert rows[2] == ["late fill", "34.5%, 65.4 s", "0"]
    _, rows = details(RESULTS)
    assert rows[2] == ["SQL by hand", "tutorial", "34.5%", "32.7 s", "65.4 s", "65.4 s", "0.9%"]
    assert rows[5] == ["late fill", "Evenkeel", "0", "-", "-", "-", "0.0%"]


def test_the_page_keeps_what_is_around_the_figures(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{staleness.BEGIN}old\n{staleness.END}after\n")
    write(page, "| new |")
    assert page.read_text() == f"before\n{staleness.BEGIN}\n| new |\n{staleness.END}after\n"
    write(page, "| new |")
    assert page.read_text().count("| new |") == 1


def test_the_page_has_its_figures_and_its_plot() -> None:
    """They are of one run, so every cache is in both, with the version that is pinned."""
    page, plot = staleness.PAGE.read_text(), staleness.PLOT.read_text()
    figures = page.partition(staleness.BEGIN)[2].partition(staleness.END)[0]
    for package in ("cashews", "fastapi-cache2", "aiocache"):
        cache = f"{package} {environments.version(package.replace('-', '_'), package)}"
        assert cache in figures
        assert cache in plot
    assert all(title in figures for title in PHASES.values())
    assert "prefers-color-scheme: dark" in plot
    assert "#123456" not in plot
