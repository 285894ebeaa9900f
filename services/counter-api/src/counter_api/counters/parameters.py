"""What several requests for counters have in common."""

from typing import Annotated

from fastapi import Body, Depends, Header, Request

from counter_api.counters.schemas import IncrementRequest
from counter_api.counters.service import CounterService
from evenkeel.http.preconditions import Preconditions

IfMatch = Annotated[
    str | None, Header(description='only if the counter is in one of these states, such as `"42"`; `*`: if it exists')
]
IfNoneMatch = Annotated[
    str | None, Header(description="only if the counter is in none of these states; `*`: if it does not exist")
]


async def preconditions_of(if_match: IfMatch = None, if_none_match: IfNoneMatch = None) -> Preconditions:
    return Preconditions.parse(if_match, if_none_match)


async def counters_of(request: Request) -> CounterService:
    counters: CounterService = request.state.counters
    return counters


If = Annotated[Preconditions, Depends(preconditions_of)]
Service = Annotated[CounterService, Depends(counters_of)]

# A body may be left out, but a null is a mistake.
OptionalIncrement = Annotated[IncrementRequest, Body(default_factory=IncrementRequest)]
