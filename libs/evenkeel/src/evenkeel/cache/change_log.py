"""The change log of a table in PostgreSQL: what has been committed, by whomever, since a point that the caller names.

Triggers log every change in the transaction that makes it, with that transaction's id. The order of ids is not the
order of commits, so the point is a snapshot (`pg_snapshot`): which transactions had ended when it was taken.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

MOST_CHANGES = 50_000
"""Changes of one statement beyond which it is logged, and of one poll beyond which it is answered, as "anything". Part
of the schema: to change it takes a migration."""

PRUNE_BATCH = 10_000
"""Rows that one statement of prune() deletes, so that none runs into a statement timeout."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STATE = re.compile(
    r"(?P<origin>[0-9A-F-]+) "
    r"(?P<snapshot>(?P<oldest>[0-9]{1,19}):(?P<end>[0-9]{1,19}):(?P<running>(?:[0-9]{1,19}(?:,[0-9]{1,19})*)?))"
)
_LONGEST_IDENTIFIER = 63

_File = Literal["install", "origin", "poll", "prune", "remove"]

# By way of text: asyncpg has a Python type of its own for snapshots.
_SNAPSHOT = "CAST(CAST(:snapshot AS text) AS pg_snapshot)"

# Matches no database; and a snapshot that PostgreSQL can read.
_NOWHERE = ("", "1:1:")


@dataclass(frozen=True, slots=True)
class Poll:
    """What is new, and the state to ask for what comes after it."""

    state: str
    """Everything committed before it is in `changes`, or was before the state that was asked for."""

    changes: dict[str, int | None] | None
    """The highest version logged of each key; None: the row was deleted, if perhaps made again, or its versions cannot
    be compared. The whole is None when it cannot be told what has changed: anything may have."""

    reason: str | None = None
    """Why `changes` is None."""


class ChangeLog:
    """Reads and prunes the log that `install` made. Any number of readers at once; nothing is kept in a session.

    Whatever the engine raises is passed on: SQLAlchemy's errors, OSError, TimeoutError.
    """

    def __init__(self, engine: AsyncEngine, *, log: str, key: str) -> None:
        """`log` is the table's name, with or without its schema, and `key` its column; ValueError if they are none."""
        names = {"log": _qualified(log), "horizon": _qualified(log, "_horizon"), "key": _quoted(key)}
        self._poll = text(_sql("poll", names))
        self._prune = text(_sql("prune", names))
        # Each statement is its own transaction: one round trip, and any connection of a pool of connections will do.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def poll(self, since: str | None, *, limit: int = MOST_CHANGES) -> Poll:
        """What was committed since the state `since`, by one statement that uses the log's index.

        `changes` is None where that cannot be told: without a state; after a TRUNCATE, a statement that changed more
        than MOST_CHANGES rows, or more than `limit` changes together; if the log has been pruned or was not there yet;
        and if the state is of another history than the database's, as after the promotion of a standby, after
        pg_restore, or after a crash, in which PostgreSQL may lose commits that others have seen, and give their
        transaction ids away again.
        """
        known = _parsed(since) if since is not None else None
        origin, snapshot = known or _NOWHERE
        async with self._engine.connect() as connection:
            result = await connection.execute(self._poll, {"origin": origin, "snapshot": snapshot, "limit": limit})
            state, doubt, count, everything, keys, versions = result.one()
        if since is None:
            doubt = "there is no state"
        elif known is None:
            doubt = "the state cannot be read"
        elif everything:
            doubt = "the whole table may have changed"
        elif count > limit:
            doubt = f"more than {limit} changes"
        if doubt is not None:
            return Poll(state, None, doubt)
        # Versions are compared with those of cached entries, where 0 stands for a row that does not exist: a row that
        # somebody has inserted with such a version is not comparable.
        comparable = (version if version is not None and version > 0 else None for version in versions or ())
        return Poll(state, dict(zip(keys or (), comparable, strict=True)))

    async def prune(self, before: str) -> int:
        """Forget what had ended before the oldest transaction that was open at the state `before`; the rows deleted.

        `poll` knows of it: an older state is answered by None from then on. May be repeated, and called by several
        at once. A state of another history deletes nothing; one that is none raises ValueError.
        """
        known = _parsed(before)
        if known is None:
            raise ValueError("this is no state of a change log")
        origin, snapshot = known
        total = 0
        while True:
            async with self._engine.connect() as connection:
                parameters = {"origin": origin, "snapshot": snapshot, "limit": PRUNE_BATCH}
                deleted = int((await connection.execute(self._prune, parameters)).scalar_one())
            total += deleted
            if deleted < PRUNE_BATCH:
                return total


