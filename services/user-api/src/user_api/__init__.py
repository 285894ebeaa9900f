"""Users in PostgreSQL, read through a cache that any number of replicas share."""

from evenkeel.service.telemetry import left_out

with left_out():
    import redis.asyncio  # noqa: F401 (the first import of it in this process)
