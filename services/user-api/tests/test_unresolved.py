"""PostgreSQL's name does not resolve: NXDOMAIN, a failing name server, and one that does not answer."""

import asyncio
import socket
import statistics
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.support.machine_time import machine_time
from tests.support.proxy import proxied
from tests.support.serving import Serve, until_ready
from tests.support.users import create_and_cache

from stack.layout import free_port

pytestmark = pytest.mark.anyio

NAME = "postgres.example"

LIMIT = 3.0
"""Seconds within which a replica answers."""

SILENCE = 5.0
"""Seconds until the resolver gives up, with the defaults of resolv.conf."""


class Resolver:
    """Stands in for `socket.getaddrinfo`, which asyncio calls in a thread. It resolves NAME, and no other name."""

    def __init__(self) -> None:
        self.failure: int | None = None
        self.silent = False
        self.under_way = self.most_under_way = 0
        self._lock = threading.Lock()
        self._answers = threading.Event()
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, *arguments: Any, **options: Any) -> Any:
        if host != NAME:
            return self._real(host, *arguments, **options)
        with self._lock:
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.silent:
                self._answers.wait(SILENCE)
            if self.failure is not None:
                raise socket.gaierror(self.failure, "the test's resolver")
        finally:
            with self._lock:
                self.under_way -= 1
        return self._real("127.0.0.1", *arguments, **options)

    def answer(self) -> None:
        self.failure, self.silent = None, False
        self._answers.set()


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.answer()


@pytest.mark.parametrize(
    ("failure", "silent"),
    [
        (socket.EAI_NONAME, False),
        pytest.param(socket.EAI_AGAIN, False, marks=pytest.mark.slow),
        (socket.EAI_AGAIN, True),
    ],
    ids=["NXDOMAIN", "failing", "silent"],
)
async def test_cached_users_are_served_while_the_name_does_not_resolve(
    serve: Serve, database_url: str, resolver: Resolver, *, failure: int, silent: bool
) -> None:
    async with proxied(database_url, free_port()) as way:
        await way.open()
        async with serve(database_url=way.url.replace("127.0.0.1", NAME)) as client:
            await until_ready(client)
            await create_and_cache(client)
            resolver.failure, resolver.silent = failure, silent
            way.reset()
            async with machine_time() as elapsed:
                uncached = [asyncio.create_task(timed(client, f"/v1/users/{100 + n}", elapsed)) for n in range(20)]
                await until_stale(client, expected=True)
                uncached += [asyncio.create_task(timed(client, f"/v1/users/{200 + n}", elapsed)) for n in range(20)]
                cached = [await timed(client, "/v1/users/1", elapsed) for _ in range(20)]
                alive = [await timed(client, "/livez", elapsed) for _ in range(20)]
                refused = await asyncio.gather(*uncached)
            for answer, _ in cached:
                assert (answer.status_code, "stale" in answer.headers["cache-status"]) == (200, True)
            for answer, _ in refused:
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            waited = statistics.median(seconds for _, seconds in refused)
            # They all end at once, and the test needs as long for each as for an answer of /livez.
            assert waited < LIMIT + len(refused) * statistics.median(seconds for _, seconds in alive)
            assert statistics.median(seconds for _, seconds in cached) < waited / 10
            ready = await client.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["checks"].keys() == {"postgresql"}
            # However many connections are being opened, other names can be resolved.
            assert resolver.most_under_way == 1
            resolver.answer()
            await until_ready(client)
            await until_stale(client, expected=False)
            assert (await client.get("/v1/users/300")).status_code == 404


async def until_stale(client: httpx.AsyncClient, *, expected: bool) -> None:
    """Return when the cached user is marked stale, or is not. Meanwhile it is served all the same."""
    for _ in range(600):
        answer = await client.get("/v1/users/1")
        assert answer.status_code == 200
        if ("stale" in answer.headers["cache-status"]) is expected:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the user is {'not ' if expected else ''}stale")


async def timed(client: httpx.AsyncClient, path: str, elapsed: Callable[[], float]) -> tuple[httpx.Response, float]:
    """The answer, and the seconds of the machine's time until it came."""
    began = elapsed()
    answer = await client.get(path)
    return answer, elapsed() - began
