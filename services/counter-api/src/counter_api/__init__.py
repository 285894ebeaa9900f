"""Counters that stay exact over any number of replicas."""

from evenkeel.service.telemetry import left_out

with left_out():
    import redis.asyncio  # noqa: F401 (the first import of it in this process)
