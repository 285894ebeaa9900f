"""The command line."""

import argparse
import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import psutil

from stack import console, control, daemon, logs, status, tokens
from stack.access import CHOICES, DEFAULT
from stack.errors import StackError, UsageError
from stack.files import write_json
from stack.layout import Layout
from stack.options import DEFAULT_PORT, DEFAULT_REPLICAS, MAX_REPLICAS, Options, whole_number
from stack.services import SERVICES
from stack.signing_keys import SigningKeys
from stack.state import State

# For a supervisor that hangs; stopping everything takes a few seconds.
DOWN_TIMEOUT = 90.0


def main() -> None:
    console.main(parser())


def up(layout: Layout, arguments: argparse.Namespace) -> int:
    options = Options.read(vars(arguments), os.environ)
    layout.make()
    request = {"command": "up", "options": options.as_dict()}
    try:
        answer = control.ask(console.control_socket(layout), request)
    except control.NotRunningError:
        answer = _launch_and_ask(layout, request)
    console.write(status.welcome(answer))
    return 0


def down(layout: Layout, arguments: argparse.Namespace) -> int:
    _stop(layout)
    if arguments.delete_data:
        _delete(layout)
    return 0


def show_status(layout: Layout, arguments: argparse.Namespace) -> int:
    try:
        answer = control.ask(console.control_socket(layout), {"command": "status"}, timeout=30)
    except control.NotRunningError:
        if not arguments.json:
            if orphans := State(layout.state).orphans():
                names = ", ".join(record.name for record, _ in orphans)
                raise StackError(
                    f"the supervisor is gone, and nobody watches {names}: `make up` or `make down`"
                ) from None
            raise
        console.write(json.dumps({"gateway": None, "processes": []}))
        return 1
    console.write(json.dumps(answer, indent=1) if arguments.json else status.table(answer))
    return 0


def scale(layout: Layout, arguments: argparse.Namespace) -> int:
    count = whole_number("the number of replicas", arguments.count, 0, MAX_REPLICAS)
    request = {"command": "scale", "service": arguments.service, "count": count}
    console.write(status.table(control.ask(console.control_socket(layout), request)))
    return 0


def restart(layout: Layout, arguments: argparse.Namespace) -> int:
    request = {"command": "restart", "service": arguments.service}
    console.write(status.table(control.ask(console.control_socket(layout), request)))
    return 0


def reload(layout: Layout, arguments: argparse.Namespace) -> int:
    request = {"command": "reload", "service": arguments.service}
    console.write(status.table(control.ask(console.control_socket(layout), request)))
    return 0


def token(layout: Layout, arguments: argparse.Namespace) -> int:
    lifetime = whole_number("--lifetime", arguments.lifetime, 1, tokens.MAX_LIFETIME)
    keys = SigningKeys.load_or_create(_signing_keys(layout))
    text = tokens.mint(keys, arguments.scopes, lifetime=lifetime, subject=arguments.subject)
    if arguments.jwks:
        write_json(Path(arguments.jwks), keys.public(), mode=0o644)
    console.write(text)
    return 0


def rotate_keys(layout: Layout, _: argparse.Namespace) -> int:
    SigningKeys.rotate(_signing_keys(layout))
    with contextlib.suppress(control.NotRunningError):
        control.ask(console.control_socket(layout), {"command": "reload", "service": "gateway"})
    console.write("tokens are signed with a new key; those of the key before stay valid until the next rotation")
    return 0


def show_logs(layout: Layout, arguments: argparse.Namespace) -> int:
    count = whole_number("--lines", arguments.lines, 0, 1_000_000)
    available = {path.stem: path for path in sorted(layout.logs.glob("*.log"))}
    chosen = [
        path for name, path in available.items() if name == arguments.name or name.startswith(f"{arguments.name}-")
    ]
    if not chosen:
        known = ", ".join(available) or "none yet"
        raise UsageError(f"there is no log of {arguments.name!r}; there are: {known}")
    new_lines = logs.follow(chosen)
    for path in chosen:
        for line in logs.tail(path, count):
            _print_log(path, line, several=len(chosen) > 1)
    if arguments.follow:
        for path, line in new_lines:
            _print_log(path, line, several=len(chosen) > 1)
    return 0


def _launch_and_ask(layout: Layout, request: control.Request) -> control.Answer:
    supervisor = daemon.launch(layout)
    try:
        return control.ask(layout.control_socket, request)
    except KeyboardInterrupt:
        _stop(layout)
        raise
    except control.NotRunningError as error:
        raise StackError(f"the supervisor went away; see {layout.log('supervisor')}") from error
    except StackError:
        supervisor.wait(DOWN_TIMEOUT)  # it leaves when nothing could be started
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
        for name in daemon.clean_up(layout):
            console.write(f"{name} was left by a supervisor that had been killed, and is stopped now")


