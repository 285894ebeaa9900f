"""Users through cashews, as its documentation has it: the decorators "Simple cache" and `invalidate`, with Redis.

CLIENT_SIDE=1 adds its client-side cache, which its documentation recommends for speed. CACHE_TTL is in seconds.
"""

import os
from typing import Any

from benchmarks.contestants.users_table import User, UserPatch, UserRow, changed, sessions
from cashews import cache
from fastapi import FastAPI, HTTPException

cache.setup(os.environ["CACHE_URL"], client_side="CLIENT_SIDE" in os.environ)

app = FastAPI()


TTL = int(os.environ.get("CACHE_TTL", "7200"))


@cache(ttl=TTL, key="user:{user_id}")  # type: ignore[untyped-decorator] # it is not installed here
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


@cache.invalidate("user:{user_id}")  # type: ignore[untyped-decorator] # as above
async def change_user(user_id: int, patch: UserPatch) -> User | None:
    return await changed(user_id, patch)


@app.patch("/v1/users/{user_id}", response_model=User)
async def update_user(user_id: int, patch: UserPatch) -> Any:
    user = await change_user(user_id, patch)
    if user is None:
        raise HTTPException(404, "User not found")
    return user
