"""Idempotency-Key on every change of a user: applied once, and the first answer is given again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from tests.support.problems import problem
from tests.support.serving import Serve
from tests.support.users import ADA, count, create, etag

from evenkeel.cache.errors import Disconnected
from user_api.idempotency import PRUNE_BATCH, Pruner
from user_api.pool import Pool
from user_api.settings import Settings
from user_api.store import UserStore

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "k-1"}
REPLAYED = "Idempotency-Replayed"


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def same(first: httpx.Response, second: httpx.Response) -> None:
    """The second answer is the first one, marked as a repetition."""
    assert REPLAYED not in first.headers
    assert second.headers[REPLAYED] == "true"
    assert (second.status_code, second.content) == (first.status_code, first.content)
    fields = ("ETag", "Location", "Content-Type", "Content-Length", "Cache-Control")
    assert [second.headers.get(name) for name in fields] == [first.headers.get(name) for name in fields]


async def test_a_user_is_created_once(client: httpx.AsyncClient, database_url: str) -> None:
    first, second = [await client.post("/v1/users", json=ADA, headers=KEY) for _ in range(2)]
    assert (first.status_code, first.json()["id"]) == (201, 1)
    same(first, second)
    assert await count(database_url) == 1


async def test_a_user_is_changed_once(client: httpx.AsyncClient) -> None:
    await create(client)
    headers = KEY | {"If-Match": await etag(client)}
    first = await client.patch("/v1/users/1", json={"name": "B"}, headers=headers)
    assert (first.status_code, first.json()["version"]) == (200, 2)
    await client.patch("/v1/users/1", json={"name": "C"})
    same(first, await client.patch("/v1/users/1", json={"name": "B"}, headers=headers))
    assert (await client.get("/v1/users/1")).json()["data"]["name"] == "C"


async def test_a_user_is_deleted_once(client: httpx.AsyncClient) -> None:
    await create(client)
    first, second = [await client.delete("/v1/users/1", headers=KEY) for _ in range(2)]
    assert (first.status_code, first.content) == (204, b"")
    same(first, second)


async def test_refusals_are_remembered(client: httpx.AsyncClient) -> None:
    await create(client)
    await create(client, email="b@example.com")
    refused: list[tuple[str, str, Any, dict[str, str], int]] = [
        ("POST", "/v1/users", ADA, {}, 409),
        ("PATCH", "/v1/users/2", {"email": "ADA@example.com", "name": "B"}, {}, 409),
        ("PATCH", "/v1/users/2", {"name": "B"}, {"If-Match": '"x"'}, 412),
        ("PATCH", "/v1/users/3", {"name": "B"}, {}, 404),
        ("DELETE", "/v1/users/2", None, {"If-None-Match": "*"}, 412),
        ("DELETE", "/v1/users/3", None, {}, 404),
    ]
    for at, (method, path, body, fields, status) in enumerate(refused):
        headers = {"Idempotency-Key": f"k-{at}"} | fields
        first = await client.request(method, path, json=body, headers=headers)
        assert problem(first)[0] == status, path
        same(first, await client.request(method, path, json=body, headers=headers))
    assert (await client.get("/v1/users/2")).json()["data"]["version"] == 1
    await client.delete("/v1/users/1")
    again = await client.post("/v1/users", json=ADA, headers={"Idempotency-Key": "k-0"})
    assert (problem(again)[0], again.headers[REPLAYED]) == (409, "true")
    assert (await client.post("/v1/users", json=ADA, headers={"Idempotency-Key": "new"})).status_code == 201


async def test_what_was_not_judged_is_not_remembered(client: httpx.AsyncClient) -> None:
    for content in (b"{", b'{"name":"A"}'):
        headers = KEY | {"Content-Type": "application/json"}
        assert (await client.post("/v1/users", content=content, headers=headers)).status_code == 422
    assert (await client.post("/v1/users", content=b"x", headers=KEY)).status_code == 415
    assert REPLAYED not in (await client.post("/v1/users", json=ADA, headers=KEY)).headers


async def test_another_payload_is_refused(client: httpx.AsyncClient, database_url: str) -> None:
    await client.post("/v1/users", json=ADA, headers=KEY)
    for body in (ADA | {"name": "B"}, ADA | {"email": "b@example.com"}):
        response = await client.post("/v1/users", json=body, headers=KEY)
        assert problem(response) == (422, "idempotency-mismatch")
        assert REPLAYED not in response.headers
    assert await count(database_url) == 1
    headers = KEY | {"If-Match": '"a", "b"'}
    refusal = await client.patch("/v1/users/1", json={"name": "B"}, headers=headers)
    assert problem(refusal)[0] == 412
    for changed in ({"If-Match": '"a"'}, {"If-Match": "*"}, {}, {"If-None-Match": '"a", "b"'}):
        response = await client.patch("/v1/users/1", json={"name": "B"}, headers=KEY | changed)
        assert problem(response) == (422, "idempotency-mismatch")
    same(refusal, await client.patch("/v1/users/1", json={"name": "B"}, headers=KEY | {"If-Match": '"b" , ,"a"'}))


async def test_spelling_of_the_same_payload_is_no_other(client: httpx.AsyncClient) -> None:
    first = await client.post("/v1/users", json=ADA, headers=KEY)
    content = b'{ "name": "Ada \\u004covelace", "email": "ada@example.com" }'
    same(first, await client.post("/v1/users", content=content, headers=KEY | {"Content-Type": "application/json"}))


async def test_a_key_belongs_to_caller_method_and_path(client: httpx.AsyncClient) -> None:
    for at, subject in enumerate([None, "ada", "ada%20", "k-1"], start=1):
        headers = KEY | ({} if subject is None else {"X-Evenkeel-Subject": subject})
        body = ADA | {"email": f"u{at}@example.com"}
        first, second = [await client.post("/v1/users", json=body, headers=headers) for _ in range(2)]
        assert (first.status_code, first.json()["id"]) == (201, at)
        same(first, second)
    for user_id in (1, 2):
        for method in ("PATCH", "DELETE"):
            change = {"name": "B"} if method == "PATCH" else None
            response = await client.request(method, f"/v1/users/{user_id}", json=change, headers=KEY)
            assert response.is_success
            assert REPLAYED not in response.headers


@pytest.mark.parametrize("key", ["", "a b", "é".encode(), "x" * 256])
async def test_keys_that_are_none(client: httpx.AsyncClient, key: str | bytes) -> None:
    headers = {b"Idempotency-Key": key if isinstance(key, bytes) else key.encode()}
    assert problem(await client.post("/v1/users", json=ADA, headers=headers)) == (422, "validation")
    assert (await client.post("/v1/users", json=ADA, headers={"Idempotency-Key": "x" * 255})).status_code == 201
    assert (await client.delete("/v1/users/1")).status_code == 204


async def test_many_at_once_are_one(serve: Serve, database_url: str) -> None:
    async with serve(replica_name="a") as a, serve(replica_name="b") as b:
        posts = [each.post("/v1/users", json=ADA, headers=KEY) for each in (a, b) * 10]
        responses = await asyncio.gather(*posts)
        assert [response.status_code for response in responses] == [201] * 20
        assert len({response.content for response in responses}) == 1
        assert sum(REPLAYED not in response.headers for response in responses) == 1
        patches = [each.patch("/v1/users/1", json={"name": "B"}, headers=KEY) for each in (a, b) * 10]
        responses = await asyncio.gather(*patches)
        assert {(response.status_code, response.json()["version"]) for response in responses} == {(200, 2)}
    assert await count(database_url) == 1


async def test_the_second_waits_for_the_first(client: httpx.AsyncClient, sql: Any, database_url: str) -> None:
    await create(client)
    watching = await asyncpg.connect(database_url)  # within a transaction, what others wait for is looked up once
    lock = sql.transaction()
    await lock.start()
    await sql.execute("SELECT FROM users WHERE id = 1 FOR UPDATE")
    patches = [asyncio.create_task(client.patch("/v1/users/1", json={"name": "B"}, headers=KEY)) for _ in range(2)]
    await _until(watching, "SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    await lock.rollback()
    responses = await asyncio.gather(*patches)
    await watching.close()
    assert [response.json()["version"] for response in responses] == [2, 2]
    assert sorted(REPLAYED in response.headers for response in responses) == [False, True]


async def _until(sql: Any, query: str) -> None:
    """Return when the query finds true."""
    async with asyncio.timeout(30):
        while not await sql.fetchval(query):  # noqa: ASYNC110 (PostgreSQL has no event for it)
            await asyncio.sleep(0.01)


async def test_record_and_row_are_one_transaction(client: httpx.AsyncClient, sql: Any) -> None:
    """What cannot be committed leaves neither."""
    await sql.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$;
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse()
        """
    )
    try:
        assert (await client.post("/v1/users", json=ADA, headers=KEY)).status_code == 503
        assert await sql.fetchval("SELECT count(*) FROM user_idempotency_records") == 0
    finally:
        await sql.execute("DROP TRIGGER refuse ON users; DROP FUNCTION refuse()")
    response = await client.post("/v1/users", json=ADA, headers=KEY)
    assert (response.status_code, REPLAYED in response.headers) == (201, False)


