"""Another database of the same service on the same Redis. The two must never see each other's users."""

import asyncio
import secrets

from stack import command, services
from stack.credentials import Credentials
from stack.errors import StackError
from stack.layout import free_port
from stack.postgres import Postgres
from verify.cache.extra_programs import extra_programs
from verify.cache.load import Load
from verify.cache.prober import Prober
from verify.cache.rows import Rows
from verify.cache.scene import SEEN_BY_THEN, Scene
from verify.cache.sql import connected
from verify.target import FixedTargets, Targets

USERS = 100
"""Users of the second database, with ids that users of this run have as well."""

REPLICAS = 2

TOGETHER = 2 * SEEN_BY_THEN
"""Seconds for which both databases are read and written."""


async def share_redis(scene: Scene) -> None:
    theirs = scene.local.settings()
    async with extra_programs() as extra:
        postgres = Postgres(
            extra.directory / "postgres", free_port(), Credentials(), log_file=extra.directory / "postgres.log"
        )
        await postgres.create()
        await extra.start(postgres.program())
        settings = theirs | {"USER_API_DATABASE_URL": postgres.url}
        await command.run(
            "user-api migrate",
            [services.command("user-api"), "migrate"],
            log_file=extra.directory / "migrate.log",
            environment=settings,
        )
        async with connected(postgres.url) as connection:
            first = min(row.id for row in scene.rows.living)
            await connection.execute(f"ALTER TABLE users ALTER id RESTART WITH {first}")
        replicas = FixedTargets([await extra.replica(settings) for _ in range(REPLICAS)])
        await _read_and_write(scene, replicas)


async def _read_and_write(scene: Scene, replicas: Targets) -> None:
    rows = Rows(secrets.token_hex(4))
    prober = Prober(rows)
    for _ in range(USERS):
        await prober.create(replicas.any(), scene.tally)
    if not len(rows):
        raise StackError("the second database takes no users")
    load = Load(prober, rows, replicas, None, scene.rates, scene.tally)
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        await asyncio.sleep(TOGETHER)
        load.stop()
