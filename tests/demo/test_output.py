"""Findings on the terminal and as a page, and the exit status."""

import asyncio
import contextlib
import io
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from demo import __main__ as program
from demo import bars, page, stage
from demo.findings import EVENKEEL, TUTORIAL, Bar, Finding
from rich.console import Console
from tests.support.chromium import chromium

GOOD = Finding("Title", "What came of it.", (Bar(TUTORIAL, 80, "80 lost"), Bar(EVENKEEL, 0, "0")))
BAD = Finding(
    "A <title>", "Both lost.", (Bar(TUTORIAL, 4, "4 lost", lasting=True), Bar(EVENKEEL, 1, "1")), ("both & all lost",)
)


@pytest.mark.parametrize(
    ("share", "bar"),
    [(0, ""), (1, "████"), (0.5, "██"), (0.25 + 1 / 32, "█▏"), (0.000001, "▏"), (0.99, "████"), (0.96, "███▉")],
)
def test_bars(share: float, bar: str) -> None:
    assert bars.drawn(share, 4) == bar


@pytest.mark.parametrize(
    ("values", "shares"), [((80, 0), (1, 0)), ((0, 0), (0, 0)), ((1, 4), (0.25, 1)), ((10, 0.1), (1, 0.01))]
)
def test_shares(values: tuple[float, float], shares: tuple[float, float]) -> None:
    first, second = values
    assert bars.shares((Bar(TUTORIAL, first, ""), Bar(EVENKEEL, second, ""))) == pytest.approx(shares)


def test_plain_lines() -> None:
    output = io.StringIO()
    console = Console(file=output, width=60)
    for finding in (GOOD, BAD):
        bars.show(console, finding)
    assert output.getvalue().splitlines() == [
        "Title",
        "  What came of it.",
        f"  tutorial {'█' * 40} 80 lost",
        "  Evenkeel 0",
        "",
        "A <title>",
        "  Both lost.",
        f"  tutorial {'█' * 40}… 4 lost",
        f"  Evenkeel {'█' * 10} 1",
        "  The difference did not show: both & all lost.",
        "",
    ]


def test_the_page_needs_nothing_else() -> None:
    text = page.page([GOOD, BAD], "1 of 2 differences showed.", "Measured now")
    assert re.findall(r"(?:src|href|url|@import|<script)", text) == []
    assert re.findall(r"https?:", text) == []
    assert "A &lt;title&gt;" in text
    assert "The difference did not show: both &amp; all lost." in text
    assert "1 of 2 differences showed." in text
    assert text.count("<svg") == 4
    assert "$" not in text


@pytest.mark.anyio
@pytest.mark.slow
@pytest.mark.chromium
async def test_the_page_fits_a_telephone_and_follows_its_colours(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text(page.page([GOOD, BAD], "1 of 2 differences showed.", "Measured now"))
    grounds = []
    async with chromium() as browser:
        for scheme in ("light", "dark"):
            opened = await browser.new_page(viewport={"width": 320, "height": 600}, color_scheme=scheme)
            await opened.goto(report.as_uri())
            assert await opened.evaluate("document.documentElement.scrollWidth") == 320
            grounds.append(await opened.evaluate("getComputedStyle(document.body).backgroundColor"))
            widths = await opened.evaluate("[...document.querySelectorAll('rect')].map(each => each.getBBox().width)")
            longest = widths[0]
            assert widths == pytest.approx([longest, 0, longest, longest / 4], abs=0.1)
    assert len(set(grounds)) == 2


@pytest.mark.parametrize(("findings", "status"), [([GOOD, GOOD], 0), ([GOOD, BAD], 1)])
def test_the_exit_status(
    findings: list[Finding],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        yield

    async def act(_: Any) -> list[Finding]:
        await asyncio.sleep(0)
        return findings

    monkeypatch.setattr(stage, "opened", opened)
    monkeypatch.setattr(program, "ACTS", {"an act": act})
    monkeypatch.setattr(sys, "argv", ["demo", "--html", str(tmp_path / "report.html")])
    assert program.main() == status
    output, progress = capsys.readouterr()
    assert progress == "demo: an act …\n"
    assert f"{2 - status} of 2 differences showed." in output
    assert f"{2 - status} of 2 differences showed." in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("name", ["missing/report.html", "folder"])
def test_a_page_that_cannot_be_written_is_noticed_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(stage, "opened", lambda: pytest.fail("the demonstration has begun"))
    monkeypatch.setattr(sys, "argv", ["demo", "--html", str(tmp_path / name)])
    assert program.main() == 1
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith("demo: ")
