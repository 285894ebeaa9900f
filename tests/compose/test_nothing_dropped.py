"""No read and no increment fails while containers are replaced, scaled and stopped."""

import asyncio

import httpx
import pytest
from tests.support.compose_project import ROOT, SERVICES, STOPPED_WITHIN, Project, healthy, run
from tests.support.steady_load import SteadyLoad, until

pytestmark = [pytest.mark.anyio, pytest.mark.compose]


@pytest.mark.parametrize("service", SERVICES)
async def test_restart_one_after_the_other(project: Project, steady: SteadyLoad, service: str) -> None:
    async with steady.running():
        for replica in project.replicas(service):
            await steady.answers(50)
            await asyncio.to_thread(run, "docker", "restart", "--time", STOPPED_WITHIN, replica)
            await until(lambda: healthy(project.replicas(service)))
        await steady.answers(50)
    assert steady.failures == []
    assert steady.exact


@pytest.mark.parametrize("service", SERVICES)
async def test_sigterm_of_any_replica(project: Project, steady: SteadyLoad, service: str) -> None:
    async with steady.running():
        for replica in project.replicas(service)[:2]:
            await steady.answers(50)
            run("docker", "kill", "--signal", "TERM", replica)
            assert await asyncio.to_thread(run, "docker", "wait", replica) == "0\n"
            run("docker", "start", replica)
            await until(lambda: healthy(project.replicas(service)))
        await steady.answers(50)
    assert steady.failures == []
    assert steady.exact


async def test_scale_up_and_down(project: Project, steady: SteadyLoad) -> None:
    before = {service: len(project.replicas(service)) for service in SERVICES}
    async with steady.running():
        more = {service.replace("-", "_"): number + 1 for service, number in before.items()}
        await asyncio.to_thread(lambda: project.scale(**more))
        await steady.answers(200)
        fewer = {service.replace("-", "_"): number for service, number in before.items()}
        await asyncio.to_thread(lambda: project.scale(**fewer))
        await steady.answers(50)
    assert {service: len(project.replicas(service)) for service in SERVICES} == before
    assert steady.failures == []
    assert steady.exact


@pytest.mark.parametrize("service", SERVICES)
async def test_new_containers_in_the_place_of_old_ones(project: Project, steady: SteadyLoad, service: str) -> None:
    """As in an upgrade: new containers start first, then the old ones are stopped."""
    old = project.replicas(service)
    argument = service.replace("-", "_")
    async with steady.running():
        await asyncio.to_thread(lambda: project.scale(**{argument: 2 * len(old)}))
        await steady.answers(50)
        await asyncio.to_thread(run, "docker", "stop", "--time", STOPPED_WITHIN, *old)
        run("docker", "rm", *old)
        await steady.answers(50)
    assert len(project.replicas(service)) == len(old)
    assert not set(old) & set(project.replicas(service))
    assert steady.failures == []
    assert steady.exact


async def test_gateway_reloaded(gateway: str, steady: SteadyLoad) -> None:
    listeners = ROOT / "gateway" / "listeners.yaml"
    before = listeners.read_text()
    new = listeners.with_suffix(".new")

    def title() -> str:
        return str(httpx.get(f"{gateway}/nothing").json()["title"])

    async with steady.running():
        for text, expected in (
            (before.replace("There is nothing at this address", "Nothing lives here"), "Nothing lives here"),
            (before, "There is nothing at this address"),
        ):
            await steady.answers(50)
            new.write_text(text)
            new.replace(listeners)
            await until(lambda expected=expected: title() == expected)  # type: ignore[misc]  # a bound default
            await steady.answers(100)
    assert steady.failures == []
    assert steady.exact
