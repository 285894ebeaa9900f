"""What several requests for users have in common."""

from typing import Annotated, NamedTuple, TypedDict

from fastapi import Depends, Header, Path, Request

from evenkeel.http.preconditions import Preconditions
from evenkeel.http.query_parameters import StrictQuery
from user_api.schemas import UserId, Version
from user_api.service import UserService

strict_query = StrictQuery(lists=frozenset({"ids"}))

UserIdPath = Annotated[UserId, Path(description="The user's id")]
CacheControl = Annotated[str | None, Header(description="`no-cache`: answer from PostgreSQL")]
MinVersion = Annotated[Version | None, Header(description="Nothing older than this version may answer")]
IfMatch = Annotated[
    str | None, Header(description="Only if the user is in the state that one of these entity tags names")
]
IfNoneMatch = Annotated[
    str | None, Header(description="Only if the user is in no state that these entity tags name; else 304, or 412")
]


class Freshness(TypedDict):
    """How new an answer must be."""

    min_version: int
    """Nothing older may answer."""

    from_database: bool
    """No tier may answer."""


class ReadConditions(NamedTuple):
    """What a read asks for beside the user."""

    fresh: Freshness
    preconditions: Preconditions


# One dependency for both: each that has header fields costs 20 us of CPU.
async def read_conditions_of(
    cache_control: CacheControl = None,
    min_version: MinVersion = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> ReadConditions:
    directives = {directive.strip().lower() for directive in (cache_control or "").split(",")}
    fresh = Freshness(min_version=min_version or 0, from_database="no-cache" in directives)
    return ReadConditions(fresh, Preconditions.parse(if_match, if_none_match))


async def preconditions_of(if_match: IfMatch = None, if_none_match: IfNoneMatch = None) -> Preconditions:
    return Preconditions.parse(if_match, if_none_match)


async def users_of(request: Request) -> UserService:
    users: UserService = request.state.users
    return users


ReadIf = Annotated[ReadConditions, Depends(read_conditions_of)]
If = Annotated[Preconditions, Depends(preconditions_of)]
Service = Annotated[UserService, Depends(users_of)]
