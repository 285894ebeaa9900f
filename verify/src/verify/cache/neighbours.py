"""Another database of the same service on the same Redis. The two must never see each other's users."""

import asyncio
import secrets

from stack import command, services
from stack.credentials import Credentials
from stack.errors import StackError
from stack.layout import free_port
from stack.postgres import Postgres
from verify.cache import own
from verify.cache.load import Load
from verify.cache.prober import Prober
from verify.cache.rows import Rows
from verify.cache.scene import SEEN_BY_THEN, Scene
from verify.cache.sql import connected
from verify.target import FixedTargets, Targets

USERS = 100
"""Users of the neighbour, with ids that users of this run have as well."""

REPLICAS = 2

TOGETHER = 2 * SEEN_BY_THEN
"""Seconds for which both databases are read and written."""


async def move_in(scene: Scene) -> None:
    theirs = scene.local.settings()
    async with own.beside() as beside:
        postgres = Postgres(
            beside.directory / "postgres", free_port(), Credentials(), log_file=beside.directory / "postgres.log"
        )
        await postgres.create()
        await beside.start(postgres.program())
        settings = theirs | {"USER_API_DATABASE_URL": postgres.url}
        await command.run(
            "user-api migrate",
            [services.command("user-api"), "migrate"],
            log_file=beside.directory / "migrate.log",
            environment=settings,
        )
        async with connected(postgres.url) as connection:
            first = min(row.id for row in scene.rows.living)
            await connection.execute(f"ALTER TABLE users ALTER id RESTART WITH {first}")
        neighbours = FixedTargets([await beside.replica(settings) for _ in range(REPLICAS)])
        await _live(scene, neighbours)


async def _live(scene: Scene, neighbours: Targets) -> None:
    rows = Rows(secrets.token_hex(4))
    prober = Prober(rows)
    for _ in range(USERS):
        await prober.create(neighbours.any(), scene.tally)
    if not len(rows):
        raise StackError("the second database takes no users")
    load = Load(prober, rows, neighbours, None, scene.rates, scene.tally)
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        await asyncio.sleep(TOGETHER)
        load.stop()
