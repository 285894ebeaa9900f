"""The load of `verify disruptions` on the whole system, where nothing is disturbed."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from verify.disruptions import load

pytestmark = pytest.mark.anyio


async def test_undisturbed_nothing_fails_and_nothing_is_left(gateway: str, client: httpx.AsyncClient) -> None:
    stop = asyncio.Event()
    lines: list[dict[str, Any]] = []
    before = (await client.get("/v1/users?limit=1000")).json()["data"]

    def report(line: str) -> None:
        lines.append(json.loads(line))
        if lines[-1]["requests"] > 100:
            stop.set()

    await load.run(gateway, stop, report)
    assert (lines[-1]["failed"], lines[-1]["lost"], lines[-1]["doubled"], lines[-1]["examples"]) == ({}, 0, 0, [])
    assert (await client.get("/v1/counters?prefix=verify-")).json() == {"data": []}
    left = (await client.get("/v1/users?limit=1000")).json()["data"]
    assert [user for user in left if user not in before and user["email"].startswith("verify-")] == []
