"""A pool in the lifespan. Each request has a connection and a transaction, which is committed at its end."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, FastAPI, Request

SLOW = float(os.environ.get("SLOW", "0"))  # seconds: the request also sends an e-mail, or calls another service


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=5) as app.state.pool:
        yield


async def get_connection(request: Request) -> AsyncIterator[Any]:
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        yield connection


app = FastAPI(lifespan=lifespan)
Connection = Annotated[Any, Depends(get_connection)]


@app.get("/users")
async def list_users(connection: Connection) -> list[dict[str, Any]]:
    return [dict(row) for row in await connection.fetch("SELECT id, email, name FROM users ORDER BY id LIMIT 20")]


@app.post("/users", status_code=201)
async def add_user(email: str, name: str, connection: Connection) -> dict[str, Any]:
    row = await connection.fetchrow("INSERT INTO users (email, name) VALUES ($1, $2) RETURNING id", email, name)
    await asyncio.sleep(SLOW)
    return {"id": row["id"], "email": email, "name": name}
