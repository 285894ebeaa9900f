"""Envoy takes a changed configuration live, and rejects a bad one. Neither cuts off a request."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.support.gateway_bench import Bench, gateway_bench, gateway_problem

from stack import tokens
from stack.errors import StackError
from stack.layout import repository_root
from stack.reload import Discovery, Rejected
from stack.signing_keys import SigningKeys

pytestmark = pytest.mark.anyio

NEW_TITLE = "title: Nothing lives here"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository's gateway/ that the test may edit."""
    shutil.copytree(repository_root() / "gateway", tmp_path / "checkout" / "gateway")
    return tmp_path / "checkout"


@pytest.fixture
async def bench(tmp_path: Path, checkout: Path) -> AsyncIterator[Bench]:
    async with gateway_bench(tmp_path, repository=checkout) as bench:
        yield bench


def _edit(checkout: Path, name: str, old: str, new: str) -> None:
    path = checkout / "gateway" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _rename_problem(checkout: Path) -> None:
    _edit(checkout, "listeners.yaml", "title: There is nothing at this address", NEW_TITLE)


async def _title(client: httpx.AsyncClient) -> str:
    return str((await client.get("/nothing")).json()["title"])


async def test_an_edit_is_in_force_when_reload_returns(bench: Bench, checkout: Path) -> None:
    assert await _title(bench.client) == "There is nothing at this address"
    _rename_problem(checkout)
    await bench.gateway.reload()
    async with httpx.AsyncClient(base_url=bench.gateway.url) as client:
        assert await _title(client) == "Nothing lives here"


async def test_reloading_what_has_not_changed_cuts_nobody_off(bench: Bench) -> None:
    assert "connection" not in (await bench.client.get("/v1/users/1")).headers
    await bench.gateway.reload()
    assert "connection" not in (await bench.client.get("/v1/users/1")).headers


async def test_requests_under_way_end_well_and_their_connections_after_them(bench: Bench, checkout: Path) -> None:
    slow = asyncio.create_task(bench.client.get("/v1/users/slowly"))
    while not bench.received:  # noqa: ASYNC110 (no event)
        await asyncio.sleep(0.01)
    _rename_problem(checkout)
    await bench.gateway.reload()
    response = await slow
    assert (response.status_code, response.content) == (200, b"x" * 10)
    # The next answer on an old connection makes the client close it. The new connection has the new configuration.
    farewells = [(await bench.client.get("/v1/users/1")).headers.get("connection") for _ in range(3)]
    assert farewells == ["close", None, None]
    assert await _title(bench.client) == "Nothing lives here"


@pytest.mark.slow
async def test_a_load_does_not_notice(bench: Bench, checkout: Path) -> None:
    statuses: list[int] = []
    done = asyncio.Event()

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=bench.gateway.url, timeout=30) as client:
            while not done.is_set():
                statuses.append((await client.get("/v1/users/1")).status_code)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(ask())
        titles = ["There is nothing at this address", "Nothing lives here"]
        for number in range(4):
            _edit(checkout, "listeners.yaml", f"title: {titles[number % 2]}", f"title: {titles[(number + 1) % 2]}")
            await bench.gateway.reload()
            seen = len(statuses)
            while len(statuses) < seen + 20:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.01)
        done.set()
    assert set(statuses) == {200}


async def test_idle_connections_end_in_good_order(tmp_path: Path, checkout: Path) -> None:
    async with gateway_bench(tmp_path, repository=checkout, drain_seconds=2) as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
        writer.write(b"GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(int(httpx.Headers(_pairs(head))["content-length"]))
        _rename_problem(checkout)
        await bench.gateway.reload()
        async with asyncio.timeout(30):
            assert await reader.read() == b""  # a normal end, not a reset
        writer.close()


def _pairs(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode().split("\r\n")[1:-2]
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("listeners.yaml", "merge_slashes: true", "merge_dots: true", "merge_dots"),
        ("listeners.yaml", "cluster: counter-api\n", "cluster: nobody\n", "unknown cluster 'nobody'"),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                ("access/open/filter.yaml", "metadata_namespace", "namespace_of_metadata", "namespace_of_metadata"),
                ("access/open/filter.yaml", "set_metadata.v3.Config", "buffer.v3.Buffer", "type"),
                ("access/open/clusters.yaml", "resources: []", "resources: [{name: keys}]", "@type"),
            )
        ),
        ("listeners.yaml", "resources:\n", "resources: [\n", "gateway/listeners.yaml cannot be read"),
        ("listeners.yaml", "name: public\n", "name: private\n", "gateway/listeners.yaml does not have the form"),
    ],
)
async def test_a_bad_configuration_is_rejected_with_the_reason(
    bench: Bench, checkout: Path, name: str, old: str, new: str, reason: str
) -> None:
    good = {path: path.read_text() for path in sorted(bench.layout.gateway.rglob("*.yaml"))}
    _edit(checkout, name, old, new)
    for _ in range(2):  # Envoy ignores a filter that it has just rejected
        with pytest.raises(StackError, match=reason):
            await bench.gateway.reload()
        assert (await bench.client.get("/v1/users/1")).status_code == 200
        assert {path: path.read_text() for path in good} == good
    _edit(checkout, name, new, old)
    _rename_problem(checkout)
    await bench.gateway.reload()
    await bench.client.get("/v1/users/1")  # the last request on the old connection
    assert await _title(bench.client) == "Nothing lives here"


