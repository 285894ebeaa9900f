"""The whole system under load while its parts are killed, replaced, scaled and stopped."""

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
from tests.support.steady_load import SteadyLoad, until
from tests.support.users import create

if TYPE_CHECKING:
    from tests.integration.conftest import Stack

pytestmark = [pytest.mark.anyio, pytest.mark.with_sidecars_too]


@pytest.fixture
async def load(gateway: str, client: httpx.AsyncClient, email: str, name: str) -> SteadyLoad:
    return SteadyLoad(gateway, (await create(client, email=email))["id"], name)


@pytest.fixture
async def steady(gateway: str, client: httpx.AsyncClient, email: str, name: str) -> SteadyLoad:
    """As `load`, with additional increments that must not be repeated."""
    return SteadyLoad(gateway, (await create(client, email=email))["id"], name, unkeyed=True)


@pytest.mark.parametrize("service", [pytest.param("user-api", marks=pytest.mark.slow), "counter-api"])
async def test_replica_killed_under_load_no_failed_read_and_exact_counters(
    stack: "Stack", load: SteadyLoad, service: str
) -> None:
    async with load.running():
        await load.answers(100)
        for process in stack.processes(service)[:2]:
            os.kill(process["pid"], signal.SIGKILL)
            await load.answers(300)
        await until(lambda: all(process["state"] == "healthy" for process in stack.processes(service)))
        await load.answers(100)
    assert load.failures == []
    assert load.exact


@pytest.mark.slow
@pytest.mark.parametrize("service", ["user-api", "counter-api"])
async def test_two_of_three_replicas_killed_at_once(stack: "Stack", load: SteadyLoad, service: str) -> None:
    async with load.running():
        for _ in range(3):
            await load.answers(100)
            for process in stack.processes(service)[:2]:
                os.kill(process["pid"], signal.SIGKILL)
            await load.answers(200)
            await until(lambda: all(process["state"] == "healthy" for process in stack.processes(service)))
    assert load.failures == []
    assert load.exact


@pytest.mark.slow
@pytest.mark.parametrize("service", ["user-api", "counter-api"])
async def test_rolling_restart_under_load_drops_nothing(stack: "Stack", steady: SteadyLoad, service: str) -> None:
    before = {process["pid"] for process in stack.processes(service)}
    async with steady.running():
        await steady.answers(50)
        await asyncio.to_thread(stack.run, "restart", service)
        await steady.answers(50)
    after = stack.processes(service)
    assert not before & {process["pid"] for process in after}
    assert len(after) == len(before)
    assert steady.failures == []
    assert steady.exact


@pytest.mark.slow
@pytest.mark.parametrize("service", ["user-api", "counter-api"])
async def test_sigterm_of_any_replica_under_load_drops_nothing(
    stack: "Stack", steady: SteadyLoad, service: str
) -> None:
    before = stack.processes(service)
    async with steady.running():
        for process in before:
            await steady.answers(50)
            ending = psutil.Process(process["pid"])
            ending.send_signal(signal.SIGTERM)
            await asyncio.to_thread(psutil.wait_procs, [ending])
            await until(lambda: all(each["state"] == "healthy" for each in stack.processes(service)))
        await steady.answers(50)
    assert not {each["pid"] for each in before} & {each["pid"] for each in stack.processes(service)}
    assert steady.failures == []
    assert steady.exact


@pytest.mark.slow
async def test_scaling_under_load_drops_nothing(stack: "Stack", steady: SteadyLoad) -> None:
    async with steady.running():
        for service in ("user-api", "counter-api"):
            await asyncio.to_thread(stack.run, "scale", service, "4")
        await steady.answers(200)
        for service in ("user-api", "counter-api"):
            await asyncio.to_thread(stack.run, "scale", service, "3")
        await steady.answers(50)
    assert {"user-api-4", "counter-api-4"} <= steady.served_by
    assert steady.failures == []
    assert steady.exact


@pytest.mark.slow
async def test_gateway_reloaded_under_load_drops_nothing(stack: "Stack", gateway: str, steady: SteadyLoad) -> None:
    """A change of Envoy's files is taken at once, and a reload restores the repository's configuration."""
    [listeners] = stack.directory.rglob("listeners.yaml")
    new = listeners.with_suffix(".new")

    def title() -> str:
        return str(httpx.get(f"{gateway}/nothing").json()["title"])

    async with steady.running():
        for _ in range(2):
            await steady.answers(50)
            new.write_text(listeners.read_text().replace("There is nothing at this address", "Nothing lives here"))
            new.replace(listeners)
            await until(lambda: title() == "Nothing lives here")
            await steady.answers(100)
            await asyncio.to_thread(stack.run, "reload", "gateway")
            assert title() == "There is nothing at this address"
            await steady.answers(100)
    assert steady.failures == []
    assert steady.exact


async def test_gateway_killed_comes_back(stack: "Stack", client: httpx.AsyncClient, name: str) -> None:
    await client.post(f"/v1/counters/{name}/increment")
    os.kill(stack.processes("gateway")[0]["pid"], signal.SIGKILL)
    await until(lambda: stack.processes("gateway")[0]["state"] == "healthy")
    async with httpx.AsyncClient(base_url=stack.gateway, timeout=30) as fresh:
        assert (await fresh.get(f"/v1/counters/{name}")).json() == {"name": name, "value": 1}


@pytest.mark.slow
async def test_state_survives_the_restart_of_every_service(
    stack: "Stack", client: httpx.AsyncClient, email: str, name: str
) -> None:
    user = await create(client, email=email)
    await client.put(f"/v1/counters/{name}", json={"value": 41})
    visits = (await client.get("/counter")).json()["current_count"]
    requests = (await client.get("/stats")).json()["total_requests"]
    for service in ("user-api", "counter-api"):
        await asyncio.to_thread(stack.run, "restart", service)
    assert (await client.get(f"/v1/users/{user['id']}")).json()["data"] == user
    assert (await client.post(f"/v1/counters/{name}/increment")).json() == {"name": name, "value": 42}
    assert (await client.get("/counter")).json()["current_count"] == visits + 1
    assert (await client.get("/stats")).json()["total_requests"] > requests
