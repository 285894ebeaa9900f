"""The command line."""

import contextlib
import json
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import BinaryIO

import click
import psutil

from stack import console, control, launch, logs, progress, status, tokens, transfer
from stack.access import CHOICES, DEFAULT
from stack.console import pass_layout
from stack.errors import StackError, UsageError
from stack.files import write_json, written_atomically
from stack.layout import Layout
from stack.options import DEFAULT_PORT, DEFAULT_REPLICAS, MAX_REPLICAS, Options
from stack.services import SERVICES
from stack.state import ORPHAN_TIMEOUT, State

# For a supervisor that hangs; stopping everything takes a few seconds.
DOWN_TIMEOUT = 90.0

REPLICAS = f"0 to {MAX_REPLICAS}; default {DEFAULT_REPLICAS}"


@click.group("stack", cls=console.Program)
@console.directory_option("The folder of data and logs (STACK_DIRECTORY; default: .stack).")
def main(directory: str | None) -> None:
    """Evenkeel on this machine: servers, replicas and gateway."""
    del directory  # pass_layout reads it


@main.command()
@click.option("--user-api-replicas", metavar="N", help=f"{REPLICAS} (USER_API_REPLICAS).")
@click.option("--counter-api-replicas", metavar="N", help=f"{REPLICAS} (COUNTER_API_REPLICAS).")
@click.option("--port", metavar="PORT", help=f"Of the gateway, on 127.0.0.1; default {DEFAULT_PORT} (PORT).")
@click.option(
    "--access",
    metavar="|".join(CHOICES),
    help=f"tokens: a request needs a token; {DEFAULT}: it needs none, the default (GATEWAY_ACCESS).",
)
@click.option("--postgres-url", metavar="URL", help="Use this PostgreSQL instead of an embedded one.")
@click.option("--cache-url", metavar="URL", help="Use this Redis for the cache.")
@click.option("--counters-url", metavar="URL", help="Use this Redis for the counters.")
@click.option(
    "--sidecars/--no-sidecars",
    default=None,
    help="Start a replica of the cache beside each user-api, to read from (STACK_SIDECARS=true); default: no.",
)
@pass_layout
def up(layout: Layout, /, *, sidecars: bool | None, **arguments: str | None) -> int:
    """Start everything, or bring back what has died."""
    switch = None if sidecars is None else str(sidecars).lower()
    options = Options.read(arguments | {"sidecars": switch}, os.environ)
    layout.make()
    request = {"command": "up", "options": options.as_dict()}
    with progress.shown(layout, "Starting …"):
        try:
            answer = control.ask(console.control_socket(layout), request)
        except control.NotRunningError:
            answer = _launch_and_ask(layout, request)
    status.table(answer).show()
    console.write(f"\n{status.welcome(answer)}")
    return 0


@main.command()
@click.option("--delete-data", is_flag=True, help="Delete data, logs and passwords as well.")
@pass_layout
def down(layout: Layout, /, *, delete_data: bool) -> int:
    """Stop everything; data is kept."""
    _stop(layout)
    if delete_data:
        _delete(layout)
    return 0


@main.command("status")
@click.option("--json", "as_json", is_flag=True, help="For programs; contains passwords.")
@pass_layout
def show_status(layout: Layout, /, *, as_json: bool) -> int:
    """Show what runs where; exit status 1 when nothing runs."""
    try:
        answer = control.ask(console.control_socket(layout), {"command": "status"}, timeout=30)
    except control.NotRunningError:
        if not as_json:
            if orphans := State(layout.state).orphans():
                names = ", ".join(record.name for record, _ in orphans)
                raise StackError(
                    f"the supervisor is gone, and nothing restarts {names}: run `make up` or `make down`"
                ) from None
            raise
        console.write(json.dumps({"gateway": None, "processes": []}))
        return 1
    if as_json:
        console.write(json.dumps(answer, indent=1))
    else:
        status.table(answer).show()
    return 0


@main.command(context_settings={"ignore_unknown_options": True})  # so that -1 is a wrong count, not an unknown option
@click.argument("service", type=click.Choice(SERVICES))
@click.argument("count", type=click.IntRange(0, MAX_REPLICAS))
@pass_layout
def scale(layout: Layout, /, *, service: str, count: int) -> int:
    """Change the number of replicas."""
    return _change(layout, f"Scaling {service} …", {"command": "scale", "service": service, "count": count})


