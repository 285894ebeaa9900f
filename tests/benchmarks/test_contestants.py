"""The applications that benchmarks compare the services with do what they are compared for."""

import asyncio
import contextlib
from collections.abc import Callable
from uuid import uuid4

import asyncpg
import httpx
import pytest
from benchmarks import environments
from benchmarks.contestants import programs
from benchmarks.serving import Program, running
from benchmarks.users import add_template_table, populate
from tests.support.servers import Servers

USER = {"id": 1, "email": "user1@example.com", "name": "User 1", "version": 1}


@pytest.fixture(scope="module")
def database(servers: Servers) -> str:
    url = populate(servers.postgres, "contestants", 0)
    add_template_table(url, 3)
    return url


@pytest.mark.slow  # only benchmarks use it
def test_the_template_reads_creates_and_changes_users(database: str) -> None:
    with running([programs.template(database)], None) as [server], _client(server.port) as client:
        assert _known(client.get("/v1/users/1")) == USER
        assert client.get("/v1/users/99").status_code == 404
        created = client.post("/v1/users", json={"email": "ada@example.com", "name": "Ada"})
        assert created.status_code == 201
        ada = created.json()["id"]
        changed = client.patch(f"/v1/users/{ada}", json={"name": "Ada Lovelace"})
        wanted = {"id": ada, "email": "ada@example.com", "name": "Ada Lovelace", "version": 2}
        assert _known(changed) == wanted
        assert _known(client.get(f"/v1/users/{ada}")) == wanted
        assert changed.json()["updated_at"] > created.json()["updated_at"]


@pytest.mark.slow  # starts four programs, which the tests of the guide start as well
def test_the_tutorials_count_and_keep_users(servers: Servers) -> None:
    database = populate(servers.postgres, "tutorials", 1)
    tutorials = [
        programs.tutorial("01_counter"),
        programs.tutorial("03_incr", REDIS_URL=servers.redis_counters),
        programs.tutorial("04_dict", DATABASE_URL=database),
        programs.tutorial("06_redis", DATABASE_URL=database, REDIS_URL=servers.redis_cache),
    ]
    with running(tutorials, None) as started, contextlib.ExitStack() as stack:
        lock, incr, in_a_dict, in_redis = (stack.enter_context(_client(server.port)) for server in started)
        assert [lock.get("/counter").json() for _ in range(2)] == [{"current_count": 1}, {"current_count": 2}]
        name = f"tutorial-{uuid4()}"
        assert [incr.post(f"/counter/{name}").json()["value"] for _ in range(2)] == [1, 2]
        for client, path, tier in ((in_a_dict, "/user/1", "memory"), (in_redis, "/user/redis/1", "redis")):
            answers = [client.get(path).json() for _ in range(2)]
            assert [answer["source"] for answer in answers] == ["database", tier]
            assert answers[1]["data"].items() >= USER.items()


def _cashews(database: str, cache: str) -> Program:
    return programs.cashews(database, cache)


def _cashews_client_side(database: str, cache: str) -> Program:
    return programs.cashews(database, cache, client_side=True)


@pytest.mark.slow  # makes an environment for each, unless it is there
@pytest.mark.parametrize("contestant", [_cashews, _cashews_client_side, programs.fastapi_cache2, programs.aiocache])
def test_other_caches_answer_from_the_cache_until_a_change_through_them(
    contestant: Callable[[str, str], Program], database: str, cache_url: str
) -> None:
    with running([contestant(database, cache_url)], None) as [server], _client(server.port) as client:
        known = _known(client.get("/v1/users/1"))
        for name in ("Changed", "User 1"):
            asyncio.run(_rename(database, name))
            assert _known(client.get("/v1/users/1")) == known
        changed = _known(client.patch("/v1/users/1", json={"name": "User 1"}))
        assert changed == known | {"name": "User 1", "version": changed["version"]}
        assert changed["version"] != known["version"]
        assert _known(client.get("/v1/users/1")) == changed
        assert client.patch("/v1/users/99", json={"name": "Nobody"}).status_code == 404


def test_the_contestants_with_dependencies_of_their_own() -> None:
    assert environments.names() == ["aiocache", "cashews", "fastapi_cache2"]


def _client(port: int) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)


def _known(answer: httpx.Response) -> dict[str, object]:
    """What the database does not choose by itself."""
    answer.raise_for_status()
    times = {"created_at", "updated_at"}
    user = answer.json()
    assert times < user.keys()
    return {name: value for name, value in user.items() if name not in times}


async def _rename(database: str, name: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        assert await connection.execute("UPDATE template_users SET name = $1 WHERE id = 1", name) == "UPDATE 1"
    finally:
        await connection.close()