def _delete(layout: Layout) -> None:
    """Delete what the stack has made, and nothing else that may be in the directory."""
    if not layout.directory.exists():
        return
    if not (layout.state.exists() or layout.signing_keys.exists()):
        raise StackError(f"{layout.directory} holds no stack, and nothing in it was deleted")
    for folder in (layout.data, layout.logs, layout.gateway):
        if folder.exists():
            shutil.rmtree(folder)
    for file in (layout.secrets, layout.signing_keys, layout.state, layout.lock):
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        layout.directory.rmdir()


def _signing_keys(layout: Layout) -> Path:
    """Where they are, or will be; the stack need not have run."""
    layout.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return layout.signing_keys


def _print_log(path: Path, line: str, *, several: bool) -> None:
    console.write(f"{path.stem} | {line}" if several else line)


def parser() -> console.Parser:
    parser = console.Parser(prog="stack", description="Evenkeel on this machine: servers, replicas and gateway.")
    parser.add_argument("--directory", help="where data and logs are kept (STACK_DIRECTORY; default: .stack)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=console.Parser)

    command = commands.add_parser("up", help="start everything, or bring back what has died")
    replicas = f"0 to {MAX_REPLICAS}; default {DEFAULT_REPLICAS}"
    command.add_argument("--user-api-replicas", metavar="N", help=f"{replicas} (USER_API_REPLICAS)")
    command.add_argument("--counter-api-replicas", metavar="N", help=f"{replicas} (COUNTER_API_REPLICAS)")
    command.add_argument("--port", help=f"of the gateway, on 127.0.0.1; default {DEFAULT_PORT} (PORT)")
    command.add_argument(
        "--access",
        metavar="|".join(CHOICES),
        help=f"tokens: a request needs a token; {DEFAULT}: none does, the default (GATEWAY_ACCESS)",
    )
    command.add_argument("--postgres-url", metavar="URL", help="use this PostgreSQL instead of an embedded one")
    command.add_argument("--cache-url", metavar="URL", help="use this Redis for the cache")
    command.add_argument("--counters-url", metavar="URL", help="use this Redis for the counters")
    switch: dict[str, Any] = {"dest": "sidecars", "action": "store_const"}
    command.add_argument(
        "--sidecars",
        const="true",
        **switch,
        help="a replica of the cache beside each user-api, to read from (STACK_SIDECARS=true)",
    )
    command.add_argument("--no-sidecars", const="false", **switch, help="none; the default")
    command.set_defaults(run=up)

    command = commands.add_parser("down", help="stop everything; data is kept")
    command.add_argument("--delete-data", action="store_true", help="delete data, logs and passwords as well")
    command.set_defaults(run=down)

    command = commands.add_parser("status", help="what runs where; exit status 1 when nothing does")
    command.add_argument("--json", action="store_true", help="for programs; holds passwords")
    command.set_defaults(run=show_status)

    command = commands.add_parser("scale", help="change the number of replicas")
    command.add_argument("service", choices=SERVICES)
    command.add_argument("count")
    command.set_defaults(run=scale)

    command = commands.add_parser("restart", help="replace the replicas one by one; no request fails")
    command.add_argument("service", choices=SERVICES)
    command.set_defaults(run=restart)

    _add_gateway(commands)

    command = commands.add_parser("logs", help="what a process has written")
    command.add_argument("name", help="of a process, or a service for all its replicas")
    command.add_argument("-n", "--lines", default="100", help="how many lines of each (100)")
    command.add_argument("-f", "--follow", action="store_true", help="go on with what is written from now on")
    command.set_defaults(run=show_logs)
    return parser


def _add_gateway(commands: "argparse._SubParsersAction[console.Parser]") -> None:
    command = commands.add_parser("reload", help="take the files in gateway/ as they are now; no request fails")
    command.add_argument("service", choices=["gateway"])
    command.set_defaults(run=reload)

    command = commands.add_parser("token", help="print an access token for the gateway")
    command.add_argument("scopes", metavar="SCOPE", nargs="*", help=", ".join(tokens.SCOPES))
    command.add_argument("--lifetime", default=str(tokens.DEFAULT_LIFETIME), help="in seconds (3600)")
    command.add_argument("--subject", default=tokens.DEFAULT_SUBJECT, help="who it is for; appears in the access log")
    command.add_argument("--jwks", metavar="FILE", help="write the public keys there, for another gateway")
    command.set_defaults(run=token)

    command = commands.add_parser(
        "rotate-keys", help="sign tokens with a new key; those of the key before stay valid until the next rotation"
    )
    command.set_defaults(run=rotate_keys)
