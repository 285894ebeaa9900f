"""`user-api serve`, `user-api migrate` and `user-api forget-cache`. Each imports no more than it needs."""

import argparse
import asyncio
import sys

from evenkeel.service.starting import quick_start
from evenkeel.tasks.failures import first_line


def main() -> None:
    parser = argparse.ArgumentParser(prog="user-api", description="Users, read through a shared cache.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="run one replica")
    commands.add_parser("migrate", help="bring the database schema up to date, then exit")
    commands.add_parser("forget-cache", help="empty the cache, in Redis and in all replicas, then exit")
    match parser.parse_args().command:
        case "migrate":
            _migrate()
        case "forget-cache":
            _forget_cache()
        case _:
            _serve()


def _serve() -> None:
    with quick_start():
        from evenkeel.service import server  # noqa: PLC0415 (nothing large before this block)
        from evenkeel.service.settings import load  # noqa: PLC0415
        from user_api.main import create_app  # noqa: PLC0415
        from user_api.settings import Settings  # noqa: PLC0415

        settings = load(Settings)
        server.serve(create_app(settings), settings)


def _migrate() -> None:
    # A replica does not hold SQLAlchemy and Alembic in memory.
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from evenkeel.service import logs  # noqa: PLC0415
    from evenkeel.service.settings import load  # noqa: PLC0415
    from user_api.migrate import MigrationRefused, migrate  # noqa: PLC0415
    from user_api.settings import MigrationSettings  # noqa: PLC0415

    settings = load(MigrationSettings)
    logs.configure(settings.log_level, settings.replica_name)
    try:
        asyncio.run(migrate(settings))
    except (OSError, SQLAlchemyError, MigrationRefused) as error:
        sys.exit(f"user-api migrate: {first_line(error)}")


def _forget_cache() -> None:
    import asyncpg  # noqa: PLC0415
    from redis.exceptions import RedisError  # noqa: PLC0415

    from evenkeel.service import logs  # noqa: PLC0415
    from evenkeel.service.settings import load  # noqa: PLC0415
    from user_api.settings import Settings  # noqa: PLC0415
    from user_api.stores import forget  # noqa: PLC0415

    settings = load(Settings)
    logs.configure(settings.log_level, settings.replica_name)
    if "redis" not in settings.cache_tiers:
        sys.exit("user-api forget-cache: USER_API_CACHE_TIERS names no redis; replicas forget when they are restarted")
    try:
        forgotten = asyncio.run(forget(settings))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, RedisError) as error:
        sys.exit(f"user-api forget-cache: {first_line(error)}")
    print("the cache is forgotten" if forgotten else "there was no cache to forget")  # noqa: T201 (what it is run for)
