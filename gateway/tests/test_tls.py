"""The containers' TLS listener, beside the plain one: with a certificate, after a change of it, and without one."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from tests.support.certificates import issue
from tests.support.gateway_bench import Bench, gateway_bench

from stack.gateway import places_of, relocated
from stack.layout import free_port, repository_root
from stack.reload import Discovery

pytestmark = pytest.mark.anyio

GATEWAY = repository_root() / "gateway"
# RFC 8446, 5.1 and 6.2
ALERT = 21
PROTOCOL_VERSION = 70

HSTS = b"strict-transport-security: max-age=31536000; includeSubDomains\r\n"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with gateway_bench(tmp_path) as bench:
        yield bench


@pytest.fixture
async def port(bench: Bench) -> int:
    """The port of the TLS listener, which has no certificate yet."""
    port = free_port()
    folder = bench.layout.gateway
    (folder / "tls").mkdir()
    places = places_of(folder, GATEWAY)
    certificate = relocated(yaml.safe_load((GATEWAY / "certificate.yaml").read_text()), places)
    (folder / "certificate.yaml").write_text(json.dumps(certificate))
    listeners = relocated(yaml.safe_load((GATEWAY / "listeners.yaml").read_text()), places)["resources"]
    [tls] = [listener for listener in listeners if listener["name"] == "public-tls"]
    tls["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    plain = json.loads(bench.gateway.listeners.read_text())["resources"]
    text = json.dumps({"resources": [*plain, tls]})
    await Discovery(bench.layout.admin_socket, bench.layout.log("gateway")).replace({bench.gateway.listeners: text})
    return port


async def _ask(port: int, context: ssl.SSLContext) -> tuple[bytes, str]:
    """The head of the answer to GET, and the certificate in PEM. OSError if the handshake fails."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.write(b"GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return await reader.readuntil(b"\r\n\r\n"), ssl.DER_cert_to_PEM_cert(certificate)
    finally:
        writer.close()


def _trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


async def _until_served(port: int, certificate: Path) -> bytes:
    async with asyncio.timeout(30):
        while True:
            try:
                head, _ = await _ask(port, _trusting(certificate))
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return head


async def test_without_a_certificate_only_tls_is_refused(bench: Bench, port: int) -> None:
    with pytest.raises(OSError):
        await _ask(port, ssl.create_default_context())
    response = await bench.client.get("/v1/users/1")
    assert response.status_code == 200
    assert "strict-transport-security" not in response.headers


async def test_a_certificate_is_taken_when_it_comes_and_when_it_changes(bench: Bench, port: int) -> None:
    folder = bench.layout.gateway / "tls"
    first = issue(folder, "first")
    head = await _until_served(port, first)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert HSTS in head
    before = first.read_text()
    trusting_both = _trusting(first)
    second = issue(folder, "second")
    trusting_both.load_verify_locations(second)
    async with asyncio.timeout(30):
        while (await _ask(port, trusting_both))[1].strip() == before.strip():  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.05)
    assert (await _ask(port, _trusting(second)))[1].strip() == second.read_text().strip()


async def test_a_secret_of_kubernetes_is_taken_when_it_changes(bench: Bench, port: int) -> None:
    """Every file is a link into `..data`. That is a link too, which an update replaces by rename."""
    folder = bench.layout.gateway / "tls"
    for number in (1, 2):
        (folder / f"..{number}").mkdir()
        issue(folder / f"..{number}", str(number))
    (folder / "..data").symlink_to("..1")
    for name in ("tls.key", "tls.crt"):
        (folder / f".{name}").symlink_to(f"..data/{name}")
        (folder / f".{name}").rename(folder / name)
    await _until_served(port, folder / "..1" / "tls.crt")
    (folder / "..data_tmp").symlink_to("..2")
    (folder / "..data_tmp").rename(folder / "..data")
    await _until_served(port, folder / "..2" / "tls.crt")


async def test_the_gateways_own_answers_carry_the_policy_too(bench: Bench, port: int) -> None:
    certificate = issue(bench.layout.gateway / "tls", "one")
    await _until_served(port, certificate)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=_trusting(certificate))
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 404 ")
    assert HSTS in head


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_both_versions_of_http_are_offered(bench: Bench, port: int, protocol: str) -> None:
    certificate = issue(bench.layout.gateway / "tls", "one")
    await _until_served(port, certificate)
    context = _trusting(certificate)
    context.set_alpn_protocols([protocol])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == protocol
    writer.close()


async def test_old_versions_of_tls_and_plain_http_are_refused(bench: Bench, port: int) -> None:
    certificate = issue(bench.layout.gateway / "tls", "one")
    await _until_served(port, certificate)
    context = _trusting(certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert (await _ask(port, context))[0].startswith(b"HTTP/1.1 200 ")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_hello(version=b"\x03\x02"))
    answer = await reader.readexactly(7)
    writer.close()
    assert (answer[0], answer[6]) == (ALERT, PROTOCOL_VERSION)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert not (await reader.read()).startswith(b"HTTP/")
    writer.close()


def _hello(*, version: bytes) -> bytes:
    """A ClientHello of that version (RFC 4346, 7.4.1.2) with a cipher suite of its time."""
    body = version + b"\x00" * 32 + b"\x00" + b"\x00\x04\xc0\x09\xc0\x13" + b"\x01\x00"
    handshake = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16" + version + len(handshake).to_bytes(2) + handshake
