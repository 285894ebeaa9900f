"""The probes, with real servers and with some that misbehave."""

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from redis import Redis
from tests.support.servers import Servers, embedded

from stack import http_probe, probe
from stack.layout import free_port

pytestmark = pytest.mark.anyio

PASSWORD = "secret"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with embedded() as servers:
        yield servers


def _address(url: str) -> tuple[int, str]:
    """Port and password."""
    with Redis.from_url(url) as client:
        keywords = client.connection_pool.connection_kwargs
        return keywords["port"], keywords["password"]


class Canned:
    """Gives the same answer on every connection, and accepts every password of Redis."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._begun = 0
        self.sent: list[bytes] = []
        """What each connection sent, once it has ended."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._begun += 1
        sent = b""
        while new := await reader.read(65536):
            sent += new
            writer.write(b"+OK\r\n" if b"AUTH" in new else self._answer)
        self.sent.append(sent)
        writer.close()

    @contextlib.asynccontextmanager
    async def listening(self, path: Path | None = None) -> AsyncIterator[int]:
        """On a free port, or on a Unix socket; all connections must have ended soon after the block."""
        starting = (
            asyncio.start_unix_server(self.serve, path) if path else asyncio.start_server(self.serve, "127.0.0.1")
        )
        async with await starting as server:
            yield 0 if path else server.sockets[0].getsockname()[1]
            async with asyncio.timeout(5):
                while len(self.sent) < self._begun:  # noqa: ASYNC110 (each ends a moment after its client)
                    await asyncio.sleep(0.01)


def _url(port: int) -> str:
    return f"postgresql://user_api:{PASSWORD}@127.0.0.1:{port}/users"


async def _none_answers(port: int) -> None:
    assert not await probe.postgres_answers(_url(port))
    assert not await probe.redis_pings(port, PASSWORD)
    assert await probe.redis_info(port, PASSWORD, "server") == {}
    assert await http_probe.http_get("/", port=port) is None


async def test_redis_answers_with_its_password_only(servers: Servers) -> None:
    port, password = _address(servers.redis_cache)
    assert await probe.redis_pings(port, password)
    assert not await probe.redis_pings(port, PASSWORD)


async def test_redis_says_a_section_of_info(servers: Servers) -> None:
    port, password = _address(servers.redis_cache)
    found = await probe.redis_info(port, password, "replication")
    assert (found["role"], found["connected_slaves"]) == ("master", 0)
    assert await probe.redis_info(port, PASSWORD, "replication") == {}


async def test_postgres_answers_with_its_password_only(servers: Servers) -> None:
    assert await probe.postgres_answers(servers.postgres)
    host = servers.postgres.partition("@")[2]
    assert not await probe.postgres_answers(f"postgresql://postgres:{PASSWORD}@{host}")


async def test_no_connection_is_left(servers: Servers) -> None:
    port, password = _address(servers.redis_cache)
    for _ in range(5):
        assert await probe.postgres_answers(servers.postgres)
        assert await probe.redis_pings(port, password)
    with Redis.from_url(servers.redis_cache) as client:
        assert client.info("clients")["connected_clients"] == 1
    connection = await asyncpg.connect(servers.postgres)
    others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    async with asyncio.timeout(5):
        while await connection.fetchval(others):  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.05)
    await connection.close()


async def test_nobody_listens() -> None:
    await _none_answers(free_port())


async def test_who_says_nothing_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TIMEOUT", 0.2)
    began = time.monotonic()
    mute = Canned(b"")
    async with mute.listening() as port:
        await _none_answers(port)
        assert time.monotonic() - began < 3
    assert len(mute.sent) == 4


async def test_a_redis_that_loads_its_data_does_not_answer_yet() -> None:
    loading = Canned(b"-LOADING Valkey is loading the dataset in memory\r\n")
    async with loading.listening() as port:
        assert not await probe.redis_pings(port, PASSWORD)
    assert loading.sent == [b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*1\r\n$4\r\nPING\r\n"]


@pytest.mark.parametrize(("code", "answers"), [("57P03", False), ("53300", True)])
async def test_a_postgres_that_starts_up_does_not_answer_yet_and_a_full_one_does(code: str, *, answers: bool) -> None:
    fields = f"SFATAL\0VFATAL\0C{code}\0Mno\0\0".encode()
    async with Canned(b"E" + struct.pack("!i", 4 + len(fields)) + fields).listening() as port:
        assert await probe.postgres_answers(_url(port)) is answers


@pytest.mark.parametrize(
    ("role", "replicates"),
    [
        (b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$9\r\nconnected\r\n:7\r\n", True),
        (b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$4\r\nsync\r\n:-1\r\n", False),
        (b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", False),
        (b"-NOPERM this user has no permissions to run the 'role' command\r\n", False),
        (b"", False),
    ],
)
async def test_a_sidecar_replicates_when_it_is_connected_to_its_primary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: bytes, *, replicates: bool
) -> None:
    monkeypatch.setattr(probe, "TIMEOUT", 0.5)
    path = tmp_path / "cache.sock"
    async with Canned(role).listening(path):
        assert await probe.redis_replicates(path, PASSWORD) is replicates


async def test_chunked_http_is_joined() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1") as server:
        answer = await http_probe.http_get("/", port=server.sockets[0].getsockname()[1])
    assert answer == http_probe.Answer(200, b"abcde")