@main.command()
@click.argument("service", type=click.Choice(SERVICES))
@pass_layout
def restart(layout: Layout, /, *, service: str) -> int:
    """Replace the replicas one by one; no request fails."""
    return _change(layout, f"Replacing {service} …", {"command": "restart", "service": service})


@main.command()
@click.argument("service", type=click.Choice(["gateway"]))
@pass_layout
def reload(layout: Layout, /, *, service: str) -> int:
    """Use the files in gateway/ as they are now; no request fails."""
    return _change(layout, f"Reloading {service} …", {"command": "reload", "service": service})


@main.command()
@click.argument("scopes", metavar="SCOPE...", nargs=-1)
@click.option(
    "--lifetime",
    type=click.IntRange(1, tokens.MAX_LIFETIME),
    default=tokens.DEFAULT_LIFETIME,
    help=f"In seconds ({tokens.DEFAULT_LIFETIME}).",
)
@click.option("--subject", default=tokens.DEFAULT_SUBJECT, help="The owner's name; it appears in the access log.")
@click.option("--jwks", metavar="FILE", help="Write the public keys there, for another gateway.")
@pass_layout
def token(layout: Layout, /, *, scopes: tuple[str, ...], lifetime: int, subject: str, jwks: str | None) -> int:
    """Print an access token for the gateway.

    The scopes are users:read, users:write, counters:read, counters:write and fleet:read.
    """
    from stack.signing_keys import SigningKeys  # noqa: PLC0415 (its cryptography is slow to import)

    keys = SigningKeys.load_or_create(_signing_keys(layout))
    text = tokens.mint(keys, scopes, lifetime=lifetime, subject=subject)
    if jwks:
        write_json(Path(jwks), keys.public(), mode=0o644)
    console.write(text)
    return 0


@main.command()
@pass_layout
def rotate_keys(layout: Layout) -> int:
    """Sign tokens with a new key. Tokens of the previous key stay valid until the next rotation."""
    from stack.signing_keys import SigningKeys  # noqa: PLC0415 (as above)

    SigningKeys.rotate(_signing_keys(layout))
    with contextlib.suppress(control.NotRunningError):
        control.ask(console.control_socket(layout), {"command": "reload", "service": "gateway"})
    console.write("tokens are signed with a new key; those of the previous key stay valid until the next rotation")
    return 0


@main.command("export")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--prefix", default="", help="Only counters whose names begin so.")
@pass_layout
def export_counters(layout: Layout, /, *, file: str, prefix: str) -> int:
    """Write all counters to FILE, a line of JSON each; - is standard output.

    FILE is replaced when the export is complete, and stays as it was if the export fails.
    """
    target = Path(file).resolve()
    if file != "-" and target.exists() and not target.is_file():
        raise UsageError(f"{file} is no file that can be replaced")
    gateway = transfer.Gateway.of(layout, console.control_socket(layout), "counters:read")
    if file == "-":
        for piece in transfer.exported(gateway, prefix):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return 0
    count = 0
    try:
        with written_atomically(target) as lines, progress.moved(f"exporting to {file}", None) as moved:
            for piece in transfer.exported(gateway, prefix):
                lines.write(piece)
                count += piece.count(b"\n")
                moved(len(piece))
    except OSError as error:
        raise StackError(f"{file} cannot be written: {error.strerror}") from error
    console.write(f"exported {_counters(count)} to {file}")
    return 0


