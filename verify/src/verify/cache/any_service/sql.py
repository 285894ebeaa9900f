"""SQL of the caller's: a change behind the service's back, and a look at what is committed."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import asyncpg

from stack.errors import StackError, UsageError
from verify.cache.any_service.templates import Value
from verify.cache.sql import NAME, TIMEOUT

FAILED = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

_WHOLE_NUMBERS = {"int2", "int4", "int8"}
_DSN = re.compile(r"postgres(?:ql)?://.+")


class Statement:
    """With `{id}` and `{value}`, which become parameters."""

    def __init__(self, option: str, text: str, *, names: Sequence[str]) -> None:
        """Raises UsageError unless it has exactly these names."""
        self._option = option
        self._names = list(dict.fromkeys(re.findall(r"\{(id|value)\}", text)))
        if set(self._names) != set(names):
            wanted = " and ".join(f"{{{name}}}" for name in names)
            raise UsageError(f"{option}: the statement must have {wanted}, and no quotes around them: {text!r}")
        self.text = re.sub(r"\{(id|value)\}", lambda found: f"${self._names.index(found[1]) + 1}", text)
        self._types: dict[str, str] = {}

    async def check(self, connection: Any) -> None:
        """Let PostgreSQL parse it. Raises UsageError."""
        try:
            parameters = (await connection.prepare(self.text)).get_parameters()
        except asyncpg.PostgresError as error:
            raise UsageError(f"{self._option}: PostgreSQL refuses {self.text!r}: {error}") from error
        if len(parameters) != len(self._names):
            raise UsageError(f"{self._option}: {{id}} and {{value}} must not be inside quotes: {self.text!r}")
        self._types = {name: kind.name for name, kind in zip(self._names, parameters, strict=True)}

    def parameters(self, record_id: str, value: Value = None) -> list[Any]:
        """In their order. Raises UsageError if PostgreSQL needs a number and this is none."""
        given: dict[str, Any] = {"id": record_id, "value": value}
        return [self._cast(name, given[name]) for name in self._names]

    def _cast(self, name: str, value: Value) -> Any:
        if value is None:
            return None
        try:
            return int(value) if self._types.get(name) in _WHOLE_NUMBERS else str(value)
        except ValueError:
            raise UsageError(f"{self._option}: {{{name}}} is a whole number there, not {value!r}") from None


class Database:
    """The database behind the service. It opens few connections."""

    def __init__(self, dsn: str, update: str, select: str | None) -> None:
        """Raises UsageError."""
        if not _DSN.fullmatch(dsn):
            raise UsageError("--sql: the database must be given as postgresql://user:password@host:port/name")
        self._update = Statement("--sql", update, names=["id", "value"])
        self._select = Statement("--sql-read", select, names=["id"]) if select else None
        self._pool = asyncpg.create_pool(dsn, min_size=0, max_size=4, command_timeout=TIMEOUT, server_settings=NAME)

    @property
    def shows_values(self) -> bool:
        return self._select is not None

    async def __aenter__(self) -> Self:
        """Raises UsageError if PostgreSQL refuses a statement, and StackError if it cannot be reached."""
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._pool
                async with self._pool.acquire() as connection:
                    for statement in (self._update, self._select):
                        if statement:
                            await statement.check(connection)
        except FAILED as error:
            self._pool.terminate()
            raise StackError(f"--sql: PostgreSQL: {str(error) or type(error).__name__}") from error
        except BaseException:
            self._pool.terminate()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.terminate()

    def check(self, old: Mapping[str, Value]) -> None:
        """Raises UsageError unless the statements take these ids, and values like the old ones."""
        for record_id, value in old.items():
            self._update.parameters(record_id, value if isinstance(value, int) else "verify")

    async def change(self, record_id: str, value: Value) -> int:
        """Returns the number of changed rows after their commit; 1 for a CALL. Raises one of FAILED."""
        async with asyncio.timeout(TIMEOUT):
            status = await self._pool.execute(self._update.text, *self._update.parameters(record_id, value))
        _, _, rows = status.rpartition(" ")
        return int(rows) if rows.isdigit() else 1

    async def value(self, record_id: str) -> Any:
        """The committed value. Raises LookupError if there is no such row, or one of FAILED."""
        assert self._select is not None  # noqa: S101 (see shows_values)
        async with asyncio.timeout(TIMEOUT):
            row = await self._pool.fetchrow(self._select.text, *self._select.parameters(record_id))
        if row is None:
            raise LookupError(record_id)
        return row[0]
