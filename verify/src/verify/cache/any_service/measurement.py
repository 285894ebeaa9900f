"""One measurement: records are read and written while one fault of the caller's after the other is done."""

import asyncio
import contextlib
import json
import math
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import KW_ONLY, dataclass, field
from typing import Self

from verify.cache.any_service import commands
from verify.cache.any_service.commands import FaultCommands
from verify.cache.any_service.load import ServiceLoad
from verify.cache.any_service.prober import Requests, ServiceProber, Way
from verify.cache.any_service.records import Record, Records
from verify.cache.any_service.sql import Database
from verify.cache.any_service.templates import Value
from verify.cache.open_loop import Rates
from verify.cache.tally import BREACHES, CacheTally
from verify.progress import Announce, seconds
from verify.target import Target

LEAD = 0.5
"""Seconds of undisturbed load before each fault."""

WRITE_BACK_WITHIN = 60.0
"""Seconds in which the service must take the old values back."""

WRITE_BACK_PAUSE = 0.5
"""Seconds between attempts."""

WRITE_BACK_AT_ONCE = 10
"""Records."""

LATE = 2.0
"""Seconds after which a record is written back once more, if a write of it had no answer."""


class ServiceTally(CacheTally):
    BREACHES = {  # noqa: RUF012 (declared as a ClassVar in the base)
        **BREACHES,
        "late": "answers given as fresh lacked a commit for longer than --within allows",
        "foreign": "answers had a value that this run had not written: another program writes it, or it is another's",
    }


@dataclass(frozen=True)
class Service:
    """What is measured, as the caller gave it."""

    ids: Sequence[str]
    requests: Requests
    replicas: Sequence[str] = ()
    headers: dict[str, str] = field(default_factory=dict)
    sql: tuple[str, str] | None = None
    """Where the database is, and the statement that changes a record."""
    sql_read: str | None = None
    """The statement that reads the value of a record."""
    faults: Sequence[FaultCommands] = ()
    _: KW_ONLY
    rates: Rates
    seconds: float
    quiet: float
    """Seconds after each phase in which nothing is written."""
    within: float = math.inf

    @property
    def ways(self) -> list[Way]:
        """The addresses of the templates first, then every replica."""
        read, write = self.requests.read.server, self.requests.write.server
        pairs = [(read, write), *((replica, replica) for replica in self.replicas)]
        made: dict[str, Target] = {}
        for url in dict.fromkeys(url for pair in pairs for url in pair):
            made[url] = Target.at(url, url, lambda: self.headers)
        return [Way(made[reads], made[writes]) for reads, writes in dict.fromkeys(pairs)]


@dataclass
class Result:
    tallies: list[CacheTally]
    interrupted: signal.Signals | None = None


async def measure(service: Service, announce: Announce) -> Result:
    """What each phase found. The old values are written back, also after SIGINT, SIGTERM and SIGHUP.

    If that fails, the result has one more phase, `end`, which has the old values.
    """
    ways = service.ways
    async with AsyncExitStack() as stack:
        for target in {target for way in ways for target in (way.reads, way.writes)}:
            stack.callback(target.pool.close)
        database = Database(*service.sql, service.sql_read) if service.sql else None
        if database:
            await stack.enter_async_context(database)
        prober = ServiceProber(service.requests, database)
        old: dict[str, Value] = {record_id: await prober.old_value(ways[0], record_id) for record_id in service.ids}
        if database:
            database.check(old)
        records = Records(secrets.token_hex(3), old)
        load = ServiceLoad(prober, records, ways, service.rates, _tally("preparation", service))
        phases = asyncio.create_task(_phases(service, load, announce))
        with _Interruption(phases.cancel) as interruption:
            try:
                tallies = await _while_loaded(load, phases)
            finally:
                end = _tally("end", service)
                await _write_back(prober, records, ways, end)
        return Result([*tallies, end] if end.failure else tallies, interruption.signal)


def _tally(phase: str, service: Service) -> CacheTally:
    return ServiceTally(phase, strict=False, promise=service.within)


