"""Starting: with wrong settings, without PostgreSQL, on an old schema; and what is left when it stops."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import asyncpg
import httpx
import pytest
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from tests.support.proxy import proxied
from tests.support.serving import Serve, until_ready

from stack.layout import free_port
from user_api.cli import main
from user_api.main import create_app
from user_api.migrate import alembic_config, migrate
from user_api.schema_version import REVISIONS
from user_api.settings import MigrationSettings

COMMAND = str(Path(sys.executable).with_name("user-api"))
GOOD = {
    "USER_API_DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/users",
    "USER_API_CACHE_URL": "redis://127.0.0.1:1/0",
    "USER_API_CACHE_KEYS": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=",
}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DATABASE_URL", None, "USER_API_DATABASE_URL: is required"),
        ("DATABASE_URL", "mysql://u:secret@h/d", "USER_API_DATABASE_URL: must look like postgresql://"),
        ("DATABASE_URL", "secret", "USER_API_DATABASE_URL: must look like postgresql://"),
        ("CACHE_URL", None, "USER_API_CACHE_URL is required while USER_API_CACHE_TIERS names redis"),
        ("CACHE_URL", "http://secret", "USER_API_CACHE_URL: must look like redis://"),
        ("CACHE_URL", "redis://secret:port", "USER_API_CACHE_URL: must look like redis://"),
        ("CACHE_URL", "redis+sentinel://:secret@h:1", "USER_API_CACHE_URL: the name of the service is missing"),
        ("CACHE_URL", "redis+sentinel://:secret@h/service", "USER_API_CACHE_URL: a host or its port is missing"),
        ("CACHE_URL", "redis+cluster://:secret@h:1/1", "USER_API_CACHE_URL: a cluster has no other database than 0"),
        ("CACHE_URL", "redis+other://:secret@h:1", "USER_API_CACHE_URL: must look like redis://"),
        ("CACHE_READ_URL", "redis+sentinel://:secret@h:1/service", "USER_API_CACHE_READ_URL: is one server: redis://"),
        ("CACHE_READ_URL", "http://:secret@h:1", "USER_API_CACHE_READ_URL: must look like redis://"),
        (
            "CACHE_SENTINEL_PASSWORD",
            "secret",
            "USER_API_CACHE_SENTINEL_USERNAME and USER_API_CACHE_SENTINEL_PASSWORD are given, but the URL is not",
        ),
        ("CACHE_KEYS", None, "USER_API_CACHE_KEYS is required while USER_API_CACHE_TIERS names redis"),
        ("CACHE_KEYS", "secret", "USER_API_CACHE_KEYS: a key must be 32 bytes"),
        ("CACHE_KEYS", ",", "USER_API_CACHE_KEYS: at least one key"),
        ("CACHE_TIERS", "memory,disk", "USER_API_CACHE_TIERS: 'disk' is no tier; choose from memory, redis"),
        ("CACHE_TIERS", "memory,memory", "USER_API_CACHE_TIERS: a tier is named twice"),
        ("CACHE_TTL", "soon", "USER_API_CACHE_TTL: Input should be a valid number"),
        ("MEMORY_TTL", "-1", "USER_API_MEMORY_TTL: Input should be greater than 0"),
        ("MEMORY_MAX_ENTRIES", "0", "USER_API_MEMORY_MAX_ENTRIES: Input should be greater than or equal to 1"),
        ("PORT", "70000", "USER_API_PORT: Input should be less than or equal to 65535"),
        ("LOG_LEVEL", "loud", "USER_API_LOG_LEVEL: Input should be"),
        ("REPLICA_NAME", "a\nb", "USER_API_REPLICA_NAME: String should match pattern"),
    ],
)
def test_wrong_settings(
    name: str, value: str | None, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, given in {**GOOD, f"USER_API_{name}": value}.items():
        if given is not None:
            monkeypatch.setenv(key, given)
    with pytest.raises(SystemExit) as ended:
        create_app()
    assert ended.value.code == 2
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert says in written
    assert "secret" not in written


def test_a_wrong_setting_is_one_line_and_status_2() -> None:
    environment = {"PATH": os.environ["PATH"], **GOOD, "USER_API_CACHE_TTL": "soon"}
    ended = subprocess.run([COMMAND, "serve"], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "USER_API_CACHE_TTL: Input should be a valid number" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_unknown_command_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["user-api", "sevre"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "invalid choice: 'sevre'" in capsys.readouterr().err


@pytest.mark.anyio
async def test_without_postgresql_it_waits_says_why_and_recovers(serve: Serve, database_url: str) -> None:
    async with proxied(database_url, free_port()) as proxy, serve(database_url=proxy.url) as client:
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["type"] == "urn:evenkeel:problem:not-ready"
        assert "Connect call failed" in response.json()["checks"]["postgresql"]
        assert (await client.get("/livez")).status_code == 200
        response = await client.get("/v1/users/1")
        assert (response.status_code, response.json()["type"]) == (503, "urn:evenkeel:problem:unavailable")
        assert response.headers["Retry-After"] == "1"
        await proxy.open()
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        assert (await client.get("/v1/users/1")).status_code == 404
        await proxy.cut()
        assert (await client.get("/v1/users/1")).status_code == 503
        assert (await client.get("/readyz")).status_code == 503
        await proxy.open()
        assert (await client.get("/v1/users/1")).status_code == 404


@pytest.mark.slow
@pytest.mark.anyio
async def test_migrate_waits_for_a_postgresql_that_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """As through a network whose policies are not in force yet: connections are made, or not, and nothing comes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = MigrationSettings(database_url=SecretStr(f"postgresql://user:password@127.0.0.1:{port}/x"))
        with caplog.at_level("WARNING"), pytest.raises(TimeoutError):
            await migrate(settings, patience=4)
    assert [record.reason for record in caplog.records if hasattr(record, "reason")] == ["TimeoutError"]


