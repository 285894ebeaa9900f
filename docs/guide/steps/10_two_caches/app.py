"""Memory in development, Redis in production. Whether REDIS_URL is set decides."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI
from redis.asyncio import Redis

QUERY = "SELECT id, email, name, version, created_at, updated_at FROM users WHERE id = $1"

memory: dict[int, dict[str, Any]] = {}
redis = Redis.from_url(url) if (url := os.environ.get("REDIS_URL")) else None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/user/{user_id}")
async def get_user(user_id: int) -> Any:
    user = memory.get(user_id) if redis is None else json.loads(await redis.get(f"both:{user_id}") or "null")
    if user is None:
        user = dict(await app.state.pool.fetchrow(QUERY, user_id))
        if redis is None:
            memory[user_id] = user
        else:
            await redis.setex(f"both:{user_id}", 300, json.dumps(user))
    return user
