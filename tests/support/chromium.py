"""Debian's Chromium, and pages that it can open."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from stack.layout import free_port

if TYPE_CHECKING:
    from playwright.async_api import Browser

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""The path of Chromium; None if it is not installed."""

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


PATIENCE = 30_000
"""Milliseconds within which a page shows what is expected. On a busy machine, playwright's 5,000 are not enough."""


@asynccontextmanager
async def chromium(*flags: str) -> AsyncIterator["Browser"]:
    from playwright.async_api import async_playwright, expect  # noqa: PLC0415 (slow at the top)

    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=PROGRAM, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def page_server() -> AsyncIterator[int]:
    """The port of a server on this machine whose every answer is an empty page."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
            writer.write(head + b"<!doctype html><title>page</title><body></body>")
            await writer.drain()
        writer.close()

    port = free_port()
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    try:
        yield port
    finally:
        server.close()
