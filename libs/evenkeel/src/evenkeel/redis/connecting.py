"""Redis connections that are named, bounded, timed, and never send a command twice on their own."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.maint_notifications import MaintNotificationsConfig

CONNECT_TIMEOUT = 2.0
"""Seconds until an attempt to connect fails."""

COMMAND_TIMEOUT = 2.0
"""Seconds until a command without an answer fails. It may have been executed or not."""

NO_MAINTENANCE = MaintNotificationsConfig(enabled=False)
"""Otherwise redis-py moves connections when a managed server announces maintenance, and stops checking idle ones."""

DRIVER = DriverInfo()
"""Otherwise redis-py reads its own version from the disk for each connection, which takes milliseconds."""


def connect(url: str, *, name: str, connections: int = 8, timeout: float = COMMAND_TIMEOUT) -> Redis:
    """A client of bytes in, bytes out, whose commands fail after `timeout` seconds; opens nothing yet.

    redis-py repeats every command up to ten times by default, INCR included. Then a lost reply would count twice. This
    client repeats nothing, and the caller decides. redis-py's plain pool raises an error when it is full. This pool
    waits for a free connection.
    """
    # Only TCP connections have this option.
    options = {} if url.startswith("unix:") else {"socket_keepalive": True}
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout,
        client_name=name,
        socket_connect_timeout=min(timeout, CONNECT_TIMEOUT),
        socket_timeout=timeout,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=NO_MAINTENANCE,
        driver_info=DRIVER,
        protocol=3,
        decode_responses=False,
        **options,
    )
    return Redis.from_pool(pool)
