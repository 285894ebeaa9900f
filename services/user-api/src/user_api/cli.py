"""`user-api serve`, `user-api migrate` and `user-api forget-cache`."""

import argparse
import asyncio
import sys

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from evenkeel.service import logs, server
from evenkeel.service.settings import load
from evenkeel.tasks.failures import first_line
from user_api.main import create_app, forget
from user_api.settings import MigrationSettings, Settings


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
            settings = load(Settings)
            server.serve(create_app(settings), settings)


def _migrate() -> None:
    from user_api.migrate import MigrationRefused, migrate  # noqa: PLC0415 (a replica need not hold Alembic in memory)

    settings = load(MigrationSettings)
    logs.configure(settings.log_level, settings.replica_name)
    try:
        asyncio.run(migrate(settings))
    except (OSError, SQLAlchemyError, MigrationRefused) as error:
        sys.exit(f"user-api migrate: {first_line(error)}")


def _forget_cache() -> None:
    settings = load(Settings)
    logs.configure(settings.log_level, settings.replica_name)
    if "redis" not in settings.cache_tiers:
        sys.exit("user-api forget-cache: USER_API_CACHE_TIERS names no redis; replicas forget when they are restarted")
    try:
        forgotten = asyncio.run(forget(settings))
    except (OSError, SQLAlchemyError, RedisError) as error:
        sys.exit(f"user-api forget-cache: {first_line(error)}")
    print("the cache is forgotten" if forgotten else "there was no cache to forget")  # noqa: T201 (what it is run for)
