"""The bookshop of the guide: two replicas, its schema, and a PostgreSQL that refuses it."""

import asyncio
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from benchmarks.contestants import programs
from benchmarks.serving import running
from tests.support.databases import emptied_database, execute
from tests.support.servers import Servers

pytestmark = pytest.mark.slow

DATABASE = "bookshop"
BOOK, MISSING, UNREAD = "/books/9780441478125", "/books/0000000000000", "/books/9780553283686"
TITLE = "The Left Hand of Darkness"


@pytest.fixture(scope="module")
def replicas(servers: Servers) -> Iterator[list[httpx.Client]]:
    environment = {
        "BOOKSHOP_DATABASE_URL": asyncio.run(emptied_database(servers.postgres, DATABASE)),
        "BOOKSHOP_CACHE_URL": servers.redis_cache,
        "BOOKSHOP_CACHE_KEYS": b64encode(bytes(32)).decode(),
    }
    for _ in range(2):  # the second time it changes nothing
        schema = [sys.executable, str(programs.STEPS / "11_bookshop" / "schema.py")]
        subprocess.run(schema, env=os.environ | environment, check=True)
    with running([programs.tutorial("11_bookshop", **environment) for _ in range(2)], None) as started:
        clients = [httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) for server in started]
        yield clients
        for client in clients:
            client.close()


@contextmanager
def refused(servers: Servers) -> Iterator[None]:
    """PostgreSQL accepts no connection to the bookshop's database meanwhile."""
    allow = f"ALTER DATABASE {DATABASE} WITH ALLOW_CONNECTIONS"
    ended = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{DATABASE}'"  # noqa: S608 (a name of our own)
    asyncio.run(execute(servers.postgres, f"{allow} false", ended))
    try:
        yield
    finally:
        asyncio.run(execute(servers.postgres, f"{allow} true"))


def test_a_change_shows_on_both_replicas(replicas: list[httpx.Client]) -> None:
    one, two = replicas
    for version, price in ((1, 9.99), (2, 12.5)):
        put = one.put(BOOK, json={"title": TITLE, "price": str(price)})
        assert (put.status_code, put.json()) == (200, {"isbn": "9780441478125", "version": version})
        for replica in (one, two):
            answer = replica.get(BOOK, headers={"Min-Version": str(version)})
            assert answer.json()["data"] == {
                "isbn": "9780441478125",
                "title": TITLE,
                "price": price,
                "version": version,
            }
            assert answer.headers["ETag"] == f'"{version}"'


def test_what_is_wrong_is_a_problem(replicas: list[httpx.Client]) -> None:
    wrong = [
        replicas[0].get(MISSING),
        replicas[0].get("/books/7"),
        replicas[0].put(BOOK, json={"title": "", "price": "-1"}),
    ]
    assert [(answer.status_code, answer.json()["type"]) for answer in wrong] == [
        (404, "urn:evenkeel:problem:not-found"),
        (422, "urn:evenkeel:problem:validation"),
        (422, "urn:evenkeel:problem:validation"),
    ]


def test_without_postgresql_a_cached_book_is_read_and_a_change_is_refused(
    replicas: list[httpx.Client], servers: Servers
) -> None:
    client = replicas[0]
    client.put(BOOK, json={"title": TITLE, "price": "9.99"})
    for _ in range(2):
        assert client.get(BOOK).status_code == 200
    assert client.get("/readyz").status_code == 200
    with refused(servers):
        cached = client.get(BOOK)
        assert (cached.status_code, cached.json()["data"]["price"]) == (200, 9.99)
        for answer in (client.put("/books/9780061054884", json={"title": TITLE, "price": "1"}), client.get(UNREAD)):
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:evenkeel:problem:unavailable")
            assert answer.headers["Retry-After"] == "1"