@pytest.mark.parametrize("headers", [KEY, {}], ids=["key", "none"])
async def test_a_commit_whose_answer_is_lost_is_asked_for_again(
    client: httpx.AsyncClient, database_url: str, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    """By the replica itself, where a key makes that safe."""
    commit, lost = UserStore.create, iter([True])

    async def commit_and_lose(*arguments: Any) -> Any:
        changed = await commit(*arguments)
        if next(lost, False):
            raise Disconnected("The database does not answer.", begun=True)
        return changed

    monkeypatch.setattr(UserStore, "create", commit_and_lose)
    response = await client.post("/v1/users", json=ADA, headers=headers)
    assert response.status_code == (201 if headers else 503)
    assert await count(database_url) == 1


@pytest.mark.parametrize("how", ["DELETE FROM users", "TRUNCATE users RESTART IDENTITY", None])
async def test_records_are_deleted_with_their_user(client: httpx.AsyncClient, sql: Any, how: str | None) -> None:
    await client.post("/v1/users", json=ADA, headers=KEY)
    await client.patch("/v1/users/1", json={"name": "B"}, headers=KEY)
    await client.patch("/v1/users/1", json={"name": "B"}, headers={"Idempotency-Key": "k-2", "If-Match": '"x"'})
    if how is not None:
        await sql.execute(how)
    else:
        assert (await client.delete("/v1/users/1", headers=KEY)).status_code == 204
    kept = await sql.fetch("SELECT * FROM user_idempotency_records")
    assert sorted(row["status"] for row in kept) == ([412] if how else [204, 412])
    assert {(row["user_id"], row["tag"]) for row in kept} == {(None, None)}
    assert not any("ada" in row["body"].lower() for row in kept)
    if how:
        assert (await client.post("/v1/users", json=ADA, headers=KEY)).status_code == 201


async def test_a_deletion_does_not_wait_for_records_that_are_being_deleted(client: httpx.AsyncClient, sql: Any) -> None:
    """Whoever deletes them may wait for the user."""
    await client.post("/v1/users", json=ADA, headers=KEY)
    await client.patch("/v1/users/1", json={"name": "B"}, headers=KEY)
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute("DELETE FROM user_idempotency_records WHERE status = 201")
    assert (await client.delete("/v1/users/1", headers=KEY)).status_code == 204
    await transaction.commit()
    assert await sql.fetchval("SELECT array_agg(status) FROM user_idempotency_records") == [204]


async def test_who_deletes_users_needs_no_right_to_the_records(client: httpx.AsyncClient, sql: Any) -> None:
    await client.post("/v1/users", json=ADA, headers=KEY)
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute("CREATE ROLE clerk; GRANT SELECT, DELETE ON users TO clerk; SET LOCAL ROLE clerk")
    await sql.execute("DELETE FROM users")
    await sql.execute("RESET ROLE")
    assert await sql.fetchval("SELECT count(*) FROM user_idempotency_records") == 0
    await transaction.rollback()


async def test_replicated_deletions_delete_records(client: httpx.AsyncClient, sql: Any) -> None:
    await client.post("/v1/users", json=ADA, headers=KEY)
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute("SET LOCAL session_replication_role = replica")
    await sql.execute("DELETE FROM users")
    assert await sql.fetchval("SELECT count(*) FROM user_idempotency_records") == 0
    await transaction.rollback()


async def test_neither_key_nor_payload_can_be_read(client: httpx.AsyncClient, sql: Any) -> None:
    headers = {"Idempotency-Key": "key-of-ada", "X-Evenkeel-Subject": "subject-of-ada"}
    await client.post("/v1/users", json=ADA, headers=headers)
    await client.delete("/v1/users/1", headers=headers)
    [kept] = await sql.fetch("SELECT r::text AS row, * FROM user_idempotency_records AS r")
    assert (kept["status"], kept["body"], len(kept["id"]), len(kept["payload"])) == (204, "", 32, 32)
    assert not any(secret in kept["row"] for secret in ("key-of-ada", "subject-of-ada", "ada@example.com"))


async def test_keys_expire(serve: Serve, sql: Any, database_url: str) -> None:
    async with serve(idempotency_ttl=60) as client:
        first = await client.post("/v1/users", json=ADA, headers=KEY)
        same(first, await client.post("/v1/users", json=ADA, headers=KEY))
        left = await sql.fetchval("SELECT max(expires_at) - clock_timestamp() FROM user_idempotency_records")
        assert 0 < left.total_seconds() <= 60
        await sql.execute("UPDATE user_idempotency_records SET expires_at = clock_timestamp()")
        response = await client.post("/v1/users", json=ADA | {"email": "b@example.com"}, headers=KEY)
        assert (response.status_code, REPLAYED in response.headers) == (201, False)
    assert await count(database_url) == 2


async def test_pruning_is_bounded_and_waits_for_nobody(
    client: httpx.AsyncClient, sql: Any, make_settings: Callable[..., Settings]
) -> None:
    first = await client.post("/v1/users", json=ADA, headers=KEY)
    await sql.execute(
        """
        INSERT INTO user_idempotency_records (id, payload, expires_at)
        SELECT int4send(n), '', clock_timestamp() - interval '1 s' FROM generate_series(1, $1 + 11) AS n
        """,
        PRUNE_BATCH,
    )
    pool = Pool(make_settings(), size=1)
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute("SELECT FROM user_idempotency_records WHERE id = int4send(5) FOR UPDATE")
    try:
        assert await Pruner(pool).prune() == PRUNE_BATCH + 10
        await transaction.rollback()
        assert await Pruner(pool).prune() == 1
    finally:
        await pool.close()
    same(first, await client.post("/v1/users", json=ADA, headers=KEY))


async def test_pruned_while_it_runs(
    serve: Serve, sql: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("user_api.idempotency.PRUNE_INTERVAL", 0.02)
    async with serve():
        await sql.execute("ALTER TABLE user_idempotency_records RENAME TO away")
        async with asyncio.timeout(30):
            while "idempotency records cannot be pruned" not in caplog.text:  # noqa: ASYNC110 (logs have no event for it)
                await asyncio.sleep(0.01)
        await sql.execute("ALTER TABLE away RENAME TO user_idempotency_records")
        await sql.execute("INSERT INTO user_idempotency_records VALUES ('1', '', clock_timestamp())")
        await _until(sql, "SELECT count(*) = 0 FROM user_idempotency_records")
    assert caplog.text.count("idempotency records cannot be pruned") == 1


async def test_without_a_key_nothing_is_remembered(client: httpx.AsyncClient, sql: Any) -> None:
    await create(client)
    await client.patch("/v1/users/1", json={"name": "B"})
    assert await sql.fetchval("SELECT count(*) FROM user_idempotency_records") == 0
