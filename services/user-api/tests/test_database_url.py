"""What USER_API_DATABASE_URL may say behind its `?`, and a PostgreSQL that is reached through TLS."""

import asyncio
import contextlib
import itertools
import re
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import URL as ADDRESS
from sqlalchemy import make_url
from tests.support.certificates import issue
from tests.support.serving import Serve, until_ready
from tests.support.users import create

from evenkeel.tasks.first_to_end import first_to_end
from user_api.cli import main
from user_api.database import CONNECT_TIMEOUT, connect_arguments
from user_api.database_url import parse_database_url
from user_api.settings import MigrationSettings

URL = "postgresql://u:secret@127.0.0.1:1/users"
MODES = "sslmode must be one of disable, allow, prefer, require, verify-ca, verify-full"
NOT_SUPPORTED = "after its ?, which is not supported; supported are sslmode, ssl, "

REFUSED = [
    ("sslmode=on", MODES),
    ("sslmode=", MODES),
    ("ssl=true", MODES),
    ("sslmode=require&ssl=require", "has both ssl and sslmode; leave one out"),
    ("sslmode=require&sslmode=disable", "has sslmode twice"),
    ("sslmode=verify-full", "sslmode=verify-full needs sslrootcert: a file of certificates, or system"),
    ("sslmode=verify-ca", "sslmode=verify-ca needs sslrootcert: a file of certificates, or system"),
    ("sslmode=verify-ca&sslrootcert=system", "sslrootcert=system needs sslmode=verify-full"),
    ("sslmode=verify-ca&sslrootcert=/secret", "sslrootcert is no file of certificates that can be read"),
    ("sslmode=require&sslrootcert=/dev/null", "sslrootcert is no file of certificates that can be read"),
    ("sslmode=require&sslcert=/secret", "sslcert and sslkey go together"),
    ("sslmode=require&sslcert=/secret&sslkey=/secret", "sslcert and sslkey are no certificate and its key"),
    ("sslmode=prefer&sslrootcert=/secret", "has sslrootcert, which needs sslmode require, verify-ca or verify-full"),
    ("sslrootcert=system", MODES),
    ("connect_timeout=0", "connect_timeout must be a number of seconds from 1 to 60"),
    ("connect_timeout=3.5", "connect_timeout must be a number of seconds from 1 to 60"),
    ("connect_timeout=" + "9" * 5000, "connect_timeout must be a number of seconds from 1 to 60"),
    ("application_name=", "application_name must be 1 to 63 printable ASCII characters"),
    ("application_name=" + "n" * 64, "application_name must be 1 to 63 printable ASCII characters"),
    ("host=/run/postgresql", "host after the ? is the folder of a Unix socket, and stands alone"),
    ("channel_binding=require", f"has channel_binding {NOT_SUPPORTED}"),
    ("target_session_attrs=read-write", f"has target_session_attrs {NOT_SUPPORTED}"),
    ("options=-csearch_path%3Dsecret", f"has options {NOT_SUPPORTED}"),
    ("sslcrl=/secret", f"has sslcrl {NOT_SUPPORTED}"),
    ("secret=1", f"has a parameter {NOT_SUPPORTED}"),
    ("prepared_statement_cache_size=1", f"has a parameter {NOT_SUPPORTED}"),
]


