"""Replicas as the load sees them: light ones in this process, or real ones, each a process behind HTTP.

A light replica is the whole application of user-api with everything that its lifespan opens: relay, tracking, tiers,
pools, breakers, pruners. Only the HTTP server is missing: requests are passed to the application as ASGI calls. So many
of them fit into one process.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import httpx
from fastapi import FastAPI

from user_api.main import create_app
from user_api.settings import Settings

PREFIX = "USER_API_"

_JSON = [(b"content-type", b"application/json")]


class Replica(Protocol):
    async def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """The status and the body of the answer."""


@asynccontextmanager
async def light(environment: Mapping[str, str]) -> AsyncIterator["Light"]:
    """A light replica with the settings that a real one would find in its environment."""
    values = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items()}
    app = create_app(Settings.model_validate(values))
    async with app.router.lifespan_context(app) as state:
        yield Light(app, dict(state or {}))


class Light:
    def __init__(self, app: FastAPI, state: Mapping[str, Any]) -> None:
        self._app = app
        self._state = state

    async def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"light"), *(_JSON if body else ()), (b"content-length", b"%d" % len(body))],
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 80),
            "state": dict(self._state),
        }
        status, answer = 0, b""

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def respond(message: Mapping[str, Any]) -> None:
            nonlocal status, answer
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                answer += message.get("body", b"")

        await self._app(scope, receive, respond)
        return status, answer


@asynccontextmanager
async def real(port: int) -> AsyncIterator["Real"]:
    """The replica at 127.0.0.1:port."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield Real(client)


class Real:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        headers = {"content-type": "application/json"} if body else {}
        answer = await self._client.request(method, path, content=body or None, headers=headers)
        return answer.status_code, answer.content
