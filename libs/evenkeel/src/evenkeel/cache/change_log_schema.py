"""The SQL statements that make a change log in PostgreSQL, bring it up to date, and remove it."""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal

MOST_CHANGES = 50_000
"""A statement with more changes is logged as a range of keys, or as "anything" if keys are no integers. A look with
more changes answers "anything". The number is part of the schema, so changing it takes a migration."""

HAD_CHILD = "it had a child, and has not been analyzed since"
"""The reason for distrust that `<log>_analyze` alone can remove. It is part of the schema, too."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_IDENTIFIER = 63

_File = Literal["analyze", "functions", "install", "look", "origin", "prune", "remove"]

FUNCTIONS: tuple[_File, ...] = ("look", "prune", "analyze")


def install(
    *,
    table: str,
    key: str,
    version: str = "version",
    updated_at: str | None,
    tag: str | None = None,
    log: str,
    log_key: str | None = None,
) -> list[str]:
    """The statements that give an ordinary table a change log. Run them in one transaction (READ COMMITTED).

    `key` and `version` (an integer type) are columns of the table. So are `updated_at` (timestamptz) and `tag` (uuid),
    if given. From then on the database alone sets version, time and tag, at every UPDATE; tags are random. `log` is
    the table to be made, with the columns xid, `log_key` (default: as `key`), version and place. Names may have a
    schema. ValueError if a name is no plain identifier.

    The log covers all changes of rows, by TRUNCATE and by a subscription's worker, too. Writers of the table need no
    rights on the log. A role that looks needs SELECT on the log and on `<log>_horizon`. A role that prunes also needs
    DELETE on the log, and INSERT and UPDATE on the horizon.
    """
    names = _names(table, log)
    names |= {"key": _quoted(key), "key_name": key, "version": _quoted(version), "log_key": _quoted(log_key or key)}
    drawn = {updated_at: "clock_timestamp", tag: "gen_random_uuid"}
    names["drawn"] = " ".join(f"NEW.{_quoted(name)} = pg_catalog.{call}();" for name, call in drawn.items() if name)
    return [*_statements("install", names), *renew(table=table, key=key, log=log, log_key=log_key)]


def renew(*, table: str, key: str, log: str, log_key: str | None = None) -> list[str]:
    """The statements that replace the functions for looking and pruning by those of this release."""
    names = _names(table, log) | {"key": _quoted(key), "log_key": _quoted(log_key or key)}
    # In functions the log's name has its schema, which PostgreSQL's format() inserts.
    inside = names | {"origin": _file("origin").format_map({"log_literal": "%2$L"})}
    names |= {f"{function}_function": _file(function).format_map(inside) for function in FUNCTIONS}
    return _statements("functions", names)


def remove(*, table: str, log: str) -> list[str]:
    """The statements that undo `install`. Run them in one transaction."""
    return _statements("remove", _names(table, log))


def _names(table: str, log: str) -> dict[str, str]:
    own_name = log.rpartition(".")[2]
    triggers = {f"{what}_trigger": _quoted(f"{own_name}_{what}") for what in _TRIGGERS}
    return triggers | {
        "most": str(MOST_CHANGES),
        "origin": origin_of(log),
        "own_name": own_name,
        "trigger_names": "{" + ",".join(f"{own_name}_{what}" for what in _TRIGGERS) + "}",
        "look": qualified(log, "_look"),
        "prune": qualified(log, "_prune"),
        "analyze": qualified(log, "_analyze"),
        "had_child": HAD_CHILD,
        "table": qualified(table),
        "log": qualified(log),
        "horizon": qualified(log, "_horizon"),
        "index": _quoted(f"{own_name}_xid"),
        "by_statement": qualified(log, "_by_statement"),
        "by_row": qualified(log, "_by_row"),
        "bump": qualified(log, "_bump"),
    }


_TRIGGERS = ("bump", "insert", "update", "delete", "truncate", "row")


def _statements(name: _File, names: Mapping[str, str]) -> list[str]:
    return [
        statement.strip() for statement in re.split(r";\n(?:\n|$)", _file(name).format_map(names)) if statement.strip()
    ]


@cache
def _file(name: _File) -> str:
    """The file without its comment lines, which the database need not parse ten times a second."""
    lines = files("evenkeel.cache").joinpath("sql", f"{name}.sql").read_text().splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))


def qualified(name: str, suffix: str = "") -> str:
    """`schema.name` or `name`, with the suffix, each part quoted."""
    *schema, own_name = name.split(".")
    if len(schema) > 1:
        raise ValueError(f"{name!r} is neither a name nor schema.name")
    return ".".join(_quoted(part) for part in [*schema, own_name + suffix])


def _quoted(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name) or len(name) > _LONGEST_IDENTIFIER:
        raise ValueError(f"{name!r} is no plain identifier of at most {_LONGEST_IDENTIFIER} characters")
    return f'"{name}"'


def origin_of(log: str) -> str:
    return _file("origin").format_map({"log_literal": f"'{qualified(log)}'"})


def identity_of(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()[:16]
