"""Users in Redis again, but encrypted: whoever reads Redis sees no address."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from cryptography.fernet import Fernet
from fastapi import FastAPI
from redis.asyncio import Redis

QUERY = "SELECT id, email, name, version, created_at, updated_at FROM users WHERE id = $1"

redis = Redis.from_url(os.environ["REDIS_URL"])
fernet = Fernet(os.environ["CACHE_KEY"])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/user/redis/{user_id}")
async def get_user(user_id: int) -> dict[str, Any]:
    if (cached := await redis.get(f"secret:{user_id}")) is not None:
        return {"source": "redis", "data": json.loads(fernet.decrypt(cached))}
    user = dict(await app.state.pool.fetchrow(QUERY, user_id))
    await redis.setex(f"secret:{user_id}", 300, fernet.encrypt(json.dumps(user, default=str).encode()))
    return {"source": "database", "data": user}
