"""A real PgBouncer in transaction mode, with so few server connections that clients have to share them."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
from tests.support.child import Child

from stack.layout import free_port
from stack.process import Program

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
"""The path of PgBouncer; None if it is not installed. Its package puts it where only root's PATH looks."""


def _version() -> tuple[int, ...]:
    if PROGRAM is None:
        return ()
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(number) for number in re.findall(r"\d+", said.splitlines()[0]))


PREPARED = [0, 100] if _version() >= (1, 21) else [0]
"""Values of `max_prepared_statements` to test with: none is carried, or so many. Older versions carry none."""

POOL_SIZE = 2
"""Connections to PostgreSQL, however many clients there are."""


class PgBouncer(Child):
    """Every database and role of one PostgreSQL, through a pool."""

    def __init__(self, postgres: str, directory: Path, prepared: int) -> None:
        """`postgres` is the server's connection URL. PgBouncer knows only the role in it."""
        target = urlsplit(postgres)
        self._port = free_port()
        self._netloc = f"{target.username}:{target.password}@127.0.0.1:{self._port}"
        configuration = directory / "pgbouncer.ini"
        users = directory / "users.txt"
        users.write_text(f'"{unquote(target.username or "")}" "{unquote(target.password or "")}"\n')
        # No startup parameter is ignored. If no prepared statement is remembered either, what works here works with the
        # default settings of every version of PgBouncer.
        configuration.write_text(
            f"""
[databases]
* = host={target.hostname} port={target.port}

[pgbouncer]
pool_mode = transaction
default_pool_size = {POOL_SIZE}
listen_addr = 127.0.0.1
listen_port = {self._port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
max_client_conn = 200
# Hand the servers around as much as possible.
server_round_robin = 1
# As for an operator who restarts PostgreSQL: do not wait 15 seconds until it is tried again.
server_login_retry = 1
{f"max_prepared_statements = {prepared}" if len(PREPARED) > 1 else ""}
"""
        )
        argv = [PROGRAM or "pgbouncer", str(configuration)]
        if os.geteuid() == 0:  # PgBouncer refuses to run as root
            nobody = pwd.getpwnam("nobody")
            for path in (directory, configuration, users):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
            argv += ["--user", nobody.pw_name]
        super().__init__(
            Program(name="pgbouncer", service="pgbouncer", argv=argv, ready=self._answers, stop_signal=signal.SIGTERM),
            directory / "pgbouncer.log",
        )

    def url(self, database_url: str) -> str:
        """The same database, through this pool."""
        return urlsplit(database_url)._replace(netloc=self._netloc).geturl()

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(
                self.url("postgresql:///postgres"), timeout=3, statement_cache_size=0, ssl=False
            )
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True


@asynccontextmanager
async def pgbouncer(postgres: str, *, prepared: int = 0) -> AsyncIterator[PgBouncer]:
    # Not pytest's own directory, because only the user who runs pytest may enter it.
    with tempfile.TemporaryDirectory(prefix="evenkeel-pgbouncer-") as name:
        async with PgBouncer(postgres, Path(name), prepared) as pool:
            yield pool
