"""One client cannot use up all capacity. The limit for each address is lowered here."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from tests.support.gateway_bench import Bench, gateway_bench, gateway_problem

pytestmark = pytest.mark.anyio

FIVE_A_MINUTE = (
    r'"max_tokens": 10000,\s*"tokens_per_fill": 10000,\s*"fill_interval": "1s"',
    '"max_tokens": 5, "tokens_per_fill": 5, "fill_interval": "60s"',
)
TEN_A_MINUTE_IN_ALL = (
    r'"max_tokens": 50000,\s*"tokens_per_fill": 50000,\s*"fill_interval": "1s"',
    '"max_tokens": 10, "tokens_per_fill": 10, "fill_interval": "60s"',
)


async def _statuses(bench: Bench, address: str, count: int, forwarded: str = "") -> Counter[int]:
    statuses: Counter[int] = Counter()
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port, local_addr=(address, 0))
        writer.write(f"GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\n{forwarded}\r\n".encode())
        statuses[int((await reader.readline()).split()[1])] += 1
        writer.close()
    return statuses


async def test_each_client_has_its_own_limit(tmp_path: Path) -> None:
    async with gateway_bench(tmp_path, FIVE_A_MINUTE) as bench:
        assert await _statuses(bench, "127.0.0.2", 7) == {200: 5, 429: 2}
        assert await _statuses(bench, "127.0.0.3", 5) == {200: 5}
        assert bench.received.total() == 10


async def test_the_answer_says_when_to_come_back(tmp_path: Path) -> None:
    async with gateway_bench(tmp_path, FIVE_A_MINUTE) as bench:
        responses = [await bench.client.get("/v1/users/1") for _ in range(6)]
        assert [response.status_code for response in responses] == [200] * 5 + [429]
        assert gateway_problem(responses[5]) == (429, "too-many-requests")
        assert responses[5].headers["retry-after"] == "1"
        # Guessing paths or tokens does not raise the limit.
        assert (await bench.client.get("/nothing")).status_code == 429


async def test_a_client_cannot_say_that_it_is_another(tmp_path: Path) -> None:
    async with gateway_bench(tmp_path, FIVE_A_MINUTE) as bench:
        statuses: Counter[int] = Counter()
        for number in range(7):
            statuses += await _statuses(bench, "127.0.0.2", 1, f"X-Forwarded-For: 192.0.2.{number}\r\n")
        assert statuses == {200: 5, 429: 2}


async def test_all_clients_together_have_a_limit_too(tmp_path: Path) -> None:
    async with gateway_bench(tmp_path, FIVE_A_MINUTE, TEN_A_MINUTE_IN_ALL) as bench:
        statuses = [await _statuses(bench, f"127.0.0.{number}", 4) for number in range(2, 6)]
        assert sum(counter[200] for counter in statuses) == 10


async def test_behind_a_proxy_that_is_trusted_the_client_is_who_it_says(tmp_path: Path) -> None:
    trusting = (r'"use_remote_address": true', '"use_remote_address": true, "xff_num_trusted_hops": 1')
    async with gateway_bench(tmp_path, FIVE_A_MINUTE, trusting) as bench:
        forged = "X-Forwarded-For: 203.0.113.9, 192.0.2.{}\r\n"
        assert await _statuses(bench, "127.0.0.2", 6, forged.format(1)) == {200: 5, 429: 1}
        assert await _statuses(bench, "127.0.0.2", 5, forged.format(2)) == {200: 5}
