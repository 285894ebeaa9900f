"""What FastAPI tutorials teach. These applications were written for this comparison."""

import asyncio
import json
import os
from typing import Any

from benchmarks.contestants.floor import USER
from fastapi import FastAPI
from redis.asyncio import Redis


def in_a_dict() -> FastAPI:
    app = FastAPI()
    cache: dict[int, dict[str, Any]] = {}

    @app.get("/v1/users/{user_id}")
    async def get_user(user_id: int) -> dict[str, Any]:
        if user_id not in cache:
            cache[user_id] = USER | {"id": user_id}
        return {"source": "memory", "data": cache[user_id]}

    return app


def in_redis() -> FastAPI:
    app = FastAPI()
    redis = Redis.from_url(os.environ["CACHE_URL"])

    @app.get("/v1/users/{user_id}")
    async def get_user(user_id: int) -> dict[str, Any]:
        cached = await redis.get(f"tutorial:{user_id}")
        if cached is not None:
            return {"source": "redis", "data": json.loads(cached)}
        user = USER | {"id": user_id}
        await redis.setex(f"tutorial:{user_id}", 600, json.dumps(user))
        return {"source": "database", "data": user}

    return app


def counter_with_lock() -> FastAPI:
    app = FastAPI()
    lock = asyncio.Lock()
    count = 0

    @app.post("/v1/counters/{name}/increment")
    async def increment(name: str) -> dict[str, Any]:
        nonlocal count
        async with lock:
            count += 1
            return {"name": name, "value": count}

    return app


def counter_in_redis() -> FastAPI:
    app = FastAPI()
    redis = Redis.from_url(os.environ["COUNTERS_URL"])

    @app.post("/v1/counters/{name}/increment")
    async def increment(name: str) -> dict[str, Any]:
        return {"name": name, "value": await redis.incr(f"tutorial:{name}")}

    return app
