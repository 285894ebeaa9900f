"""The HTTP contract of users."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from evenkeel.cache import Answer
from evenkeel.http.bodies import StrictBody, takes_merge_patch
from evenkeel.http.idempotency import REPLAYED, IdempotencyMismatch, Key, RequestKey
from evenkeel.http.openapi import sends
from evenkeel.http.preconditions import Preconditions, untagged
from evenkeel.http.problems import OF_A_BODY, InvalidInput, Unavailable, responses
from user_api.idempotency import RecordKey
from user_api.parameters import If, ReadIf, Service, UserIdPath, strict_query
from user_api.problems import EmailTaken, StateMismatch, UserNotFound, VersionMismatch
from user_api.representation import PRIVATE, of_answer, of_batch, of_change
from user_api.schemas import PATH, ListQuery, NewUser, User, UserAnswer, UserBatch, UserPage, UserPatch

router = APIRouter(prefix=PATH, tags=["users"], route_class=StrictBody, dependencies=[Depends(strict_query)])

_CACHED = sends("ETag", "Cache-Status")


@router.post(
    "",
    summary="Create a user",
    status_code=201,
    response_model=User,
    responses=responses(EmailTaken, *OF_A_BODY, IdempotencyMismatch, Unavailable) | {201: sends("Location", "ETag")},
    dependencies=[Depends(untagged)],
)
async def create_user(users: Service, new: NewUser, key: Key) -> Response:
    created = await users.create(new, _record_key(key, PATH, new.model_dump_json()))
    return of_change(created, f"{PATH}/{created.user_id}").response(created.status)


@router.get(
    "",
    summary="List users in the order of their ids, read up to 100 by id, or one by e-mail address",
    description="`Cache-Control` and `Min-Version` are about a read by `email`. So are preconditions: lists have no "
    "entity tags, so `If-Match` is 412 there unless it is `*`, and `If-None-Match` has no effect.",
    # The page comes last, because a batch also fits the page's schema, and generated clients take the first that fits.
    response_model=UserBatch | UserAnswer | UserPage,
    responses=responses(UserNotFound, VersionMismatch, StateMismatch, InvalidInput, Unavailable)
    | {
        200: sends("Link", "ETag", "Cache-Status"),
        304: {"description": "The user is in the state that you have", **_CACHED},
    },
)
async def list_users(
    request: Request, users: Service, query: Annotated[ListQuery, Query()], conditions: ReadIf
) -> Response:
    if query.email is not None:
        return _answered(await users.get_by_email(query.email, **conditions.fresh), conditions.preconditions)
    await untagged(request)
    if query.ids is not None:
        return of_batch(query.ids, await users.get_many(query.ids)).response()
    limit = query.limit or 100
    page, more = await users.page(after=query.after or 0, limit=limit)
    headers = {"Link": f'</v1/users?limit={limit}&after={page[-1].id}>; rel="next"'} if more else {}
    return _json(b'{"data":[%b]}' % b",".join(user.body for user in page), headers=headers)


@router.get(
    "/{user_id}",
    summary="Read a user",
    response_model=UserAnswer,
    responses=responses(UserNotFound, VersionMismatch, StateMismatch, InvalidInput, Unavailable)
    | {200: _CACHED, 304: {"description": "The user is in the state that you have", **_CACHED}},
)
async def read_user(users: Service, user_id: UserIdPath, conditions: ReadIf) -> Response:
    return _answered(await users.get(user_id, **conditions.fresh), conditions.preconditions)


@router.patch(
    "/{user_id}",
    summary="Change a user by a JSON merge patch",
    response_model=User,
    responses=responses(UserNotFound, EmailTaken, StateMismatch, *OF_A_BODY, IdempotencyMismatch, Unavailable)
    | {200: sends("ETag")},
    openapi_extra=takes_merge_patch(UserPatch),
)
async def change_user(users: Service, user_id: UserIdPath, patch: UserPatch, key: Key, preconditions: If) -> Response:
    payload = f"{preconditions}{patch.model_dump_json(exclude_unset=True)}"
    record = _record_key(key, f"{PATH}/{user_id}", payload)
    return of_change(await users.update(user_id, patch, preconditions, record)).response()


@router.delete(
    "/{user_id}",
    summary="Delete a user",
    status_code=204,
    responses=responses(UserNotFound, StateMismatch, InvalidInput, IdempotencyMismatch, Unavailable),
)
async def delete_user(users: Service, user_id: UserIdPath, key: Key, preconditions: If) -> Response:
    record = _record_key(key, f"{PATH}/{user_id}", str(preconditions))
    deleted = await users.delete(user_id, preconditions, record)
    return Response(status_code=204, headers=REPLAYED if deleted.replayed else None)


def _answered(answer: Answer[Any], preconditions: Preconditions) -> Response:
    """The one user that was read."""
    tag = answer.entry.tag.hex()
    if not preconditions.matched(tag):
        raise StateMismatch(answer.entry.version)
    representation = of_answer(answer)
    return representation.response() if preconditions.hold(tag) else representation.not_modified()


def _record_key(key: RequestKey | None, path: str, payload: str) -> RecordKey | None:
    """`path` is the resource's canonical path, whatever the caller wrote."""
    return None if key is None else RecordKey.of(replace(key, path=path), payload)


def _json(body: str | bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers={**PRIVATE, **(headers or {})}, media_type="application/json")
