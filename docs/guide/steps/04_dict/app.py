"""Users from PostgreSQL, kept in a dict."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI, HTTPException

QUERY = "SELECT id, email, name, version, created_at, updated_at FROM users WHERE id = $1"

cache: dict[int, dict[str, Any]] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/user/{user_id}")
async def get_user(user_id: int) -> dict[str, Any]:
    if user_id in cache:
        return {"source": "memory", "data": cache[user_id]}
    row = await app.state.pool.fetchrow(QUERY, user_id)
    if row is None:
        raise HTTPException(404)
    cache[user_id] = dict(row)
    return {"source": "database", "data": cache[user_id]}


@app.get("/stats")
async def stats() -> dict[str, int]:
    return {"cached_users": len(cache), "worker": os.getpid()}
