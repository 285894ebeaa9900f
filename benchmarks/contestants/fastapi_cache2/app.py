"""Users through fastapi-cache2, as its documentation has it: the decorator of an endpoint, with Redis.

The endpoint opens its session itself. The name of an entry is made of the text of all arguments. That of a session has
its address in memory, so two reads would rarely have the same name.

Its documentation has no invalidation. A change clears the namespace, for which the library has a function: one entry
cannot be named, because its name is a hash. CACHE_TTL is in seconds.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.contestants.users_table import User, UserPatch, UserRow, changed, sessions
from fastapi import FastAPI, HTTPException
from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from redis import asyncio as aioredis


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    redis = aioredis.from_url(os.environ["CACHE_URL"])
    FastAPICache.init(RedisBackend(redis), prefix="fastapi-cache")
    yield


app = FastAPI(lifespan=lifespan)

TTL = int(os.environ.get("CACHE_TTL", "7200"))


@app.get("/v1/users/{user_id}")
@cache(expire=TTL, namespace="users")  # type: ignore[untyped-decorator] # it is not installed here
async def read_user(user_id: int) -> User:
    async with sessions() as session:
        user = await session.get(UserRow, user_id)
    if user is None:
        raise HTTPException(404, "User not found")
    return User.model_validate(user)


@app.patch("/v1/users/{user_id}")
async def update_user(user_id: int, patch: UserPatch) -> User:
    user = await changed(user_id, patch)
    if user is None:
        raise HTTPException(404, "User not found")
    await FastAPICache.clear(namespace="users")
    return user
