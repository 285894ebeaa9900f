"""The counter in Redis, by INCR: one number for all workers."""

import os

from fastapi import FastAPI
from redis.asyncio import Redis

app = FastAPI()
redis = Redis.from_url(os.environ["REDIS_URL"], socket_timeout=1)


@app.get("/counter")
async def counter() -> dict[str, int]:
    return {"current_count": await redis.incr("counter")}


@app.post("/counter/{name}")
async def increment(name: str) -> dict[str, str | int]:
    return {"name": name, "value": await redis.incr(f"counter:{name}")}
