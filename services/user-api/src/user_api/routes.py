"""The HTTP contract of users."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from evenkeel.cache import Answer, Entry, cache_status
from evenkeel.http.bodies import StrictBody, takes_merge_patch
from evenkeel.http.etags import etag
from evenkeel.http.idempotency import REPLAYED, IdempotencyMismatch, Key, RequestKey
from evenkeel.http.openapi import sends
from evenkeel.http.preconditions import Preconditions, untagged
from evenkeel.http.problems import (
    OF_A_BODY,
    InvalidInput,
    Unavailable,
    responses,
)
from evenkeel.http.query_parameters import StrictQuery
from user_api.idempotency import Changed, RecordKey
from user_api.problems import EmailTaken, StateMismatch, UserNotFound, VersionMismatch
from user_api.schemas import ListQuery, NewUser, User, UserAnswer, UserBatch, UserId, UserPage, UserPatch, Version
from user_api.service import UserService

strict_query = StrictQuery(lists=frozenset({"ids"}))

router = APIRouter(prefix="/v1/users", tags=["users"], route_class=StrictBody, dependencies=[Depends(strict_query)])

UserIdPath = Annotated[UserId, Path(description="The user's id")]
IfMatch = Annotated[
    str | None, Header(description="Only if the user is in the state that one of these entity tags names")
]
CacheControl = Annotated[str | None, Header(description="`no-cache`: answer from PostgreSQL")]
MinVersion = Annotated[Version | None, Header(description="Nothing older than this version may answer")]
IfNoneMatch = Annotated[
    str | None, Header(description="Only if the user is in no state that these entity tags name; else 304, or 412")
]

_CACHED = sends("ETag", "Cache-Status")

# Personal data: a browser may keep its own copy, to be confirmed by ETag; a shared cache may not.
PRIVATE = {"Cache-Control": "private, no-cache"}


@router.post(
    "",
    summary="Create a user",
    status_code=201,
    response_model=User,
    responses=responses(EmailTaken, *OF_A_BODY, IdempotencyMismatch, Unavailable) | {201: sends("Location", "ETag")},
    dependencies=[Depends(untagged)],
)
async def create_user(request: Request, new: NewUser, key: Key) -> Response:
    created = await _users(request).create(new, _record_key(key, router.prefix, new.model_dump_json()))
    return _changed(created, {"Location": f"{router.prefix}/{created.user_id}"})


@router.get(
    "",
    summary="List users in the order of their ids, read up to 100 by id, or one by e-mail address",
    description="`Cache-Control` and `Min-Version` are about a read by `email`. So are preconditions: lists have no "
    "entity tags, so `If-Match` is 412 there unless it is `*`, and `If-None-Match` has no effect.",
    # A page last: what is a batch is a page as well, to those who take the first that fits.
    response_model=UserBatch | UserAnswer | UserPage,
    responses=responses(UserNotFound, VersionMismatch, StateMismatch, InvalidInput, Unavailable)
    | {
        200: sends("Link", "ETag", "Cache-Status"),
        304: {"description": "The user is in the state that you have", **_CACHED},
    },
)
async def list_users(
    request: Request,
    query: Annotated[ListQuery, Query()],
    cache_control: CacheControl = None,
    min_version: MinVersion = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    if query.email is not None:
        preconditions = Preconditions.parse(if_match, if_none_match)
        answer = await _users(request).get_by_email(
            query.email, min_version=min_version or 0, from_database=_no_cache(cache_control)
        )
        return _answered(answer, preconditions)
    await untagged(request)
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
    responses=responses(UserNotFound, VersionMismatch, StateMismatch, InvalidInput, Unavailable)
    | {200: _CACHED, 304: {"description": "The user is in the state that you have", **_CACHED}},
)
async def read_user(
    request: Request,
    user_id: UserIdPath,
    cache_control: CacheControl = None,
    min_version: MinVersion = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    preconditions = Preconditions.parse(if_match, if_none_match)
    answer = await _users(request).get(user_id, min_version=min_version or 0, from_database=_no_cache(cache_control))
    return _answered(answer, preconditions)


@router.patch(
    "/{user_id}",
    summary="Change a user by a JSON merge patch",
    response_model=User,
    responses=responses(UserNotFound, EmailTaken, StateMismatch, *OF_A_BODY, IdempotencyMismatch, Unavailable)
    | {200: sends("ETag")},
    openapi_extra=takes_merge_patch(UserPatch),
)
async def change_user(
    request: Request,
    user_id: UserIdPath,
    patch: UserPatch,
    key: Key,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    preconditions = Preconditions.parse(if_match, if_none_match)
    payload = f"{preconditions}{patch.model_dump_json(exclude_unset=True)}"
    record = _record_key(key, f"{router.prefix}/{user_id}", payload)
    return _changed(await _users(request).update(user_id, patch, preconditions, record))


@router.delete(
    "/{user_id}",
    summary="Delete a user",
    status_code=204,
    responses=responses(UserNotFound, StateMismatch, InvalidInput, IdempotencyMismatch, Unavailable),
)
async def delete_user(
    request: Request,
    user_id: UserIdPath,
    key: Key,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    preconditions = Preconditions.parse(if_match, if_none_match)
    record = _record_key(key, f"{router.prefix}/{user_id}", str(preconditions))
    deleted = await _users(request).delete(user_id, preconditions, record)
    return Response(status_code=204, headers=REPLAYED if deleted.replayed else None)


def batch_body(ids: Sequence[int], found: Mapping[int, Entry]) -> bytes:
    """The users that were found, in the order of the ids, and the ids of the others."""
    data = b",".join([found[user_id].payload for user_id in ids if user_id in found])
    return b'{"data":[%b],"missing":%b}' % (data, str([user_id for user_id in ids if user_id not in found]).encode())


def _answered(answer: Answer[Any], preconditions: Preconditions) -> Response:
    """The one user that was read."""
    user = answer.entry
    tag = user.tag.hex()
    if not preconditions.matched(tag):
        raise StateMismatch(user.version)
    headers = {"ETag": etag(tag), "Cache-Status": cache_status.render(answer.statuses)}
    if not preconditions.hold(tag):
        return Response(status_code=304, headers=headers | PRIVATE)
    return _json(f'{{"source":"{answer.source}","data":{user.payload.decode()}}}', headers=headers)


def _changed(user: Changed, headers: Mapping[str, str] | None = None) -> Response:
    """The user as the change has left it."""
    assert user.tag is not None  # noqa: S101 (only what was deleted, or refused, has none)
    fields = {"ETag": etag(user.tag.hex()), **(headers or {}), **(REPLAYED if user.replayed else {})}
    return _json(user.body, status=user.status, headers=fields)


def _record_key(key: RequestKey | None, path: str, payload: str) -> RecordKey | None:
    """`path` is the resource's own, however its id was written."""
    return None if key is None else RecordKey.of(replace(key, path=path), payload)


def _users(request: Request) -> UserService:
    service: UserService = request.state.users
    return service


def _no_cache(cache_control: str | None) -> bool:
    return "no-cache" in {directive.strip().lower() for directive in (cache_control or "").split(",")}


def _array(items: Iterable[str]) -> str:
    return f"[{','.join(items)}]"


def _json(body: str | bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers={**PRIVATE, **(headers or {})}, media_type="application/json")
