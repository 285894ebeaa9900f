"""What the servers have done so far: commands, bytes, CPU time, transactions, connections."""

from dataclasses import dataclass, fields
from typing import Any, Self

import asyncpg
import psutil
from redis import Redis

SECTIONS = ("stats", "clients", "commandstats")
"""Of INFO."""


@dataclass(frozen=True)
class Reading:
    """Sums since the servers began, or the difference of two of them."""

    seconds: float = 0
    commands: float = 0
    """That Redis has executed, those inside scripts included."""
    bytes_in: float = 0
    bytes_out: float = 0
    """From and to clients."""
    replicated: float = 0
    """Bytes to replicas of Redis."""
    redis_cpu: float = 0
    postgres_cpu: float = 0
    """Seconds, of all processes of the server."""
    transactions: float = 0
    """Of PostgreSQL. A statement by itself is one."""
    clients_cpu: float = 0
    """Seconds, of the processes with the replicas and the load."""

    def minus(self, other: Self, times: float = 1) -> "Reading":
        return Reading(
            **{field.name: getattr(self, field.name) - times * getattr(other, field.name) for field in fields(self)}
        )

    def over(self, number: float) -> "Reading":
        return Reading(**{field.name: getattr(self, field.name) / number for field in fields(self)})


class Meters:
    def __init__(
        self, redis: Redis, postgres: asyncpg.Connection, database: str, *, redis_process: int, postgres_process: int
    ) -> None:
        """`redis` speaks RESP3. The transactions of `database` count. `postgres` is connected to another one."""
        self._asked = self._answered = 0
        """Bytes of this object's own requests and replies."""
        self._redis: Any = redis.connection_pool.make_connection()  # redis-py has not typed its methods
        self._redis_process = psutil.Process(redis_process)
        self._postgres = postgres
        self._database = database
        self._server = psutil.Process(postgres_process)

    async def reading(self, at: float, clients: list[psutil.Process]) -> Reading:
        """`at` is the time of it. What this method itself causes is left out."""
        redis_cpu, postgres_cpu = _cpu(self._redis_process), _with_children(self._server)
        transactions = await self._postgres.fetchval(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1", self._database
        )
        answered = self._answered  # this reply does not count yet, and its request does
        numbers = _numbers(self._info(*SECTIONS))
        bytes_in = int(numbers["total_net_input_bytes"]) - self._asked
        bytes_out = int(numbers["total_net_output_bytes"]) - answered
        return Reading(
            seconds=at,
            commands=sum(_calls(value) for name, value in numbers.items() if _counts(name)),
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            replicated=int(numbers.get("total_net_repl_output_bytes", 0)),
            redis_cpu=redis_cpu,
            postgres_cpu=postgres_cpu,
            transactions=transactions,
            clients_cpu=sum(map(_cpu, clients)),
        )

    async def connections(self) -> tuple[int, int]:
        """To Redis and to PostgreSQL, without those of this object."""
        numbers = _numbers(self._info(*SECTIONS))
        postgres = await self._postgres.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", self._database
        )
        return int(numbers["connected_clients"]) - 1, postgres

    def _info(self, *sections: str) -> bytes:
        request = self._redis.pack_command("INFO", *sections)
        self._redis.send_packed_command(request)
        reply = bytes(self._redis.read_response(disable_decoding=True))
        self._asked += sum(map(len, request))
        length = len(reply) + len(b"txt:")  # the beginning of a verbatim string (RESP3), which redis-py leaves out
        self._answered += length + len(b"=%d\r\n\r\n" % length)
        return reply


def _numbers(text: bytes) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)


def _counts(name: str) -> bool:
    return name.startswith("cmdstat_") and name != "cmdstat_info"


def _calls(statistics: str) -> int:
    return int(statistics.partition("calls=")[2].partition(",")[0])


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _with_children(server: psutil.Process) -> float:
    """Of the server and its children, those that have ended included."""
    times = server.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in server.children():
        try:
            total += _cpu(child)
        except psutil.NoSuchProcess:
            continue
    return total