def install(
    *, table: str, key: str, version: str = "version", updated_at: str | None, log: str, log_key: str | None = None
) -> list[str]:
    """The statements that give an ordinary table a change log, to be executed in one transaction (READ COMMITTED).

    `key` and `version` (an integer type) are columns of the table, `updated_at` one of type timestamptz, if any: from
    now on the database alone sets these two, at every UPDATE. `log` is the table to be made, with the columns xid,
    `log_key` (default: as `key`) and version. Names may have a schema; ValueError if one is no plain identifier.

    Row changes are covered whoever makes them, TRUNCATE and a subscription's worker included; ALTER TABLE … DISABLE
    TRIGGER is not. Writers of the table need no rights on the log.
    """
    names = _names(table, log)
    names |= {"key": _quoted(key), "version": _quoted(version), "log_key": _quoted(log_key or key)}
    names["touch"] = f"NEW.{_quoted(updated_at)} = pg_catalog.clock_timestamp();" if updated_at else ""
    return _statements("install", names)


def remove(*, table: str, log: str) -> list[str]:
    """The statements that undo `install`, to be executed in one transaction."""
    return _statements("remove", _names(table, log))


def _names(table: str, log: str) -> dict[str, str]:
    own_name = log.rpartition(".")[2]
    triggers = {f"{what}_trigger": _quoted(f"{own_name}_{what}") for what in _TRIGGERS}
    return triggers | {
        "table": _qualified(table),
        "log": _qualified(log),
        "horizon": _qualified(log, "_horizon"),
        "index": _quoted(f"{own_name}_xid"),
        "by_statement": _qualified(log, "_by_statement"),
        "by_row": _qualified(log, "_by_row"),
        "bump": _qualified(log, "_bump"),
    }


_TRIGGERS = ("bump", "insert", "update", "delete", "truncate", "row")


def _statements(name: _File, names: Mapping[str, str]) -> list[str]:
    return [statement.strip() for statement in re.split(r";\n(?:\n|$)", _sql(name, names)) if statement.strip()]


def _sql(name: _File, names: Mapping[str, str]) -> str:
    origin = _file("origin").format_map(names)
    return _file(name).format_map({"origin": origin, "snapshot": _SNAPSHOT, "most": str(MOST_CHANGES), **names})


@cache
def _file(name: _File) -> str:
    """The file without its comments, which the database need not read ten times a second."""
    lines = files("evenkeel.cache").joinpath("sql", f"{name}.sql").read_text().splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))


def _qualified(name: str, suffix: str = "") -> str:
    """`schema.name` or `name`, with the suffix, each part quoted."""
    *schema, own_name = name.split(".")
    if len(schema) > 1:
        raise ValueError(f"{name!r} is neither a name nor schema.name")
    return ".".join(_quoted(part) for part in [*schema, own_name + suffix])


def _quoted(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name) or len(name) > _LONGEST_IDENTIFIER:
        raise ValueError(f"{name!r} is no plain identifier of at most {_LONGEST_IDENTIFIER} characters")
    return f'"{name}"'


def _parsed(state: str) -> tuple[str, str] | None:
    """Origin and snapshot; None for what PostgreSQL could not read, wherever it comes from."""
    match = _STATE.fullmatch(state)
    if match is None:
        return None
    oldest, end = int(match["oldest"]), int(match["end"])
    running = [int(xid) for xid in match["running"].split(",") if xid]
    if not 0 < oldest <= end or running != sorted(running) or not all(oldest <= xid < end for xid in running):
        return None
    return match["origin"], match["snapshot"]
