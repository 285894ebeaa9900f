"""Users from PostgreSQL, kept in Redis for five minutes. A change deletes what is kept."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI
from redis.asyncio import Redis

QUERY = "SELECT id, email, name, version, created_at, updated_at FROM users, pg_sleep($2) WHERE id = $1"
SLOW = float(os.environ.get("SLOW", "0"))  # seconds that the query takes

redis = Redis.from_url(os.environ["REDIS_URL"])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/user/redis/{user_id}")
async def get_user(user_id: int) -> dict[str, Any]:
    if (cached := await redis.get(f"user:{user_id}")) is not None:
        return {"source": "redis", "data": json.loads(cached)}
    user = dict(await app.state.pool.fetchrow(QUERY, user_id, SLOW))
    await redis.setex(f"user:{user_id}", 300, json.dumps(user, default=str))
    return {"source": "database", "data": user}


@app.put("/user/{user_id}")
async def rename(user_id: int, name: str) -> None:
    await app.state.pool.execute("UPDATE users SET name = $2 WHERE id = $1", user_id, name)
    await redis.delete(f"user:{user_id}")