@pytest.mark.parametrize(("query", "says"), REFUSED, ids=[query[:60] for query, _ in REFUSED])
def test_what_cannot_be_done_is_refused(query: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as refused:
        parse_database_url(f"{URL}?{query}")
    assert str(refused.value).startswith(says)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["postgresql://u@h:secret/users", "postgresql://u@h:99999/users", "postgresql://u@h/"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must look like") as refused:
        parse_database_url(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("command", ["serve", "migrate", "forget-cache"])
def test_refusal_is_one_line_and_status_2(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("USER_API_DATABASE_URL", f"{URL}?sslmode=require&channel_binding=require")
    monkeypatch.setenv("USER_API_CACHE_TIERS", "memory")
    monkeypatch.setattr(sys, "argv", ["user-api", command])
    with pytest.raises(SystemExit) as ended:
        main()
    written = capsys.readouterr()
    assert (ended.value.code, written.out, written.err.count("\n")) == (2, "", 1)
    assert written.err.startswith(f"USER_API_ settings: USER_API_DATABASE_URL: has channel_binding {NOT_SUPPORTED}")
    assert "secret" not in written.err


PARTS = {
    "user": ["", "u@", ":@", "u:p@", "u%40b:p%3Aq%2Fr@", "u:p?q#/[]:%@", "ä:ü@"],
    "host": ["", "h", "127.0.0.1", "[::1]", "h-1.example.com"],
    "port": ["", ":", ":5433", ":1"],
    "database": ["", "/", "/d", "/d%20e", "/d/e"],
    "query": ["", "?", "?connect_timeout=7", "?application_name=a%26b%3D%3F"],
}


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+asyncpg"])
def test_urls_are_read_as_sqlalchemy_reads_them(scheme: str) -> None:
    """Operators copy them from other services."""
    for parts in itertools.product(*PARTS.values()):
        url = f"{scheme}://{''.join(parts)}"
        try:
            theirs = make_url(url)
        except ValueError:  # a colon, and no port
            theirs = ADDRESS.create("postgresql")
        place = theirs.translate_connect_args(username="user")
        if "database" not in place:
            with pytest.raises(ValueError, match="must look like"):
                parse_database_url(url)
        else:
            ours = parse_database_url(url)
            assert ours.place == place, url
            assert len(ours.options) == len(theirs.query), url


def test_what_asyncpg_is_given(tmp_path: Path) -> None:
    def given(query: str) -> dict[str, object]:
        return parse_database_url(f"{URL}?{query}").options

    place = {"user": "u", "password": "secret", "host": "127.0.0.1", "port": 1, "database": "users"}
    assert parse_database_url(f"{URL}?sslmode=disable").place == place
    assert given("") == {}
    assert given("sslmode=disable") == {"ssl": False}
    assert given("ssl=prefer") == {"ssl": "prefer"}
    assert parse_database_url("postgresql:///users?host=/run/postgresql").options == {"host": "/run/postgresql"}
    roots = issue(tmp_path, "roots")
    for mode, verify, hostname in (
        ("sslmode=require", ssl.CERT_NONE, False),
        ("ssl=require", ssl.CERT_NONE, False),
        (f"sslmode=require&sslrootcert={roots}", ssl.CERT_REQUIRED, False),
        (f"sslmode=verify-ca&sslrootcert={roots}", ssl.CERT_REQUIRED, False),
        (
            f"sslmode=verify-full&sslrootcert={roots}&sslcert={roots}&sslkey={tmp_path / 'tls.key'}",
            ssl.CERT_REQUIRED,
            True,
        ),
        ("sslmode=verify-full&sslrootcert=system", ssl.CERT_REQUIRED, True),
    ):
        context = given(mode)["ssl"]
        assert isinstance(context, ssl.SSLContext)
        assert (context.verify_mode, context.check_hostname) == (verify, hostname)
    named = connect_arguments(parse_database_url(f"{URL}?connect_timeout=7&application_name=mine"), "replica")
    assert (named["timeout"], named["server_settings"]) == (7, {"application_name": "mine"})
    assert connect_arguments(parse_database_url(URL), "replica")["timeout"] == CONNECT_TIMEOUT


@pytest.mark.slow
@pytest.mark.anyio
async def test_tls(database_url: str, serve: Serve, tmp_path: Path) -> None:
    (ours := tmp_path / "ours").mkdir()
    (other := tmp_path / "other").mkdir()
    roots, strangers = issue(ours, "postgres"), issue(other, "stranger")
    async with _tls_front(database_url, ours) as (url, sessions):
        for mode in ("sslmode=require", "ssl=require", f"sslmode=verify-full&sslrootcert={roots}"):
            async with serve(database_url=f"{url}?{mode}&application_name=through-tls") as client:
                await until_ready(client)
                await create(client, email=f"{mode[:16].replace('=', '.')}@example.com")
            assert sessions
            assert set(sessions) == {"TLS"}
            sessions.clear()
        async with serve(database_url=f"{url}?sslmode=verify-ca&sslrootcert={strangers}") as client:
            assert "certificate verify failed" in (await client.get("/readyz")).json()["checks"]["postgresql"]
        # A name that the certificate does not have.
        elsewhere = url.replace("127.0.0.1", "localhost")
        async with serve(database_url=f"{elsewhere}?sslmode=verify-full&sslrootcert={roots}") as client:
            assert "certificate verify failed" in (await client.get("/readyz")).json()["checks"]["postgresql"]
        sessions.clear()
        async with serve(database_url=f"{url}?sslmode=disable") as client:
            await until_ready(client)
        assert set(sessions) == {"plain"}


@pytest.mark.anyio
async def test_require_goes_to_no_server_without_tls(database_url: str, serve: Serve) -> None:
    async with _tls_front(database_url, None) as (url, _):
        async with serve(database_url=f"{url}?sslmode=require") as client:
            assert "rejected SSL upgrade" in (await client.get("/readyz")).json()["checks"]["postgresql"]
        async with serve(database_url=f"{url}?sslmode=prefer") as client:
            await until_ready(client)


def test_the_settings_do_not_show_it(make_settings: Callable[..., MigrationSettings]) -> None:
    assert "secret" not in repr(make_settings(database_url=f"{URL}?sslmode=require"))


_SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
"""PostgreSQL's protocol, 54.7: what a client begins with that wants TLS."""


@contextlib.asynccontextmanager
async def _tls_front(database_url: str, certificate: Path | None) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that takes TLS, as PostgreSQL does, before PostgreSQL; without a certificate it refuses TLS.

    The embedded PostgreSQL was built without. Gives the URL, and how each session came.
    """
    sessions: list[str] = []
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
    behind = urlsplit(database_url)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind, first = "plain", await reader.readexactly(8)
        if first == _SSL_REQUEST:
            writer.write(b"S" if context else b"N")
            if context is not None:
                await writer.start_tls(context)
                kind = "TLS"
            first = await reader.readexactly(8)
        sessions.append(kind)
        upstream_reader, upstream = await asyncio.open_connection(behind.hostname, behind.port)
        try:
            upstream.write(first)
            await first_to_end(_pump(reader, upstream), _pump(upstream_reader, writer))
        finally:
            upstream.transport.abort()

    under_way: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.add(asyncio.current_task())
        try:
            await relay(reader, writer)
        except (OSError, EOFError):
            pass  # a client that does not like the certificate, or has been closed
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    netloc = behind.netloc.rpartition("@")[0] + f"@127.0.0.1:{port}"
    try:
        yield behind._replace(netloc=netloc).geturl(), sessions
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*filter(None, under_way)), 10)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
