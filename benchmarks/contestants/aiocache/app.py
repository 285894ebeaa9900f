"""Users through aiocache, as its documentation has it: the decorator `cached`, with Redis and a key builder.

A change deletes the entry. CACHE_TTL is in seconds.
"""

import os
from typing import Any
from urllib.parse import urlsplit

from aiocache import Cache, cached
from aiocache.serializers import PickleSerializer
from benchmarks.contestants.users_table import User, UserPatch, UserRow, changed, sessions
from fastapi import FastAPI, HTTPException

TTL = int(os.environ.get("CACHE_TTL", "7200"))

address = urlsplit(os.environ["CACHE_URL"])
REDIS = {
    "cache": Cache.REDIS,
    "endpoint": address.hostname,
    "port": address.port,
    "password": address.password,
    "namespace": "users",
    "serializer": PickleSerializer(),
}

app = FastAPI()


def key(_: Any, user_id: int) -> str:
    return str(user_id)


@cached(ttl=TTL, key_builder=key, **REDIS)  # type: ignore[untyped-decorator] # it is not installed here
async def get_user(user_id: int) -> User | None:
    async with sessions() as session:
        user = await session.get(UserRow, user_id)
        return None if user is None else User.model_validate(user)


@app.get("/v1/users/{user_id}", response_model=User)
async def read_user(user_id: int) -> Any:
    user = await get_user(user_id)
    if user is None:
        raise HTTPException(404, "User not found")
    return user


@app.patch("/v1/users/{user_id}", response_model=User)
async def update_user(user_id: int, patch: UserPatch) -> Any:
    user = await changed(user_id, patch)
    if user is None:
        raise HTTPException(404, "User not found")
    await get_user.cache.delete(str(user_id))
    return user
