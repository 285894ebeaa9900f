"""What requests of several features have in common."""

from typing import Annotated

from fastapi import Header, Path

from counter_api.counters.schemas import NAME_PATTERN
from evenkeel.http.query_parameters import StrictQuery

NO_STORE = {"Cache-Control": "no-store"}
NO_CACHE = {"Cache-Control": "no-cache"}

strict_query = StrictQuery()

Name = Annotated[str, Path(pattern=NAME_PATTERN, examples=["downloads"])]
IfMatch = Annotated[
    str | None, Header(description='only if the counter is in one of these states, such as `"42"`; `*`: if it exists')
]
IfNoneMatch = Annotated[
    str | None, Header(description="only if the counter is in none of these states; `*`: if it does not exist")
]
