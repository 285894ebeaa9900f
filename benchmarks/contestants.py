"""The applications that are measured: a floor, the tutorials' ways, and Evenkeel's services. Each is a factory for
uvicorn.

The tutorials' applications were written for this comparison, in the way of a tutorial.
"""

import asyncio
import json
import os
from typing import Any

from fastapi import FastAPI
from redis.asyncio import Redis

USER = {
    "id": 1,
    "email": "user1@example.com",
    "name": "User 1",
    "version": 1,
    "created_at": "2026-11-21T01:13:11.876919Z",
    "updated_at": "2026-11-21T01:13:11.876919Z",
}


def floor() -> Any:
    """A bare ASGI function: the least work with which uvicorn can answer a body of this size."""
    body = json.dumps({"source": "memory", "data": USER}).encode()
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
    }
    answer = {"type": "http.response.body", "body": body}

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send(start)
            await send(answer)
        elif scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})

    return app


def tutorial_dict() -> FastAPI:
    app = FastAPI()
    cache: dict[int, dict[str, Any]] = {}

    @app.get("/v1/users/{user_id}")
    async def get_user(user_id: int) -> dict[str, Any]:
        if user_id not in cache:
            cache[user_id] = USER | {"id": user_id}
        return {"source": "memory", "data": cache[user_id]}

    return app


def tutorial_redis_cache() -> FastAPI:
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


def tutorial_locked_counter() -> FastAPI:
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


def tutorial_redis_counter() -> FastAPI:
    app = FastAPI()
    redis = Redis.from_url(os.environ["COUNTERS_URL"])

    @app.post("/v1/counters/{name}/increment")
    async def increment(name: str) -> dict[str, Any]:
        return {"name": name, "value": await redis.incr(f"tutorial:{name}")}

    return app
