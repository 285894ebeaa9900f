"""The page at `/` shows the running services, in a real browser. gateway/tests/test_console.py has the details."""

import re
import time

import httpx
import pytest
from playwright.async_api import expect
from tests.support.chromium import chromium

pytestmark = [pytest.mark.anyio, pytest.mark.chromium]


async def test_everything_on_the_page_works(gateway: str, client: httpx.AsyncClient) -> None:
    async with chromium() as browser:
        page = await browser.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(gateway)
        for service in ("user-api", "counter-api"):
            status = page.locator(f"#{service} .status")
            await expect(status).to_contain_text(re.compile(r"live \d+ of \d+ replicas? ready"))
            for replica in (await client.get(f"/v1/fleet/{service}")).json()["replicas"]:
                await expect(page.locator(f"#{service}")).to_contain_text(replica["name"])
        await page.get_by_label("Counter", exact=True).fill(f"try:{time.time_ns()}")
        for button, out, done in (
            ("Create the user", "#read-out", r"User \d+, Ada, was created by "),
            ("Read 10 times", "#read-out", "10 reads: "),
            ("Both at once, 100 times", "#count-out", r"got 100 different values, 1 to 100, .* None is missing\."),
            ("Change and watch", "#change-out", r"version 2\. .* had it "),
        ):
            await page.get_by_role("button", name=button).click()
            await expect(page.locator(out)).to_contain_text(re.compile(done))
        await expect(page.locator("#counter-api .side")).to_contain_text("try:")
        assert complaints == []
