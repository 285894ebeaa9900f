"""Heartbeats: what they cost, and whose are found."""

from collections.abc import Sequence
from typing import Any

import pytest

from evenkeel.redis import heartbeats
from evenkeel.redis.heartbeats import ANNOUNCED, KEPT, UNSEEN, Command, Heartbeats

pytestmark = pytest.mark.anyio

INDEX = "{x}:fleet"


class Server:
    """The few commands that heartbeats need, and a clock that tests turn."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.strings: dict[str, tuple[bytes, float]] = {}
        self.hashes: dict[str, dict[bytes, bytes]] = {}
        self.commands: list[str] = []
        self.round_trips = 0

    async def send(self, commands: Sequence[Command]) -> Sequence[Any]:
        self.round_trips += 1
        return [self._reply(*command) for command in commands]

    def _reply(self, command: Any, key: Any, *arguments: Any) -> Any:
        self.commands.append(command)
        held = self.hashes.setdefault(key, {}) if command.startswith("H") else {}
        match command:
            case "SET":
                value, _, milliseconds = arguments
                self.strings[key] = value, self.now + milliseconds / 1000
            case "GET" | "PTTL":
                value, ends = self.strings.get(key, (None, 0.0))
                left = int((ends - self.now) * 1000)
                return (value if left > 0 else None) if command == "GET" else (left if left > 0 else -2)
            case "DEL":
                self.strings.pop(key, None)
            case "HSET":
                held[arguments[0].encode()] = str(arguments[1]).encode()
            case "HDEL":
                for name in arguments:
                    held.pop(name if isinstance(name, bytes) else name.encode(), None)
            case "EXISTS":
                return int(self.strings.get(key, (None, 0.0))[1] > self.now)
            case "HGETALL":
                return dict(held)
            case "EXPIRE":
                assert arguments == (UNSEEN,)
            case _:
                raise AssertionError(command)
        return None

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(heartbeats, "time", server)
    return server


def of(server: Server, index: str | None = INDEX) -> Heartbeats:
    return Heartbeats(server.send, lambda: index)


async def test_a_heartbeat_is_one_command(server: Server) -> None:
    beats = of(server)
    await beats.beat("a", b"report")
    server.commands.clear()
    for _ in range(9):
        server.now += 1
        await beats.beat("a", b"report")
    assert server.commands == ["SET"] * 9
    server.now += ANNOUNCED
    server.commands.clear()
    await beats.beat("a", b"report")
    assert server.commands == ["SET", "HSET", "EXPIRE", "HGETALL"]


async def test_what_readers_find(server: Server) -> None:
    await of(server).beat("b", b"of b")
    server.now += 2.5
    await of(server).beat("a", b"of a")
    before = server.round_trips
    assert await of(server).read() == {"a": (0.0, b"of a"), "b": (2.5, b"of b")}
    assert server.round_trips == before + 2
    server.now += KEPT - 2.5
    assert list(await of(server).read()) == ["a"]
    await of(server).leave("a")
    assert await of(server).read() == {}
    assert server.hashes == {INDEX: {b"b": b"1000"}}


async def test_an_empty_index(server: Server) -> None:
    assert await of(server).read() == {}


async def test_the_index_is_written_again_when_it_is_lost(server: Server) -> None:
    beats = of(server)
    await beats.beat("a", b"")
    server.hashes.clear()
    server.now += ANNOUNCED
    await beats.beat("a", b"")
    assert list(await beats.read()) == ["a"]


async def test_the_index_forgets(server: Server) -> None:
    await of(server).beat("gone", b"")
    server.hashes[INDEX][b"foreign"] = b"no time"
    server.now += UNSEEN + 1
    await of(server).beat("a", b"")
    assert list(server.hashes[INDEX]) == [b"a"]


async def test_a_clock_that_is_ahead_makes_the_index_forget_nobody(server: Server) -> None:
    await of(server).beat("a", b"of a")
    server.hashes[INDEX][b"a"] = str(int(server.now) - UNSEEN - 1).encode()  # written by another clock
    await of(server).beat("b", b"of b")
    assert list(await of(server).read()) == ["a", "b"]


async def test_the_names_of_another_database(server: Server) -> None:
    known: list[str] = []
    beats = Heartbeats(server.send, lambda: known[-1] if known else None)
    with pytest.raises(LookupError):
        await beats.beat("a", b"")
    with pytest.raises(LookupError):
        await beats.read()
    for index in ("{x}:1", "{x}:2"):
        known.append(index)
        await beats.beat("a", b"")
        assert list(await beats.read()) == ["a"]
    assert all(key.startswith("{x}:") for key in (*server.hashes, *server.strings))
