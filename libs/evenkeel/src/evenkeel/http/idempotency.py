"""Idempotency keys: whom a key belongs to, and the answer to a key that was used for another request."""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from evenkeel.http.problems import Problem

REPLAYED = {"Idempotency-Replayed": "true"}
"""The header field of a repeated answer."""

KEY_PATTERN = r"^[\x21-\x7e]{1,255}$"

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=KEY_PATTERN,
        description="Applied once however often it is sent with this key, within 24 hours. The key belongs to the "
        "caller, the method and the path",
    ),
]


async def _caller_of(request: Request) -> str:
    return request.headers.get("x-evenkeel-subject", "")


Caller = Annotated[str, Depends(_caller_of)]
"""The caller: the subject of the token. The gateway sets it, and clients cannot. It is empty without tokens."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A caller's key. The same text from another caller, with another method or to another path, is another key."""

    caller: str
    method: str
    path: str
    text: str

    def digest(self, *part: int) -> str:
        """The name of its record; `part` separates the operations of one request.

        It is a digest, because the key may be a secret of the caller, and so that all names have the same length.
        """
        return fingerprint(self.caller, self.method, self.path, self.text, *part)


def fingerprint(*payload: object) -> str:
    """A digest of any JSON value."""
    return hashlib.sha256(json.dumps(payload).encode()).hexdigest()


async def _request_key(request: Request, caller: Caller, idempotency_key: IdempotencyKey = None) -> RequestKey | None:
    if idempotency_key is None:
        return None
    return RequestKey(caller, request.method, request.scope["path"], idempotency_key)


Key = Annotated[RequestKey | None, Depends(_request_key)]
"""As the type of a route's parameter: the key of the request."""


class IdempotencyMismatch(Problem):
    slug, title, status = "idempotency-mismatch", "The Idempotency-Key belongs to another request", 422

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used with another payload; nothing was changed. Use a new key.")


def replayed(problem: Problem) -> Problem:
    """The same refusal, marked as a repeated answer."""
    again = Problem.__new__(type(problem))
    Problem.__init__(again, problem.detail, headers=problem.headers | REPLAYED, **problem.members)
    return again
