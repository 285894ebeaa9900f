"""The floor: the least work with which uvicorn can answer a body of the size of a user."""

import json
from typing import Any

USER = {
    "id": 1,
    "email": "user1@example.com",
    "name": "User 1",
    "version": 1,
    "created_at": "2026-11-21T01:13:11.876919Z",
    "updated_at": "2026-11-21T01:13:11.876919Z",
}


def create_app() -> Any:
    """A bare ASGI function."""
    body = json.dumps({"source": "memory", "data": USER}).encode()
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
    }
    answer = {"type": "http.response.body", "body": body}

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send(start)
            await send(answer)
        elif scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})

    return app
