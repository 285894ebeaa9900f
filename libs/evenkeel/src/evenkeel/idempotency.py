"""Idempotency keys: whose they are, and what every service answers to one that was used for something else."""

from typing import Annotated

from fastapi import Depends, Header, Request

from evenkeel.problems import Problem

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


class IdempotencyMismatch(Problem):
    slug, title, status = "idempotency-mismatch", "The Idempotency-Key belongs to another request", 422

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used with another payload; nothing was changed. Use a new key.")
