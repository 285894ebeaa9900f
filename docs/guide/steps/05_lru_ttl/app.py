"""Two caches of cachetools: one drops what was not used for longest, the other drops after a minute, too."""

import os
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from cachetools import LRUCache, TTLCache
from fastapi import FastAPI

QUERY = "SELECT id, email, name, version, created_at, updated_at FROM users WHERE id = $1"

caches: dict[str, MutableMapping[int, Any]] = {"lru": LRUCache(maxsize=100), "ttl": TTLCache(maxsize=100, ttl=60)}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/user/{kind}/{user_id}")
async def get_user(kind: str, user_id: int) -> dict[str, Any]:
    cache = caches[kind]
    if (user := cache.get(user_id)) is not None:
        return {"source": kind, "data": user}
    cache[user_id] = dict(await app.state.pool.fetchrow(QUERY, user_id))
    return {"source": "database", "data": cache[user_id]}


@app.put("/user/{user_id}")
async def rename(user_id: int, name: str) -> None:
    await app.state.pool.execute("UPDATE users SET name = $2 WHERE id = $1", user_id, name)
    for cache in caches.values():
        cache.pop(user_id, None)
