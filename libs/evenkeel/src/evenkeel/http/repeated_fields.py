"""Header fields that are sent more than once.

FastAPI takes the last value and drops the others silently. The lines of a list (RFC 9110, 5.3) are joined. Two lines of
a field with a single value are refused. With two idempotency keys, a retry under the dropped one would count twice.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from evenkeel.http.problems import InvalidInput

LISTS = frozenset({b"if-match", b"if-none-match", b"cache-control", b"content-encoding"})
SINGLE = frozenset({b"idempotency-key", b"min-version", b"content-type"})
"""Fields that the services read and that have one value."""


class RepeatedFields:
    """Plain ASGI: joins the lines of lists and refuses more than one line of the others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            names = [name for name, _ in scope["headers"] if name in LISTS or name in SINGLE]
            repeated = {name for name in names if names.count(name) > 1}
            if wrong := sorted(name.decode() for name in repeated & SINGLE):
                problem = InvalidInput(
                    f"Send {wrong[0]} once.",
                    errors=[{"in": "header", "field": name, "detail": "sent more than once"} for name in wrong],
                )
                await problem.response()(scope, receive, send)
                return
            if repeated:
                scope["headers"] = _joined(scope["headers"], repeated)
        await self._app(scope, receive, send)


def _joined(headers: list[tuple[bytes, bytes]], repeated: set[bytes]) -> list[tuple[bytes, bytes]]:
    kept = [field for field in headers if field[0] not in repeated]
    return kept + [(name, b", ".join(value for each, value in headers if each == name)) for name in repeated]
