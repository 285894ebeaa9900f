"""Reads through cashews, as its documentation has it: the decorator "Simple cache", with Redis.

CLIENT_SIDE=1 adds its client-side cache, which its documentation recommends for speed.
"""

import os
from typing import Any

from benchmarks.contestants.users_table import User, UserRow, sessions
from cashews import cache
from fastapi import FastAPI, HTTPException

cache.setup(os.environ["CACHE_URL"], client_side="CLIENT_SIDE" in os.environ)

app = FastAPI()


@cache(ttl="2h", key="user:{user_id}")  # type: ignore[untyped-decorator] # it is not installed here
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