async def _while_loaded(load: ServiceLoad, phases: "asyncio.Task[list[CacheTally]]") -> list[CacheTally]:
    """The result of the phases. When they have ended, all requests under way get their time to end."""
    running = asyncio.create_task(load.run())
    try:
        await asyncio.wait([running, phases], return_when=asyncio.FIRST_COMPLETED)
        if running.done():  # it failed
            phases.cancel()
        return await phases
    finally:
        load.stop()
        await running


async def _phases(service: Service, load: ServiceLoad, announce: Announce) -> list[CacheTally]:
    """Those that were begun, if this is cancelled."""
    names = ["none", *(["sql"] if service.sql else []), *(fault.name for fault in service.faults)]
    faults = {fault.name: fault for fault in service.faults}
    tallies: list[CacheTally] = []
    try:
        for number, name in enumerate(names):
            lead = 2 * LEAD if name in faults else 0.0
            announce(name, number, len(names), seconds(lead + service.seconds + service.quiet))
            load.tally = _tally(name, service)
            tallies.append(load.tally)
            load.by_sql, load.quiet = name == "sql", False
            if name in faults:
                await asyncio.sleep(LEAD)
                await _broken(faults[name], service.seconds, load.tally)
                await asyncio.sleep(LEAD)
            else:
                await asyncio.sleep(service.seconds)
            load.quiet = True
            await asyncio.sleep(service.quiet)
    except asyncio.CancelledError:
        tallies[-1].failure = tallies[-1].failure or "it was interrupted"
    return tallies


async def _broken(fault: FaultCommands, lasting: float, tally: CacheTally) -> None:
    """Inject the fault, wait, and heal it whatever happens."""
    try:
        with tally.injecting():
            await commands.run(fault.inject)
            await asyncio.sleep(lasting)
    finally:
        if fault.heal:
            await _heal(fault.heal, tally)


async def _heal(command: str, tally: CacheTally) -> None:
    """A cancellation waits until the command has ended."""
    healing = asyncio.create_task(commands.run(command))
    try:
        await asyncio.shield(asyncio.wait([healing]))
    finally:
        await asyncio.wait([healing])
        if error := healing.exception():
            tally.failure = f"the fault could not be healed: {error}"


async def _write_back(prober: ServiceProber, records: Records, ways: Sequence[Way], end: CacheTally) -> None:
    """Every value that was written is replaced by the old one, as soon as the service takes it."""
    left = list(records.changed)
    gate = asyncio.Semaphore(WRITE_BACK_AT_ONCE)

    async def write_back(record: Record) -> None:
        # A write without an answer may still be committed, after the first write back.
        for again in (True, False) if record.unsettled else (False,):
            while True:
                async with gate:
                    if await prober.write_back(ways, record, end):
                        break
                await asyncio.sleep(WRITE_BACK_PAUSE)
            if again:
                await asyncio.sleep(LATE)
        left.remove(record)

    with contextlib.suppress(TimeoutError):
        # A service that hangs must not make this endless: meanwhile signals are ignored.
        async with asyncio.timeout(WRITE_BACK_WITHIN), asyncio.TaskGroup() as group:
            for record in records.changed:
                group.create_task(write_back(record))
    if left:
        values = json.dumps({record.id: record.old for record in left}, ensure_ascii=False)
        errors = ", ".join(f"{count} {kind}" for kind, count in end.errors.most_common()) or "no answer"
        end.failure = f"these old values could not be written back ({errors}): {values}"


class _Interruption:
    """The first signal calls `stop`. Further ones are ignored, so that the old values are written back.

    SIGHUP comes when the terminal is closed. nohup lets programs ignore it.
    """

    def __init__(self, stop: Callable[[], object]) -> None:
        self.signal: signal.Signals | None = None
        self._stop = stop
        hang_up = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
        self._signals = (signal.SIGINT, signal.SIGTERM, *hang_up)

    def __enter__(self) -> Self:
        for number in self._signals:
            asyncio.get_running_loop().add_signal_handler(number, self._came, number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._signals:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _came(self, number: signal.Signals) -> None:
        if self.signal is None:
            self.signal = number
            self._stop()
        sys.stderr.write("verify cache: healing, and writing the old values back …\n")
        sys.stderr.flush()
