"""`user-api serve` and `user-api migrate`."""

import argparse
import asyncio
import sys

from sqlalchemy.exc import SQLAlchemyError

from evenkeel import logs, server
from evenkeel.first_line import first_line
from evenkeel.settings import load
from user_api.main import create_app
from user_api.settings import MigrationSettings, Settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="user-api", description="Users, read through a shared cache.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="run one replica")
    commands.add_parser("migrate", help="bring the database schema up to date, then exit")
    if parser.parse_args().command == "migrate":
        _migrate()
    else:
        settings = load(Settings)
        server.serve(create_app(settings), settings)


def _migrate() -> None:
    from user_api.migrate import migrate  # noqa: PLC0415 (a replica need not hold Alembic in memory)

    settings = load(MigrationSettings)
    logs.configure(settings.log_level, settings.replica_name)
    try:
        asyncio.run(migrate(settings))
    except (OSError, SQLAlchemyError) as error:
        sys.exit(f"user-api migrate: {first_line(error)}")
