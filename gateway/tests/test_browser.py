"""A real browser shows a page of another origin. Unless the gateway names that origin, the page can neither change nor
read anything.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page
from tests.support.chromium import chromium, page_server
from tests.support.gateway_bench import Bench, gateway_bench
from tests.support.serving import serving

from counter_api.main import create_app
from counter_api.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.chromium, pytest.mark.slow]

REBOUND = "evil.example.com"
"""A host name whose owner pointed it at this machine after the page was loaded."""

# Each script tries to change something at the address `target`, and returns when it has tried.
ATTACKS = {
    "an empty POST": "await fetch(target + '/v1/counters/a/increment', {method: 'POST', mode: 'no-cors'})",
    "a POST of text": """await fetch(target + '/v1/counters:import',
        {method: 'POST', mode: 'no-cors', headers: {'Content-Type': 'text/plain'}, body: '{"name":"a","value":9}'})""",
    "a beacon": """navigator.sendBeacon(target + '/v1/counters/a/increment', '');
        await new Promise(done => setTimeout(done, 300))""",
    "a picture": "await element('img', target + '/counter')",
    "a badge": "await element('img', target + '/v1/counters/a/badge.svg?hit=true')",
    "a script": "await element('script', target + '/counter')",
    "a frame": "await element('iframe', target + '/counter')",
    "a form": """await submitted('post', target + '/v1/counters/a/increment')""",
    "a form of text": """await submitted('post', target + '/v1/counters:import',
        '{"name":"a","value":9,"x":"', '"}')""",
    "a form that asks": """await submitted('get', target + '/counter')""",
    "a script's request": """await fetch(target + '/v1/counters/a', {method: 'PUT',
        headers: {'Content-Type': 'application/json'}, body: '{"value": 9}'})""",
    "a script's POST": "await fetch(target + '/v1/counters/a/increment', {method: 'POST'})",
}
TOOLS = """
const element = (kind, address) => new Promise(done => {
    const made = document.createElement(kind);
    made.onload = made.onerror = done;
    made.src = address;
    document.body.append(made);
});
const submitted = (method, action, name, value) => new Promise(done => {
    const frame = document.createElement('iframe');
    frame.name = 'answer';
    document.body.append(frame);
    const form = document.createElement('form');
    Object.assign(form, {method, action, target: 'answer', enctype: 'text/plain'});
    if (name) form.append(Object.assign(document.createElement('input'), {name, value}));
    document.body.append(form);
    frame.onload = done;
    form.submit();
    setTimeout(done, 3000);
});
"""
# Here the service has no protection of its own against pages. A later release may refuse text by itself.
WORKING_WITHOUT_A_GATEWAY = {"an empty POST", "a picture", "a badge", "a script", "a frame", "a form", "a beacon"}


@dataclass
class Scene:
    bench: Bench
    service: httpx.AsyncClient
    """counter-api itself, without the gateway."""
    browser: Browser
    pages: int
    """The port of pages of other origins."""
    looks: int = 0

    async def page(self, host: str) -> Page:
        page = await self.browser.new_page()
        await page.goto(f"http://{host}:{self.pages}/")
        return page

    async def counters(self) -> dict[str, int]:
        """All values, and the visits except this request's own."""
        self.looks += 1
        visits = (await self.service.get("/counter")).json()["current_count"] - self.looks
        counters = (await self.service.get("/v1/counters")).json()["data"]
        return {each["name"]: each["value"] for each in counters} | {"/counter": visits}


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    settings = {"GATEWAY_PUBLIC_PREFIX": "public:"}
    async with page_server() as pages, _scene(tmp_path_factory.mktemp("browser"), settings, pages) as scene:
        yield scene


