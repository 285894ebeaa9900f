"""The programs of the guide that are shown beside Evenkeel, and a Redis for them."""

import sys
from collections.abc import Mapping
from pathlib import Path

from stack.http_probe import http_get
from stack.layout import free_port, repository_root
from stack.process import Program
from stack.valkey import Valkey

WORKERS = 4

DEFAULTS = {"save": "3600 1 300 100 60 10000", "appendonly": "no"}
"""What Redis does without a configuration, as most tutorials and `docker run redis` start it."""


def workers() -> Program:
    """The counter in a global variable, in several workers."""
    return _uvicorn("02_workers", "--workers", str(WORKERS))


def incr(redis_url: str) -> Program:
    """The counter in Redis."""
    return _uvicorn("03_incr", environment={"REDIS_URL": redis_url})


def cache(database_url: str, redis_url: str) -> Program:
    """Users in Redis for five minutes."""
    return _uvicorn("06_redis", environment={"DATABASE_URL": database_url, "REDIS_URL": redis_url})


def redis(name: str, directory: Path) -> Valkey:
    """A Redis server for one of them."""
    return Valkey(name, directory / name, free_port(), "tutorial", DEFAULTS)


def _uvicorn(step: str, *options: str, environment: Mapping[str, str] | None = None) -> Program:
    folder = repository_root() / "docs" / "guide" / "steps" / step
    port = free_port()

    async def ready() -> bool:
        return await http_get("/openapi.json", port=port) is not None

    return Program(
        name=f"tutorial-{step}",
        service="tutorial",
        argv=[
            *(sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(folder), "--port", str(port)),
            *("--no-access-log", *options),
        ],
        ready=ready,
        url=f"http://127.0.0.1:{port}",
        environment=environment or {},
    )


def key(user_id: int) -> str:
    """Where the cache keeps the user."""
    return f"user:{user_id}"


def counter_key(name: str) -> str:
    """Where the counter in Redis is."""
    return f"counter:{name}"
