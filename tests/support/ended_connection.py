"""What PostgreSQL sends before it ends a connection."""

from typing import Any


def end_by_postgres(driver: Any) -> None:
    """Bring asyncpg's connection into the state between PostgreSQL's last message and the end of the connection."""
    fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
    driver._protocol.data_received(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
