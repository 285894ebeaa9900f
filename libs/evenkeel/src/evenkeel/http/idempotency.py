"""Idempotency keys: whose they are, and what every service answers to one that was used for something else."""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from evenkeel.http.problems import Problem

REPLAYED = {"Idempotency-Replayed": "true"}
"""The header field of an answer that was given before."""

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
"""Whose keys these are: the token's subject as the gateway sets it, which clients cannot; empty without tokens."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A caller's key: the same text from somebody else, by another method or to another path is another key."""

    caller: str
    method: str
    path: str
    text: str

    def digest(self, *part: int) -> str:
        """What it is remembered by; `part` tells apart what one request asks for.

        A digest, because a key may be a secret of the caller's, and every key then has the same length.
        """
        return fingerprint(self.caller, self.method, self.path, self.text, *part)


def fingerprint(*payload: object) -> str:
    """A digest of what JSON can say."""
    return hashlib.sha256(json.dumps(payload).encode()).hexdigest()


async def _request_key(request: Request, caller: Caller, idempotency_key: IdempotencyKey = None) -> RequestKey | None:
    if idempotency_key is None:
        return None
    return RequestKey(caller, request.method, request.scope["path"], idempotency_key)


Key = Annotated[RequestKey | None, Depends(_request_key)]
"""A route's parameter of this kind is the key that the request was sent with."""


class IdempotencyMismatch(Problem):
    slug, title, status = "idempotency-mismatch", "The Idempotency-Key belongs to another request", 422

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used with another payload; nothing was changed. Use a new key.")


def replayed(problem: Problem) -> Problem:
    """The same refusal, as it is answered to a repetition."""
    again = Problem.__new__(type(problem))
    Problem.__init__(again, problem.detail, headers=problem.headers | REPLAYED, **problem.members)
    return again
