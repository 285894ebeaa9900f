"""Takes the README's pictures of the console: docs/console.png and docs/console-dark.png.

    make up
    .venv/bin/python gateway/screenshot.py

It sends requests to the running stack for a minute, so that the plots are full, presses the page's buttons, and then
takes a picture for each colour scheme. It needs Chromium, and leaves its users and counters behind.
"""

import argparse
import asyncio
import contextlib
import random
import shutil
import struct
import uuid
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import httpx
from playwright.async_api import Browser, Page, async_playwright, expect

DOCS = Path(__file__).resolve().parents[1] / "docs"
PICTURES: dict[Literal["light", "dark"], Path] = {"light": DOCS / "console.png", "dark": DOCS / "console-dark.png"}
SIZE_LIMIT = 200_000
"""Bytes of a picture."""

# Text with shades of grey only, because coloured edges double the size of the picture.
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-lcd-text", "--hide-scrollbars"]
COUNTERS = {"downloads": 40.0, "visits": 22.0, "orders:placed": 9.0, "sign-ups": 3.0, "mails:sent": 1.5}
"""Increments a second of each counter."""

READS = 250.0
"""A second."""

CHANGES = 1.0
USERS = 60


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the gateway, with access open")
    parser.add_argument("--seconds", type=int, default=62, help="of load before the pictures")
    arguments = parser.parse_args()
    async with httpx.AsyncClient(base_url=arguments.url, timeout=30) as client, asyncio.TaskGroup() as group:
        load = await _load(client, group)
        await _pictures(arguments.url, arguments.seconds)
        for task in load:
            task.cancel()


async def _load(client: httpx.AsyncClient, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
    run = uuid.uuid4().hex[:8]
    users = []
    for number in range(USERS):
        answer = await client.post(
            "/v1/users", json={"email": f"u{number}.{run}@example.com", "name": f"User {number}"}
        )
        users.append(answer.raise_for_status().json()["id"])
    weights = [1 / (rank + 1) for rank in range(USERS)]  # a few users have most of the reads

    def some_user() -> str:
        return f"/v1/users/{random.choices(users, weights)[0]}"

    kinds: list[tuple[float, Callable[[], Awaitable[httpx.Response]]]] = [
        (READS, lambda: client.get(some_user())),
        (CHANGES, lambda: client.patch(some_user(), json={"name": f"User {uuid.uuid4().hex[:6]}"})),
        *((rate, lambda name=name: client.post(f"/v1/counters/{name}/increment")) for name, rate in COUNTERS.items()),
    ]
    return [group.create_task(_repeat(rate, request)) for rate, request in kinds]


async def _repeat(rate: float, request: Callable[[], Awaitable[httpx.Response]]) -> None:
    """At random moments, so many a second on average, a few at a time."""
    at_once = max(1, round(rate / 50))

    async def work() -> None:
        while True:
            with contextlib.suppress(httpx.TransportError):  # a connection was closed just as it was used
                await request()
            await asyncio.sleep(random.expovariate(rate / at_once))

    await asyncio.gather(*(work() for _ in range(at_once)))


async def _pictures(url: str, seconds: int) -> None:
    async with async_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        pages = {scheme: await _page(browser, url, scheme) for scheme in PICTURES}
        await asyncio.sleep(seconds)
        taken = {}
        for scheme, page in pages.items():
            await page.bring_to_front()
            await _press(page)
            taken[scheme] = await page.screenshot(full_page=True)
        await browser.close()
    for scheme, picture in taken.items():
        size = PICTURES[scheme].write_bytes(smaller(picture))
        print(f"{PICTURES[scheme]}: {size:,} bytes")
        if size > SIZE_LIMIT:
            raise SystemExit(f"The picture is larger than {SIZE_LIMIT:,} bytes")


async def _page(browser: Browser, url: str, scheme: Literal["light", "dark"]) -> Page:
    page = await browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    await page.goto(url)
    return page


async def _press(page: Page) -> None:
    """The buttons from left to right, each when the one before is done."""
    for button, out, done in (
        ("Create the user", "#read-out", "was created"),
        ("Read 10 times", "#read-out", "10 reads"),
        ("Both at once, 100 times", "#count-out", "100 presses"),
        ("Change and watch", "#change-out", "had it"),
    ):
        await page.get_by_role("button", name=button).click()
        await expect(page.locator(out)).to_contain_text(done, timeout=30_000)
    await page.mouse.move(0, 0)


def smaller(png: bytes) -> bytes:
    """The same picture, whose lines are not filtered: flat areas are then a quarter smaller (PNG, sections 5 and 9)."""
    chunks, at = [], 8
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        chunks.append((kind, png[at + 8 : at + 8 + size]))
        at += size + 12
    header = chunks[0][1]
    width, _, depth, colours, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if (depth, interlaced) != (8, 0):
        raise ValueError("not the kind of picture that Chromium makes")
    pixel = {2: 3, 6: 4}[colours]
    filtered = zlib.decompress(b"".join(data for kind, data in chunks if kind == b"IDAT"))
    lines, above = [], bytes(width * pixel)
    for start in range(0, len(filtered), width * pixel + 1):
        above = _unfiltered(filtered[start], filtered[start + 1 : start + 1 + width * pixel], above, pixel)
        lines.append(b"\0" + above)
    data = zlib.compress(b"".join(lines), 9)
    return png[:8] + b"".join(_chunk(*each) for each in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _unfiltered(kind: int, line: bytes, above: bytes, pixel: int) -> bytes:
    if kind == 0:
        return line
    done = bytearray(pixel) + line  # with a pixel of zeros to the left
    above = bytes(pixel) + above
    for at in range(pixel, len(done)):
        left, up, corner = done[at - pixel], above[at], above[at - pixel]
        done[at] = (done[at] + (0, left, up, (left + up) // 2, _paeth(left, up, corner))[kind]) & 255
    return bytes(done[pixel:])


def _paeth(left: int, up: int, corner: int) -> int:
    near = left + up - corner
    return min((left, up, corner), key=lambda value: abs(near - value))


if __name__ == "__main__":
    asyncio.run(main())