@pytest.fixture(scope="module")
async def friendly(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """The gateway names the pages' origin."""
    async with page_server() as pages:
        settings = {"GATEWAY_CORS_ORIGINS": f"http://localhost:{pages}"}
        async with _scene(tmp_path_factory.mktemp("friendly"), settings, pages) as scene:
            yield scene


@asynccontextmanager
async def _scene(directory: Path, settings: dict[str, str], pages: int) -> AsyncIterator[Scene]:
    service = create_app(Settings.model_validate({"store": "memory"}))
    async with (
        serving(service) as client,
        gateway_bench(directory, pages=settings) as bench,
        chromium(f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1") as browser,
    ):
        await bench.publish({httpx.URL(str(client.base_url)).port or 0}, "counter-api")
        yield Scene(bench, client, browser, pages)


# From the page on 127.0.0.1, one address is another site, and the other is another origin of the same site.
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_foreign_page_changes_nothing(scene: Scene, host: str) -> None:
    page = await scene.page(host)
    for attack in ATTACKS:
        before = await scene.counters()
        await _attack(page, attack, scene.bench.gateway.url)
        assert await scene.counters() == before, attack
        if attack in WORKING_WITHOUT_A_GATEWAY:
            await _attack(page, attack, str(scene.service.base_url).rstrip("/"))
            assert await scene.counters() != before, f"{attack} does not work at all"
    await page.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_foreign_page_learns_nothing(scene: Scene, host: str) -> None:
    await scene.service.put("/v1/counters/secret", json={"value": 1})
    page = await scene.page(host)
    for path in ("/v1/counters/secret", "/stats", "/docs"):
        with pytest.raises(Exception, match="Failed to fetch"):
            await page.evaluate(
                "address => fetch(address).then(answer => answer.text())", scene.bench.gateway.url + path
            )
    assert await page.evaluate(_FIRST_EVENT, scene.bench.gateway.url + "/v1/counters/secret/events") == "error"
    await page.close()


async def test_a_name_that_was_pointed_at_this_machine(scene: Scene) -> None:
    before = await scene.counters()
    page = await scene.browser.new_page()
    for path in ("/docs", "/counter", "/v1/counters"):
        response = await page.goto(f"http://{REBOUND}:{scene.bench.gateway.port}{path}")
        assert response is not None
        assert response.status == 421
    # The page's own origin, as the browser sees it.
    status = await page.evaluate("fetch('/v1/counters/a/increment', {method: 'POST'}).then(answer => answer.status)")
    assert status == 421
    assert await scene.counters() == before
    await page.close()


async def test_a_page_of_the_gateway_works(scene: Scene) -> None:
    page = await scene.page("localhost")
    await page.evaluate("address => { location = address }", scene.bench.gateway.url + "/docs")
    await page.wait_for_url("**/docs*")
    value = await page.evaluate(
        "fetch('/v1/counters/own/increment', {method: 'POST'}).then(answer => answer.json()).then(found => found.value)"
    )
    assert value == (await scene.counters())["own"]
    assert await page.evaluate(_FIRST_EVENT, "/v1/counters/own/events") == {"name": "own", "value": value}
    await page.close()


async def test_a_public_badge_counts_on_any_page(scene: Scene) -> None:
    page = await scene.page("localhost")
    address = scene.bench.gateway.url + "/v1/counters/{}/badge.svg?hit=true&v={}"
    for visit in (1, 2):
        assert await page.evaluate(_PICTURE, address.format("public:page", visit))
        assert (await scene.counters())["public:page"] == visit
    assert not await page.evaluate(_PICTURE, address.format("private:page", 1))
    assert "private:page" not in await scene.counters()
    await page.close()


async def test_a_page_that_the_gateway_names_reads_and_writes(friendly: Scene) -> None:
    page = await friendly.page("localhost")
    gateway = friendly.bench.gateway.url
    written: dict[str, Any] = await page.evaluate(
        """async address => {
            const answer = await fetch(address, {method: 'PUT', body: '{"value": 7}',
                headers: {'Content-Type': 'application/json', 'Idempotency-Key': 'k'}});
            return {...await answer.json(), tag: answer.headers.get('ETag'), by: answer.headers.get('X-Served-By'),
                id: answer.headers.get('X-Request-Id')};
        }""",
        gateway + "/v1/counters/named",
    )
    assert (written["value"], written["tag"]) == (7, '"7"')
    assert written["by"]
    assert written["id"]
    told = await page.evaluate(_FIRST_EVENT, gateway + "/v1/counters/named/events")
    assert told == {"name": "named", "value": 7}
    refused = await page.evaluate(
        "address => fetch(address).then(answer => answer.json()).then(found => found.status)", gateway + "/nothing-here"
    )
    assert refused == 404
    await page.close()


async def test_another_page_does_not(friendly: Scene) -> None:
    before = await friendly.counters()
    page = await friendly.page("127.0.0.1")
    for attack in ATTACKS:
        await _attack(page, attack, friendly.bench.gateway.url)
    assert await friendly.counters() == before
    await page.close()


_PICTURE = """address => new Promise(done => {
    const picture = new Image();
    picture.onload = () => done(true);
    picture.onerror = () => done(false);
    picture.src = address;
})"""
_FIRST_EVENT = """address => new Promise(done => {
    const source = new EventSource(address);
    source.onerror = () => { source.close(); done('error') };
    source.addEventListener('value', event => { source.close(); done(JSON.parse(event.data)) });
})"""


async def _attack(page: Page, attack: str, target: str) -> None:
    await page.evaluate(f"async target => {{ {TOOLS} try {{ {ATTACKS[attack]} }} catch (error) {{}} }}", target)
