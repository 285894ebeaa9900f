"""The HTTP contract of users."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from evenkeel.cache import Answer, Entry, cache_status
from evenkeel.etags import etag, none_match, parse_if_match
from evenkeel.problems import ContentTooLarge, InvalidInput, MalformedJson, Unavailable, responses
from user_api.problems import EmailTaken, StateMismatch, UserNotFound, VersionMismatch
from user_api.query_parameters import strict_query
from user_api.schemas import ListQuery, NewUser, User, UserAnswer, UserBatch, UserId, UserPage, UserPatch, Version
from user_api.service import UserService

router = APIRouter(prefix="/v1/users", tags=["users"], dependencies=[Depends(strict_query)])

UserIdPath = Annotated[UserId, Path(description="The user's id")]
IfMatch = Annotated[
    str | None, Header(description="Only if the user is in the state that one of these entity tags names")
]
CacheControl = Annotated[str | None, Header(description="`no-cache`: answer from PostgreSQL")]
MinVersion = Annotated[Version | None, Header(description="Nothing older than this version may answer")]
IfNoneMatch = Annotated[
    str | None, Header(description="304 if the user is in the state that one of these entity tags names")
]

_ETAG = {"ETag": {"description": "Names this state of this user, and no other; opaque", "schema": {"type": "string"}}}
_CACHED = _ETAG | {"Cache-Status": {"description": "RFC 9211: what each tier did", "schema": {"type": "string"}}}

# Personal data: a browser may keep its own copy, to be confirmed by ETag; a shared cache may not.
PRIVATE = {"Cache-Control": "private, no-cache"}


@router.post(
    "",
    summary="Create a user",
    status_code=201,
    response_model=User,
    responses=responses(EmailTaken, ContentTooLarge, InvalidInput, MalformedJson, Unavailable)
    | {201: {"headers": _ETAG}},
)
async def create_user(request: Request, new: NewUser) -> Response:
    user, tag = await _users(request).create(new)
    headers = {"Location": f"/v1/users/{user.id}", "ETag": etag(tag.hex())}
    return _json(user.model_dump_json(), status=201, headers=headers)


@router.get(
    "",
    summary="List users in the order of their ids, read up to 100 by id, or one by e-mail address",
    description="What the header fields ask for, they ask of a read by `email`; of the others nothing.",
    response_model=UserPage | UserBatch | UserAnswer,
    responses=responses(UserNotFound, VersionMismatch, InvalidInput, Unavailable)
    | {304: {"description": "The user is in the state that you have", "headers": _CACHED}},
)
async def list_users(
    request: Request,
    query: Annotated[ListQuery, Query()],
    cache_control: CacheControl = None,
    min_version: MinVersion = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    if query.email is not None:
        answer = await _users(request).get_by_email(
            query.email, min_version=min_version or 0, from_database=_no_cache(cache_control)
        )
        return _answered(answer, if_none_match)
    if query.ids is not None:
        return _json(batch_body(query.ids, await _users(request).get_many(query.ids)))
    limit = query.limit or 100
    users, more = await _users(request).page(after=query.after or 0, limit=limit)
    headers = {"Link": f'</v1/users?limit={limit}&after={users[-1].id}>; rel="next"'} if more else {}
    return _json(f'{{"data":{_array(user.model_dump_json() for user in users)}}}', headers=headers)


@router.get(
    "/{user_id}",
    summary="Read a user",
    response_model=UserAnswer,
    responses=responses(UserNotFound, VersionMismatch, InvalidInput, Unavailable)
    | {200: {"headers": _CACHED}, 304: {"description": "The user is in the state that you have", "headers": _CACHED}},
)
async def get_user(
    request: Request,
    user_id: UserIdPath,
    cache_control: CacheControl = None,
    min_version: MinVersion = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    answer = await _users(request).get(user_id, min_version=min_version or 0, from_database=_no_cache(cache_control))
    return _answered(answer, if_none_match)


@router.patch(
    "/{user_id}",
    summary="Change a user by a JSON merge patch",
    response_model=User,
    responses=responses(
        UserNotFound, EmailTaken, StateMismatch, ContentTooLarge, InvalidInput, MalformedJson, Unavailable
    )
    | {200: {"headers": _ETAG}},
)
async def patch_user(request: Request, user_id: UserIdPath, patch: UserPatch, if_match: IfMatch = None) -> Response:
    user, tag = await _users(request).update(user_id, patch, parse_if_match(if_match))
    return _json(user.model_dump_json(), headers={"ETag": etag(tag.hex())})


@router.delete(
    "/{user_id}",
    summary="Delete a user",
    status_code=204,
    responses=responses(UserNotFound, StateMismatch, InvalidInput, Unavailable),
)
async def delete_user(request: Request, user_id: UserIdPath, if_match: IfMatch = None) -> None:
    await _users(request).delete(user_id, parse_if_match(if_match))


def batch_body(ids: Sequence[int], found: Mapping[int, Entry]) -> bytes:
    """The users that were found, in the order of the ids, and the ids of the others."""
    data = b",".join([found[user_id].payload for user_id in ids if user_id in found])
    return b'{"data":[%b],"missing":%b}' % (data, str([user_id for user_id in ids if user_id not in found]).encode())


def _answered(answer: Answer[Any], if_none_match: str | None) -> Response:
    """The one user that was read."""
    user = answer.entry
    headers = {"ETag": etag(user.tag.hex()), "Cache-Status": cache_status.render(answer.statuses)}
    if not none_match(if_none_match, user.tag.hex()):
        return Response(status_code=304, headers=headers | PRIVATE)
    return _json(f'{{"source":"{answer.source}","data":{user.payload.decode()}}}', headers=headers)


def _users(request: Request) -> UserService:
    service: UserService = request.state.users
    return service


def _no_cache(cache_control: str | None) -> bool:
    return "no-cache" in {directive.strip().lower() for directive in (cache_control or "").split(",")}


def _array(items: Iterable[str]) -> str:
    return f"[{','.join(items)}]"


def _json(body: str | bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers={**PRIVATE, **(headers or {})}, media_type="application/json")
