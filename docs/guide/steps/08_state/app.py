"""Everything that is shared is in one AppState, and a dependency hands it to the routes."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException


class AppState:
    def __init__(self) -> None:
        self.users: dict[int, dict[str, Any]] = {}
        self.total_requests = 0


state = AppState()


async def get_state() -> AppState:
    state.total_requests += 1
    return state


app = FastAPI()
State = Annotated[AppState, Depends(get_state)]


@app.post("/users", status_code=201)
async def add_user(user_id: int, name: str, state: State) -> None:
    state.users[user_id] = {"id": user_id, "name": name}


@app.get("/user/{user_id}")
async def get_user(user_id: int, state: State) -> dict[str, Any]:
    if user_id not in state.users:
        raise HTTPException(404)
    return state.users[user_id]


@app.get("/stats")
async def stats(state: State) -> dict[str, int]:
    return {"total_requests": state.total_requests, "users": len(state.users)}
