"""The console's page, and both services as it sees them: streams of the fleet, users and counters, in one process."""

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import yaml
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse

from stack.layout import repository_root

EVERY = 0.2
"""Seconds between the events of a stream. The services send one a second."""


def page() -> str:
    return (repository_root() / "gateway" / "console.html").read_text()


def page_headers() -> dict[str, str]:
    """With which the gateway sends the page."""
    listeners = yaml.safe_load((repository_root() / "gateway" / "listeners.yaml").read_text())["resources"]
    manager = listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]
    [route] = [
        route
        for route in manager["route_config"]["virtual_hosts"][0]["routes"]
        if route.get("direct_response", {}).get("body") == {"filename": "/etc/envoy/console.html"}
    ]
    return {each["header"]["key"]: each["header"]["value"] for each in route["response_headers_to_add"]}


@dataclass
class FakeService:
    """A service with two replicas. Tests change what it says about them."""

    name: str
    replicas: list[dict[str, Any]]
    more: dict[str, Any]
    """What an event has beside `service` and `replicas`."""
    silent: bool = False
    """Streams stay open, and nothing comes."""
    down: bool = False
    """The gateway has no replica to send requests to."""
    turns: Callable[[], int] = field(default_factory=lambda: itertools.count().__next__)

    def answer(self, body: Any, status: int = 200) -> JSONResponse:
        """From one replica after the other."""
        by = self.replicas[self.turns() % len(self.replicas)]["name"]
        return JSONResponse(body, status, headers={"X-Served-By": by})

    async def events(self) -> AsyncIterator[str]:
        yield "retry: 1000\n\n"
        while not self.down:
            if not self.silent:
                event = {"service": self.name, "replicas": self.replicas, **self.more}
                yield f"event: fleet\ndata: {json.dumps(event)}\n\n"
            await asyncio.sleep(EVERY)


def replica(name: str, hits: dict[str, float] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "state": "ready",
        "reason": None,
        "started_at": "2026-11-20T09:00:00.000Z",
        "seen_at": "2026-11-20T10:00:00.000Z",
        "requests_per_second": 8.5,
        "hits": hits,
        "pool": {"in_use": 1, "size": 10},
    }


def _users() -> FakeService:
    hits = {"memory": 11.0, "redis": 1.0, "database": 0.5}
    relay = {"name": "user-api-1", "epoch": "9f3c51e0a7b2d844", "lag_seconds": 0.087}
    return FakeService("user-api", [replica(f"user-api-{n}", dict(hits)) for n in (1, 2)], {"relay": relay})


def _counters() -> FakeService:
    busiest = [{"name": "visits", "value": 2**62 + 1, "per_second": 3.2}]
    return FakeService("counter-api", [replica(f"counter-api-{n}") for n in (1, 2)], {"busiest": busiest})


@dataclass
class FakeGateway:
    users: FakeService = field(default_factory=_users)
    counters: FakeService = field(default_factory=_counters)
    token: str | None = None
    """If set, requests need it."""
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    reads: dict[int, int] = field(default_factory=dict)
    """Of each user since the last change. The first two come from further away than the next ones."""
    values: dict[str, int] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    """The idempotency keys of increments."""

    def reset(self) -> None:
        """As it was in the beginning. Streams that are still open end."""
        self.users.down = self.counters.down = True
        vars(self).update(vars(FakeGateway()))


def fake_app(fake: FakeGateway) -> FastAPI:
    app = FastAPI()
    _add_page_and_streams(app, fake)
    _add_users(app, fake)
    _add_counters(app, fake)
    return app


def _add_page_and_streams(app: FastAPI, fake: FakeGateway) -> None:
    @app.middleware("http")
    async def gateway(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        path = request.url.path
        if path != "/" and fake.token and request.headers.get("Authorization") != f"Bearer {fake.token}":
            return _problem(401, "Send a valid access token as `Authorization: Bearer <token>`.")
        service = fake.users if re.match("/v1/users|/v1/fleet/user-api", path) else fake.counters
        if path != "/" and service.down:
            return _problem(503, "No replica of this service can take the request at the moment.")
        return await call_next(request)

    @app.get("/")
    async def console() -> HTMLResponse:
        return HTMLResponse(page(), headers=page_headers())

    @app.get("/v1/fleet/{service}/events")
    async def events(service: str) -> StreamingResponse:
        stream = fake.users if service == "user-api" else fake.counters
        return StreamingResponse(stream.events(), media_type="text/event-stream")


def _add_users(app: FastAPI, fake: FakeGateway) -> None:
    @app.post("/v1/users")
    async def create(request: Request) -> JSONResponse:
        user = {"id": len(fake.rows) + 1, "version": 1, **await request.json()}
        fake.rows[user["id"]] = user
        return fake.users.answer(user, 201)

    @app.get("/v1/users/{user_id}")
    async def read(user_id: int, request: Request) -> Response:
        if user_id not in fake.rows:
            return _problem(404, f"There is no user {user_id}.")
        reads = fake.reads[user_id] = fake.reads.get(user_id, 0) + 1
        source = ["database", "redis"][reads - 1] if reads < 3 else "memory"
        if "no-cache" in request.headers["Cache-Control"]:
            source = "database"
        return fake.users.answer({"source": source, "data": fake.rows[user_id]})

    @app.patch("/v1/users/{user_id}")
    async def change(user_id: int, request: Request) -> JSONResponse:
        row = fake.rows[user_id]
        row |= {"version": row["version"] + 1, **await request.json()}
        fake.reads[user_id] = 0
        return fake.users.answer(row)


def _add_counters(app: FastAPI, fake: FakeGateway) -> None:
    @app.post("/v1/counters/{name}/increment")
    async def increment(name: str, request: Request) -> JSONResponse:
        fake.keys.append(request.headers["Idempotency-Key"])
        fake.values[name] = fake.values.get(name, 0) + 1
        return fake.counters.answer({"name": name, "value": fake.values[name]})


def _problem(status: int, detail: str) -> JSONResponse:
    problem = {"title": "No", "status": status, "detail": detail}
    return JSONResponse(problem, status, media_type="application/problem+json")