@pytest.mark.anyio
async def test_wrong_password_is_said(serve: Serve, database_url: str) -> None:
    async with serve(database_url=database_url.replace("postgres:", "nobody:", 1)) as client:
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert "password authentication failed" in response.json()["checks"]["postgresql"]
        assert (await client.get("/v1/users/1")).status_code == 503


@pytest.mark.anyio
async def test_ready_only_on_a_current_schema(serve: Serve, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    administrator = await asyncpg.connect(database_url)
    await administrator.execute("DROP DATABASE IF EXISTS bare")
    await administrator.execute("CREATE DATABASE bare")
    url = database_url.rpartition("/")[0] + "/bare"
    try:
        async with serve(database_url=url) as client:
            checks = (await client.get("/readyz")).json()["checks"]
            assert checks == {"postgresql": "the schema has not been created; run `user-api migrate`"}
            response = await client.get("/v1/users/1")
            assert (response.status_code, response.json()["type"]) == (503, "urn:evenkeel:problem:unavailable")
            settings = MigrationSettings(database_url=url)
            await asyncio.gather(*(migrate(settings) for _ in range(4)))
            monkeypatch.delattr("user_api.migrate._upgrade")  # most pods find nothing to do
            await migrate(settings)
            assert (await client.get("/readyz")).status_code == 200
            database = await asyncpg.connect(url)
            await database.execute("UPDATE alembic_version SET version_num = 'of-a-later-release'")
            await migrate(settings)
            assert await database.fetchval("SELECT version_num FROM alembic_version") == "of-a-later-release"
            await database.close()
            assert (await client.get("/readyz")).status_code == 200
    finally:
        await administrator.execute("DROP DATABASE bare WITH (FORCE)")
        await administrator.close()


def test_revisions_are_those_of_the_migrations() -> None:
    scripts = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    assert tuple(script.revision for script in scripts)[::-1] == REVISIONS


@pytest.mark.anyio
async def test_sigterm_finishes_requests_in_flight_and_exits_0(
    database_url: str, cache_url: str, cache_key: str
) -> None:
    port = free_port()
    environment = os.environ | {
        "USER_API_DATABASE_URL": database_url,
        "USER_API_CACHE_URL": cache_url,
        "USER_API_CACHE_KEYS": cache_key,
        "USER_API_PORT": str(port),
    }
    replica = await asyncio.create_subprocess_exec(COMMAND, "serve", env=environment, stderr=subprocess.DEVNULL)
    blocker = await asyncpg.connect(database_url)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            await until_ready(client)
            await client.post("/v1/users", json={"email": "a@example.com", "name": "A"})
            async with blocker.transaction():
                await blocker.execute("SELECT FROM users FOR UPDATE")
                patch = asyncio.create_task(client.patch("/v1/users/1", json={"name": "B"}))
                await _until_waiting(database_url)
                replica.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.5)
                assert not patch.done()
            assert (await patch).json()["name"] == "B"
        assert await replica.wait() == 0
        connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'user-api %'"
        assert await blocker.fetchval(connections) == 0
    finally:
        if replica.returncode is None:
            replica.kill()
            await replica.wait()
        await blocker.close()


async def _until_waiting(database_url: str) -> None:
    """Until some backend waits for a lock."""
    watcher = await asyncpg.connect(database_url)
    try:
        for _ in range(600):
            if await watcher.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
                return
            await asyncio.sleep(0.02)
        raise AssertionError("nothing waits")
    finally:
        await watcher.close()
