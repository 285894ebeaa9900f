"""The options of `verify cache` with which any service is measured."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from stack.errors import UsageError
from verify.cache.any_service.commands import fault_commands
from verify.cache.any_service.measurement import Service
from verify.cache.any_service.prober import Requests
from verify.cache.any_service.templates import Template, ValuePath, headers, server
from verify.cache.open_loop import Rates

F = TypeVar("F", bound=Callable[..., Any])

NEEDED = ("ids", "read", "write", "value")

EVENKEELS = ("targets", "faults", "users", "reads", "writes")
"""Options of the verification of Evenkeel. Together with these they would have no meaning."""

WRITE_SHARE = 0.1
"""Of the requests. Each write that was acknowledged is read back, in addition to the rate."""


def any_service(command: F) -> F:
    for option in reversed(
        (
            _text("--ids", "ID,…", "the records that may be written. The old values are written back."),
            _text("--read", "'GET URL'", "how a record is read, with {id} in the URL."),
            _text("--write", "'METHOD URL JSON'", 'how a record is written, with {id} and "{value}".'),
            _text("--value", "PATH", "where the value is in the answer to a read, such as data.name."),
            _text("--replica", "URL", "another address to read and write at.", multiple=True),
            _text("--header", "'NAME: VALUE'", "a header of each request.", multiple=True),
            _text("--sql", "DSN 'UPDATE …'", "adds a phase in which this statement changes the records.", nargs=2),
            _text("--sql-read", "'SELECT …'", "finds out whether a write without an answer was committed."),
            _text("--fault", "NAME=COMMAND", "adds a phase in which this is done.", multiple=True),
            _text("--heal", "NAME=COMMAND", "undoes the fault, whatever happens.", multiple=True),
            _number("--rate", 50, 1, 10_000, "how many requests begin in a second"),
            _number("--quiet", 5, 0, 86_400, "for how many seconds a phase goes on without writes"),
            _number("--within", None, 0, 86_400, "fail if an answer is stale for more seconds"),
        )
    ):
        command = option(command)
    return command


def _text(name: str, metavar: str, what: str, **settings: Any) -> Callable[[F], F]:
    return click.option(name, metavar=metavar, help=f"Any service: {what}", **settings)


def _number(name: str, default: float | None, low: float, high: float, what: str) -> Callable[[F], F]:
    stated = "" if default is None else f" ({default})"
    return click.option(
        name, type=click.FloatRange(low, high), metavar="NUMBER", default=default, help=f"Any service: {what}{stated}."
    )


def chosen(own: dict[str, Any], seconds: float) -> Service | None:
    """The service that the options describe; None if there are none of them. Raises UsageError."""
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if not given & own.keys():
        return None
    if missing := [name for name in NEEDED if name not in given]:
        raise UsageError(f"to measure any service, these options are needed too: {', '.join(map(_option, missing))}")
    if foreign := [name for name in EVENKEELS if name in given]:
        raise UsageError(f"{_option(foreign[0])} is for Evenkeel's own services, and cannot be given with --read")
    if own["sql_read"] and not own["sql"]:
        raise UsageError("--sql-read needs --sql, which says where the database is")
    return Service(
        ids=_ids(own["ids"]),
        requests=Requests(Template.read(own["read"]), Template.write(own["write"]), ValuePath.parse(own["value"])),
        replicas=[_replica(url) for url in own["replica"]],
        headers=headers(own["header"]),
        sql=own["sql"] or None,
        sql_read=own["sql_read"],
        faults=fault_commands(own["fault"], own["heal"]),
        rates=Rates(own["rate"] * (1 - WRITE_SHARE), own["rate"] * WRITE_SHARE),
        seconds=seconds,
        quiet=own["quiet"],
        within=math.inf if own["within"] is None else own["within"],
    )


def _ids(text: str) -> list[str]:
    ids = [each.strip() for each in text.split(",")]
    if not all(ids) or len(set(ids)) < len(ids):
        raise UsageError(f"--ids must be different ids with commas between them, like 1,2,3, not {text!r}")
    return ids


def _replica(url: str) -> str:
    address = server("--replica", url)
    if url.rstrip("/") != address:
        raise UsageError(f"--replica must be a URL like http://host:port, not {url!r}")
    return address


def _option(name: str) -> str:
    return "--target" if name == "targets" else f"--{name.replace('_', '-')}"
