"""The page at `/`: as the gateway sends it, and as a browser shows it."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import pytest
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, expect
from tests.support.chromium import chromium
from tests.support.fake_fleet import FakeGateway, fake_app, page, page_headers, replica
from tests.support.gateway_bench import Bench, gateway_bench, gateway_problem
from tests.support.page_faults import BEYOND_THE_EDGE, FAULTS
from tests.support.serving import serving

pytestmark = pytest.mark.anyio

MARKUP = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
SCHEMES: list[Literal["dark", "light"]] = ["dark", "light"]
SMALL_ENOUGH = 64_000
"""Bytes. The gateway keeps the page in its configuration, and Envoy takes at most 65,536 (listeners.yaml)."""


def _policy_hash(kind: str) -> str:
    [text] = re.findall(f"<{kind}>(.*?)</{kind}>", page(), re.DOTALL)
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


@pytest.mark.parametrize("kind", ["script", "style"])
def test_only_the_script_and_the_style_of_this_very_page_are_permitted(kind: str) -> None:
    directives = dict(each.split(maxsplit=1) for each in page_headers()["Content-Security-Policy"].split("; "))
    assert directives[f"{kind}-src"] == _policy_hash(kind), "copy the second value to gateway/listeners.yaml"
    assert directives["default-src"] == "'none'"


def test_the_page_is_small_and_loads_nothing() -> None:
    assert len(page().encode()) < SMALL_ENOUGH
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|innerHTML|\sstyle=|\son[a-z]+=", page())


@pytest.fixture(scope="module")
async def empty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """A gateway that requires tokens, without any replica."""
    async with gateway_bench(tmp_path_factory.mktemp("console"), mode="tokens") as bench:
        await bench.publish(set())
        yield bench


async def test_the_gateway_sends_it_without_a_replica_and_without_a_token(empty: Bench) -> None:
    response = await empty.client.get("/?anything")
    assert (response.status_code, response.text) == (200, page())
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    for name, value in page_headers().items():
        assert response.headers[name] == value
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    head = await empty.client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == response.headers["content-length"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_nothing_else_can_be_done_with_it(empty: Bench, method: str) -> None:
    response = await empty.client.request(method, "/")
    assert gateway_problem(response) == (405, "method-not-allowed")
    assert response.headers["allow"] == "GET, HEAD"


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@dataclass
class Scene:
    page: Page
    fake: FakeGateway

    def half(self, service: str) -> Locator:
        return self.page.locator(f"#{service}")


@dataclass
class Tab:
    page: Page
    complaints: list[str]
    """Of the browser about the page."""


@asynccontextmanager
async def _tab(browser: Browser) -> AsyncIterator[Tab]:
    context = await browser.new_context()
    tab = Tab(await context.new_page(), [])
    tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.page.on("console", lambda message: _complain(tab, message))
    try:
        yield tab
    finally:
        await context.close()  # else a stream stays open, and its server never ends
    assert tab.complaints == []


def _complain(tab: Tab, message: ConsoleMessage) -> None:
    # Answers other than 200 are meant.
    if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
        tab.complaints.append(message.text)


@dataclass
class Origin:
    """One tab and one server for all tests."""

    tab: Tab
    fake: FakeGateway
    url: str


@pytest.fixture(scope="module")
async def origin(browser: Browser) -> AsyncIterator[Origin]:
    fake = FakeGateway()
    async with serving(fake_app(fake)) as client, _tab(browser) as tab:
        yield Origin(tab, fake, str(client.base_url))


@pytest.fixture
async def scene(origin: Origin) -> AsyncIterator[Scene]:
    """The page as it is when it was opened for the first time."""
    page = origin.tab.page
    origin.fake.reset()
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.goto(origin.url)
    yield Scene(page, origin.fake)
    await page.evaluate("sessionStorage.clear()")
    assert origin.tab.complaints == []


@pytest.mark.slow
@pytest.mark.chromium
async def test_without_a_replica_it_loads_and_asks_for_a_token(browser: Browser, empty: Bench) -> None:
    async with _tab(browser) as tab:
        await tab.page.goto(empty.gateway.url)
        await expect(tab.page.get_by_label("Access token")).to_be_visible()
        for service in ("user-api", "counter-api"):
            await expect(tab.page.locator(f"#{service} .status")).to_contain_text("locked")


@pytest.mark.slow
@pytest.mark.chromium
async def test_it_shows_what_the_streams_say(scene: Scene) -> None:
    users, counters = scene.half("user-api"), scene.half("counter-api")
    await expect(users.locator(".status")).to_contain_text("live 2 of 2 replicas ready")
    row = users.get_by_role("row", name="user-api-1")
    for text in ("ready", "8.5", "memory 88\u00a0%, Redis 8\u00a0%, database 4\u00a0%", "1 of 10"):
        await expect(row).to_contain_text(text)
    plot = row.get_by_role("img")
    await expect(plot).to_have_attribute("aria-label", re.compile("in the last minute: now 8.5, least 8.5"))
    side = re.compile("user-api-1.*9f3c51e0a7b2d844.*87.ms.*promise is 2.s", re.DOTALL)
    await expect(users.locator(".side")).to_contain_text(side)
    await expect(counters.locator(".status")).to_contain_text("live 2 of 2 replicas ready")
    await expect(counters.get_by_role("table", name="Busiest counters")).to_contain_text("4,611,686,018,427,387,905")
    await expect(scene.page.locator("#figures")).to_contain_text(re.compile("4 of 4.*34.*88.%.*87.ms", re.DOTALL))
    assert await scene.page.title() == "4 of 4 ready \N{EN DASH} Evenkeel"


@pytest.mark.slow
@pytest.mark.chromium
async def test_replicas_come_fail_and_go(scene: Scene) -> None:
    users = scene.half("user-api")
    await expect(users.get_by_role("row")).to_have_count(3)
    scene.fake.users.replicas.append(replica("user-api-3") | {"state": "not-ready", "reason": "postgresql: no answer"})
    await expect(users.get_by_role("row", name="user-api-3")).to_contain_text("not-ready")
    await expect(users).to_contain_text("user-api-3: postgresql: no answer")
    await expect(users.locator(".status")).to_contain_text("2 of 3 replicas ready")
    del scene.fake.users.replicas[1:]
    await expect(users.get_by_role("row")).to_have_count(2)
    await expect(users).not_to_contain_text("postgresql")
    scene.fake.users.more["relay"] = {"name": None, "epoch": None, "lag_seconds": 4.2}
    await expect(users.locator(".stale")).to_contain_text("nothing cached is trusted")


@pytest.mark.slow
@pytest.mark.chromium
async def test_a_half_without_replicas_is_down_until_it_is_back(scene: Scene) -> None:
    counters, users = scene.half("counter-api"), scene.half("user-api")
    await expect(counters.locator(".status")).to_contain_text("live")
    scene.fake.counters.down = True
    await expect(counters.locator(".status")).to_contain_text(
        re.compile(r"down since \d\d:\d\d:\d\d .* 503: No replica of this service")
    )
    await expect(counters.get_by_role("row", name="counter-api-1")).to_contain_text("unknown")
    await expect(users.locator(".status")).to_contain_text("live")
    await expect(scene.page.locator("#said")).to_contain_text("counter-api is down.")
    await expect(scene.page.locator("#figures")).to_contain_text("2 of 2without counter-api")
    await expect(counters.get_by_role("button", name="Try counter-api now")).to_be_visible()
    scene.fake.counters.down = False
    await expect(counters.locator(".status")).to_contain_text("live")
    await expect(scene.page.locator("#said")).to_have_text("counter-api is live again.")


@pytest.mark.slow
@pytest.mark.chromium
async def test_a_stream_that_is_silent_counts_as_down(browser: Browser, origin: Origin) -> None:
    origin.fake.reset()
    async with _tab(browser) as tab:
        await tab.page.clock.install()
        await tab.page.goto(origin.url)
        status = tab.page.locator("#user-api .status")
        await expect(status).to_contain_text("live")
        origin.fake.users.silent = True
        await tab.page.clock.fast_forward(5000)
        await expect(status).to_contain_text("The stream is open, but nothing has come for 5 s.")
        await expect(tab.page.locator("#counter-api .status")).to_contain_text("live")


@pytest.mark.slow
@pytest.mark.chromium
async def test_a_token_opens_it_and_stays_in_the_tab(scene: Scene) -> None:
    page, fake = scene.page, scene.fake
    fake.token = "right"
    await page.reload()
    await expect(page.locator("#user-api .status")).to_contain_text("locked")
    for token, status in (("wrong", "locked"), ("Bearer right", "live")):
        await page.get_by_label("Access token").fill(token)
        await page.keyboard.press("Enter")
        await expect(page.locator("#user-api .status")).to_contain_text(status)
        await expect(page.locator("#access")).to_be_visible(visible=status == "locked")
    await page.get_by_role("button", name="Left: add 1").click()
    await expect(page.locator("#count-out")).to_contain_text("made try 1")
    await page.reload()
    await expect(page.locator("#counter-api .status")).to_contain_text("live")
    assert await page.evaluate("[document.cookie, localStorage.length, location.search]") == ["", 0, ""]
    await page.get_by_role("button", name="Forget the token").click()
    await expect(page.locator("#counter-api .status")).to_contain_text("locked")
    assert await page.evaluate("sessionStorage.length") == 0


@pytest.mark.slow
@pytest.mark.chromium
async def test_reads_come_nearer(scene: Scene) -> None:
    page = scene.page
    await page.get_by_role("button", name="Create the user").click()
    await expect(page.locator("#read-out")).to_contain_text("User 1, Ada, was created by user-api-1")
    await page.get_by_role("button", name="Read", exact=True).click()
    await expect(page.locator("#read-out")).to_contain_text("Ada, version 1, from database, user-api-2")
    await page.get_by_role("button", name="Read 10 times").click()
    await expect(page.locator("#read-out")).to_contain_text("10 reads: 1 from Redis, 9 from memory")
    reads = page.locator("#dots li:not(.lane)")
    assert [text[0] for text in await reads.all_inner_texts()] == list("DR" + 9 * "M")
    await page.get_by_label("User id").fill("99")
    await page.get_by_role("button", name="Read", exact=True).click()
    await expect(page.locator("#read-out")).to_have_text("404: There is no user 99.")


@pytest.mark.slow
@pytest.mark.chromium
async def test_two_sides_count(scene: Scene) -> None:
    page = scene.page
    await page.get_by_role("button", name="Right: add 1").click()
    await expect(page.locator("#count-out")).to_have_text("The right button made try 1.")
    await page.get_by_role("button", name="Both at once, 100 times").click()
    await expect(page.locator("#count-out")).to_contain_text(
        "got 100 different values, 2 to 101, from 2 replicas. None is missing."
    )
    assert len(set(scene.fake.keys)) == 101
    keep = page.get_by_role("button", name="Keep counting")
    before = await page.locator("#right b").inner_text()
    await keep.click()
    await expect(page.locator("#right b")).not_to_have_text(before)
    await keep.click()
    await expect(keep).to_have_attribute("aria-pressed", "false")


@pytest.mark.slow
@pytest.mark.chromium
async def test_every_replica_follows(scene: Scene) -> None:
    page = scene.page
    await page.get_by_role("button", name="Create the user").click()
    await expect(page.get_by_label("User id")).to_have_value("1")
    await page.get_by_label("New name").fill("Grace")
    await page.get_by_role("button", name="Change and watch").click()
    await expect(page.locator("#change-out")).to_contain_text(
        re.compile("made version 2. All 2 replicas had it .* no old answer")
    )
    for name in ("user-api-1", "user-api-2"):
        await expect(page.locator("#follow").get_by_role("row", name=name)).to_contain_text(re.compile(r"2.*\d.m?s"))
    assert scene.fake.rows[1]["name"] == "Grace"
    assert await page.locator("#dots li").count() == 0, "dots are only for the reads that the text below them counts"


@pytest.mark.slow
@pytest.mark.chromium
async def test_markup_in_names_is_text(scene: Scene) -> None:
    page, fake = scene.page, scene.fake
    fake.users.replicas.append(replica(MARKUP) | {"state": MARKUP, "reason": MARKUP})
    fake.users.more["relay"] = {"name": MARKUP, "epoch": MARKUP, "lag_seconds": 0.1}
    fake.counters.more["busiest"] = [{"name": MARKUP, "value": 1, "per_second": 1.0}]
    await page.get_by_label("Name", exact=True).fill(MARKUP)
    await page.get_by_role("button", name="Create the user").click()
    await expect(page.locator("#read-out")).to_contain_text(MARKUP)
    await page.get_by_role("button", name="Read", exact=True).click()
    await expect(page.locator("#read-out")).to_contain_text(f"{MARKUP}, version 1")
    await expect(page.get_by_role("table", name="Busiest counters")).to_contain_text(MARKUP)
    await expect(page.locator("#user-api .reasons")).to_have_text(f"{MARKUP}: {MARKUP}")
    assert await page.locator("img, script:not(body > script)").count() == 0
    assert "taken" not in await page.title()


@pytest.mark.slow
@pytest.mark.chromium
async def test_it_works_without_a_mouse(scene: Scene) -> None:
    page = scene.page
    await expect(scene.half("user-api").locator(".status")).to_contain_text("live")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to trying things")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Name", exact=True)).to_be_focused()
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("User id")).to_have_value("1")
    for _ in range(4):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await expect(page.get_by_role("button", name="Read", exact=True)).to_be_focused()
    await expect(page.locator("#read-out")).to_contain_text("version 1")


@pytest.mark.slow
@pytest.mark.chromium
async def test_it_can_be_read(scene: Scene) -> None:
    """Everything that it can show at once."""
    page, fake = scene.page, scene.fake
    fake.users.replicas.append(replica("user-api-3") | {"state": "gone", "reason": "no heartbeat for 7 s"})
    fake.users.replicas[1] |= {"state": "draining", "reason": "draining: about to end"}
    await expect(page.locator("#user-api")).to_contain_text("about to end")
    await expect(page.locator("#counter-api .status")).to_contain_text("live")
    fake.counters.down = True
    await expect(page.locator("#counter-api .status")).to_contain_text("down")
    fake.token = "another"
    await page.get_by_role("button", name="Create the user").click()
    await expect(page.get_by_label("Access token")).to_be_visible()
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        assert await page.evaluate(FAULTS) == []
    for width in (1280, 700, 375):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate(BEYOND_THE_EDGE) == []
