"""From the /metrics of real processes to the alert, and every name in the rules and the dashboard is in one of them."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from tests.support import promtool
from tests.support.databases import new_database
from tests.support.servers import Servers

from stack.layout import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.promtool, pytest.mark.slow]

BOARD = promtool.ALERTS.with_name("evenkeel.json")
METRIC = re.compile(r"\b((?:http|cache|counter|database|readiness)_\w+)\{")


@asynccontextmanager
async def a_replica(service: str, settings: Mapping[str, str]) -> AsyncIterator[str]:
    """Its /metrics, once it has checked whether it is ready."""
    port, prefix = free_port(), service.upper().replace("-", "_")
    own = {f"{prefix}_PORT": str(port), f"{prefix}_DRAIN": "0", **settings}
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name(service)), "serve"),
        env=os.environ | own,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client, asyncio.timeout(90):
            while True:
                with suppress(httpx.TransportError):
                    assert (await client.get("/readyz")).status_code == 503
                    break
                await asyncio.sleep(0.05)
            yield (await client.get("/metrics")).text
    finally:
        process.kill()
        await process.wait()


def up(job: str, pod: str, values: str) -> dict[str, str]:
    return {f'up{{namespace="evenkeel",job="{job}",pod="{pod}"}}': values}


@pytest.fixture
async def scrapes(servers: Servers) -> AsyncIterator[dict[str, str]]:
    """Of a user-api whose database was never migrated, and of a counter-api whose Redis writes nothing to disk."""
    async with new_database(servers.postgres, "alerts") as database:
        user_api = {"USER_API_DATABASE_URL": database, "USER_API_CACHE_TIERS": "memory"}
        counter_api = {"COUNTER_API_REDIS_URL": servers.redis_cache}
        async with (
            a_replica("user-api", user_api) as users,
            a_replica("counter-api", counter_api) as counters,
        ):
            yield {"user-api": users, "counter-api": counters}


async def test_from_real_processes_to_alerts(scrapes: dict[str, str], tmp_path: Path) -> None:
    series: dict[str, str] = {}
    for job, text in scrapes.items():
        for n in (1, 2):
            pod = f"{job}-{n}"
            labels = {"namespace": "evenkeel", "job": job, "pod": pod}
            series |= promtool.scraped(text, labels, minutes=30) | up(job, pod, "1x30")
    promtool.raised(tmp_path, series, after="20m", alerts={"MigrationsMissing", "UnsafeRedis"})

    exported = {name for text in scrapes.values() for name in promtool.families(text)}
    panels = json.loads(BOARD.read_text())["panels"]
    queries = promtool.ALERTS.read_text() + "".join(target["expr"] for panel in panels for target in panel["targets"])
    asked = set(METRIC.findall(queries))
    assert len(asked) > 10
    families = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in exported} | exported
    assert {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in asked} - families == set()
