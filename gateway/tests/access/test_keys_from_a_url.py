"""Keys for access tokens from a URL, with the production overlay's files: late, changed, and never available."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.fake_http import Answer, answering
from tests.support.gateway_bench import Bench, gateway_bench, gateway_problem

from stack import tokens
from stack.layout import free_port, repository_root
from stack.signing_keys import SigningKeys

pytestmark = pytest.mark.anyio

ROOT = repository_root()
ACCESS = ROOT / "deploy" / "k8s" / "overlays" / "production" / "access"
PATIENCE = 60


def _repository(folder: Path, port: int) -> Path:
    """A checkout whose gateway fetches its keys from this port."""
    shutil.copytree(ROOT / "gateway", folder / "gateway")
    access: dict[str, Any] = yaml.safe_load((ACCESS / "filter.yaml").read_text())
    [provider] = access["resources"][0]["typed_config"]["providers"].values()
    provider["issuer"] = tokens.ISSUER
    provider["remote_jwks"]["http_uri"]["uri"] = f"http://127.0.0.1:{port}/jwks.json"
    provider["remote_jwks"]["cache_duration"] = "1s"
    clusters: dict[str, Any] = yaml.safe_load((ACCESS / "clusters.yaml").read_text())
    [cluster] = clusters["resources"]
    del cluster["transport_socket"]
    [endpoint] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"]["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    for name, document in (("filter.yaml", access), ("clusters.yaml", clusters)):
        (folder / "gateway" / "access" / "tokens" / name).write_text(yaml.safe_dump(document))
    return folder


async def _status(bench: Bench, keys: SigningKeys) -> int:
    token = tokens.mint(keys, ["users:read"])
    response = await bench.client.get("/v1/users/1", headers={"Authorization": f"Bearer {token}"})
    if response.status_code != 200:
        assert gateway_problem(response) == (401, "unauthorized")
    return response.status_code


async def _until(bench: Bench, keys: SigningKeys, status: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await _status(bench, keys) != status:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.1)


async def test_new_keys_are_taken_and_old_ones_dropped(tmp_path: Path) -> None:
    port = free_port()
    first, second = (SigningKeys.load_or_create(tmp_path / name) for name in ("first.json", "second.json"))
    served = first
    async with (
        answering(lambda _: Answer(200, served.public()), port=port),
        gateway_bench(tmp_path, mode="tokens", repository=_repository(tmp_path / "checkout", port)) as bench,
    ):
        await _until(bench, first, 200)
        assert await _status(bench, second) == 401
        served = SigningKeys([*second.keys, *first.keys])
        await _until(bench, second, 200)
        assert await _status(bench, first) == 200
        served = second
        await _until(bench, first, 401)
        assert await _status(bench, second) == 200


async def test_without_keys_nobody_gets_in_until_they_come(tmp_path: Path) -> None:
    port = free_port()
    keys = SigningKeys.load_or_create(tmp_path / "keys.json")
    async with gateway_bench(tmp_path, mode="tokens", repository=_repository(tmp_path / "checkout", port)) as bench:
        assert await _status(bench, keys) == 401
        assert (await bench.client.get("/docs")).status_code == 200
        async with answering(lambda _: Answer(200, keys.public()), port=port):
            await _until(bench, keys, 200)
        # While the server is away, keys that were fetched stay in use.
        assert await _status(bench, keys) == 200