@main.command("import")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--key", metavar="KEY", help="Of an import that failed: go on where it was.")
@pass_layout
def import_counters(layout: Layout, /, *, file: str, key: str | None) -> int:
    """Set the counters in FILE, as `stack export` writes it; - is standard input. Other counters stay."""
    gateway = transfer.Gateway.of(layout, console.control_socket(layout), "counters:write")
    key = secrets.token_hex(8) if key is None else key
    if not (key.isascii() and key.isprintable() and key.strip()):
        raise UsageError("--key must be printable ASCII characters")
    go_on = f"to go on where the import was, add --key {key}"
    try:
        with _opened(file) as lines:
            total = os.fstat(lines.fileno()).st_size if lines.seekable() else None
            with progress.moved(f"importing {file}", total) as moved:
                count = transfer.imported(gateway, lines, key, moved)
    except transfer.TransferError as error:
        raise StackError(f"{str(error).rstrip('.')}; {go_on}") from error
    except KeyboardInterrupt:
        sys.stderr.write(f"{go_on}\n")
        raise
    console.write(f"imported {_counters(count)}")
    return 0


@main.command("logs")
@click.argument("name")
@click.option("-n", "--lines", type=click.IntRange(0, 1_000_000), default=100, help="How many lines of each (100).")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines.")
@pass_layout
def show_logs(layout: Layout, /, *, name: str, lines: int, follow: bool) -> int:
    """Print the log of a process, or of all replicas of a service."""
    available = {path.stem: path for path in sorted(layout.logs.glob("*.log"))}
    chosen = [path for each, path in available.items() if each == name or each.startswith(f"{name}-")]
    if not chosen:
        known = ", ".join(available) or "none yet"
        raise UsageError(f"there is no log of {name!r}; there are: {known}")
    new_lines = logs.follow(chosen)
    for path in chosen:
        for line in logs.tail(path, lines):
            _print_log(path, line, several=len(chosen) > 1)
    if follow:
        for path, line in new_lines:
            _print_log(path, line, several=len(chosen) > 1)
    return 0


def _change(layout: Layout, what: str, request: control.Request) -> int:
    with progress.shown(layout, what):
        answer = control.ask(console.control_socket(layout), request)
    status.table(answer).show()
    return 0


def _launch_and_ask(layout: Layout, request: control.Request) -> control.Answer:
    supervisor = launch.launch(layout)
    try:
        return control.ask(layout.control_socket, request)
    except KeyboardInterrupt:
        _stop(layout)
        raise
    except control.NotRunningError as error:
        raise StackError(f"the supervisor ended; see {layout.log('supervisor')}") from error
    except StackError:
        supervisor.wait(DOWN_TIMEOUT)  # it ends when nothing could be started
        raise


def _stop(layout: Layout) -> None:
    """Stop what runs; returns when the supervisor is gone, too."""
    supervisor = State(layout.state).supervisor_process()
    try:
        answer = control.ask(console.control_socket(layout), {"command": "down"}, timeout=DOWN_TIMEOUT)
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(answer["pid"]).wait(DOWN_TIMEOUT)
    except control.NotRunningError:
        pass
    except StackError:
        if supervisor:
            supervisor.kill()
            supervisor.wait(DOWN_TIMEOUT)
    if layout.state.exists():
        with contextlib.suppress(FileNotFoundError):  # the same command, at the same time, has deleted it
            for name in launch.clean_up(layout):
                console.write(f"{name} was left by a supervisor that had been killed; it is stopped now")


def _delete(layout: Layout) -> None:
    """Delete what the stack has made, and nothing else in its directory. A stack that starts meanwhile stays."""
    if not layout.directory.exists() or {path.name for path in layout.directory.iterdir()} <= {layout.lock.name}:
        return
    if not (layout.state.exists() or layout.signing_keys.exists()):
        raise StackError(f"{layout.directory} holds no stack, and nothing in it was deleted")
    with contextlib.suppress(FileNotFoundError), launch.holding(layout, patience=ORPHAN_TIMEOUT):
        for folder in (layout.data, layout.logs, layout.gateway):
            if folder.exists():
                shutil.rmtree(folder)
        for file in (layout.secrets, layout.signing_keys, layout.state, layout.lock):
            file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        layout.directory.rmdir()


def _opened(file: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if file == "-":
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error


def _counters(count: int) -> str:
    return f"{count:,} counter{'' if count == 1 else 's'}"


def _signing_keys(layout: Layout) -> Path:
    """Where the keys are, or will be; the stack need not have run."""
    layout.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return layout.signing_keys


def _print_log(path: Path, line: str, *, several: bool) -> None:
    console.write(f"{path.stem} | {line}" if several else line)