async def test_a_bad_configuration_at_the_start_is_rejected_with_the_reason(tmp_path: Path, checkout: Path) -> None:
    _edit(checkout, "listeners.yaml", "merge_slashes: true", "merge_dots: true")
    with pytest.raises(StackError, match=r"^Envoy rejected its configuration: .*merge_dots"):
        async with gateway_bench(tmp_path, repository=checkout):
            pass


async def test_what_envoy_does_not_take_in_time_is_not_left_for_later(
    bench: Bench, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {path: path.read_text() for path in sorted(bench.layout.gateway.rglob("*.yaml"))}
    _rename_problem(checkout)
    with monkeypatch.context() as patch:
        patch.setattr("stack.reload.TAKEN_WITHIN", 0)
        with pytest.raises(StackError, match=r"^the gateway does not use its new configuration$"):
            await bench.gateway.reload("tokens")
    assert {path: path.read_text() for path in good} == good
    assert bench.gateway.access == "open"


async def test_a_file_that_was_deleted_is_written_again(bench: Bench) -> None:
    bench.gateway.listeners.unlink()
    await bench.gateway.reload()
    assert (await bench.client.get("/v1/users/1")).status_code == 200
    assert bench.gateway.listeners.exists()


async def test_what_is_read_at_the_start_only_is_said(bench: Bench, checkout: Path) -> None:
    _edit(checkout, "envoy.yaml", "connect_timeout: 1s", "connect_timeout: 2s")
    with pytest.raises(StackError, match=r"^gateway/envoy.yaml has changed, which Envoy reads only as it starts"):
        await bench.gateway.reload()


async def test_access_control_is_switched_without_a_restart(bench: Bench) -> None:
    await bench.gateway.reload("tokens")
    assert gateway_problem(await bench.client.get("/v1/users/1")) == (401, "unauthorized")
    keys = SigningKeys.load_or_create(bench.layout.signing_keys)
    headers = {"Authorization": f"Bearer {tokens.mint(keys, ['users:read'])}"}
    assert (await bench.client.get("/v1/users/1", headers=headers)).status_code == 200
    await bench.gateway.reload("open")
    assert (await bench.client.get("/v1/users/1")).status_code == 200


async def test_a_token_outlives_one_rotation_of_the_keys(bench: Bench) -> None:
    await bench.gateway.reload("tokens")
    path = bench.layout.signing_keys
    generations = [SigningKeys.load_or_create(path)]
    statuses = []
    for _ in range(2):
        generations.append(SigningKeys.rotate(path))
        await bench.gateway.reload()
        statuses.append(
            [
                (
                    await bench.client.get(
                        "/v1/users/1", headers={"Authorization": f"Bearer {tokens.mint(keys, ['users:read'])}"}
                    )
                ).status_code
                for keys in generations
            ]
        )
    assert statuses == [[200, 200], [401, 200, 200]]


async def test_the_link_that_kubernetes_turns_is_noticed(bench: Bench) -> None:
    """The volume of a ConfigMap: every file is a link into `..data`. That is a link too, which an update replaces by
    rename.
    """
    access = bench.layout.gateway / "access"
    open_filter = (access / "filter.yaml").read_text()
    (access / "..1").mkdir()
    for name in ("filter.yaml", "clusters.yaml"):
        (access / name).rename(access / "..1" / name)
    (access / "..data").symlink_to("..1")
    for name in ("filter.yaml", "clusters.yaml"):
        (access / name).symlink_to(f"..data/{name}")
    shutil.copytree(access / "..1", access / "..2")
    nobody = json.loads(open_filter)
    nobody["resources"][0]["typed_config"]["metadata"][0]["value"]["payload"]["scope"] = []
    (access / "..2" / "filter.yaml").write_text(json.dumps(nobody))
    (access / "..data_tmp").symlink_to("..2")
    assert (await bench.client.get("/v1/users/1")).status_code == 200
    os.rename(access / "..data_tmp", access / "..data")  # noqa: PTH104 (the system call that Kubernetes makes)
    async with asyncio.timeout(30):
        while (await bench.client.get("/v1/users/1")).status_code != 403:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.05)


async def test_without_access_configuration_nobody_gets_in(bench: Bench) -> None:
    """As in an image without a mounted directory: `tokens`, without keys."""
    folder = repository_root() / "gateway" / "access" / "tokens"
    discovery = Discovery(bench.layout.admin_socket, bench.layout.log("gateway"))
    with pytest.raises(Rejected, match=r"jwks\.json"):
        await discovery.replace({bench.layout.gateway / "access" / "filter.yaml": (folder / "filter.yaml").read_text()})
    process = bench.process
    await process.stop()
    await process.start()
    response = await bench.client.get("/docs")
    assert gateway_problem(response) == (503, "no-access-control")
    assert not bench.received
