"""The usual way to write such a service: FastAPI, a session by `yield`, the ORM, a response model, a commit in the
handler. It has no cache, no preconditions, and no time limits.

Many templates also refresh the object after the commit, which costs another query. Here the statements return what the
database has made, so this is the cheaper way.
"""

from typing import Any

from benchmarks.contestants.users_table import NewUser, Session, User, UserPatch, UserRow
from fastapi import FastAPI, HTTPException

app = FastAPI()


@app.get("/v1/users/{user_id}", response_model=User)
async def read_user(user_id: int, session: Session) -> Any:
    user = await session.get(UserRow, user_id)
    if user is None:
        raise HTTPException(404, "User not found")
    return user


@app.post("/v1/users", response_model=User, status_code=201)
async def create_user(new: NewUser, session: Session) -> Any:
    user = UserRow(**new.model_dump())
    session.add(user)
    await session.commit()
    return user


@app.patch("/v1/users/{user_id}", response_model=User)
async def change_user(user_id: int, patch: UserPatch, session: Session) -> Any:
    user = await session.get(UserRow, user_id)
    if user is None:
        raise HTTPException(404, "User not found")
    for field, value in patch.model_dump(exclude_unset=True).items():
        setattr(user, field, value)
    user.version += 1
    await session.commit()
    return user
